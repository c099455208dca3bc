"""`make prove`: `python -m tests.prove [run|selftest]`; exits with 1 on any violation.

`PROVE_SEED` chooses the seed (a random one unless told; it is printed), `PROVE` the plan (full, soak: an hour,
quick, calm), `PROVE_JSON` the file of the report (.local/prove.json unless told).
"""

import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.local.layout import DEFAULT_DATA
from tests.prove import plan, report, run
from tests.prove.plan import Plan
from tests.prove.run import Outcome
from tests.prove.selftest import Caught

_DEFAULT_REPORT: Final = DEFAULT_DATA / "prove.json"


def _prove(seed: int, chosen: Plan) -> Outcome:
    # PostgreSQL may run as another user, who has to get at its files.
    with tempfile.TemporaryDirectory(prefix="wafa-prove-", ignore_cleanup_errors=True) as folder:
        return asyncio.run(run.run(seed, chosen, Path(folder)))


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for; returns the exit code."""
    wanted = arguments[0] if arguments else "run"
    if wanted != "run":
        print(f"run, not {wanted}", file=sys.stderr)  # noqa: T201 a command line prints
        return 2
    seed = int(os.environ.get("PROVE_SEED") or secrets.randbelow(10**6))
    chosen = plan.chosen()
    outcome = _prove(seed, chosen)
    caught: list[Caught] = []
    told = report.document(chosen, outcome, caught)
    report.write(Path(os.environ.get("PROVE_JSON") or _DEFAULT_REPORT), told)
    report.show(chosen, outcome, caught)
    return 0 if told["passed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
