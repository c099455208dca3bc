"""`make prove`: `python -m tests.prove [run] [selftest]` (default: both); exits with 1 on any violation.

`PROVE_SEED` is the seed (default: a random one, which is printed), `PROVE` the plan (full, soak: 45 minutes, quick,
calm; default: full), `PROVE_JSON` the file of the report (default: .local/prove.json).
"""

import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from deploy.local.layout import DEFAULT_DATA
from tests.prove import plan, report, run, selftest
from tests.prove.plan import Plan
from tests.prove.run import Outcome
from tests.prove.selftest import Caught
from tests.prove.stage import grounded

PARTS: Final = ("run", "selftest")
_DEFAULT_REPORT: Final = DEFAULT_DATA / "prove.json"


async def _prove(seed: int, chosen: Plan, parts: Collection[str]) -> tuple[Outcome | None, list[Caught]]:
    # PostgreSQL may run as another user, who needs access to its files.
    with tempfile.TemporaryDirectory(prefix="wafa-prove-", ignore_cleanup_errors=True) as folder:
        async with grounded(Path(folder)) as ground:
            outcome = await run.run(seed, chosen, ground) if "run" in parts else None
            return outcome, await selftest.prove(ground, seed) if "selftest" in parts else []


def main(arguments: Sequence[str]) -> int:
    """Run the given parts; returns the exit code."""
    parts = arguments or PARTS
    if not set(parts) <= set(PARTS):
        print(f"{' or '.join(PARTS)}, not {' '.join(parts)}", file=sys.stderr)  # noqa: T201 a command line prints
        return 2
    seed = int(os.environ.get("PROVE_SEED") or secrets.randbelow(10**6))
    chosen = plan.chosen()
    outcome, caught = asyncio.run(_prove(seed, chosen, parts))
    if outcome is None:
        report.show_caught(caught)
        return 0 if all(item.right for item in caught) else 1
    results = report.document(chosen, outcome, caught)
    report.write(Path(os.environ.get("PROVE_JSON") or _DEFAULT_REPORT), results)
    report.show(chosen, outcome, caught)
    return 0 if results["passed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
