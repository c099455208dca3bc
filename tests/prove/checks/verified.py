"""2. `verify` of all four services passes."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from deploy.local.layout import REPOSITORY
from tests.prove.checks.check import Check, check

_SECONDS: Final = 300
_SAMPLES: Final = {"points": 1_000_000, "tiers": 1_000_000, "referrals": 1_000_000, "notifications": 20_000}
"""Sample sizes: everything, but fewer mails, since they have to be rendered."""


async def checks(env: Mapping[str, str], services: Sequence[str]) -> list[Check]:
    """The checks of this group; `env` has the URLs of the databases."""
    done = await asyncio.gather(*(asyncio.to_thread(_verify, env, service) for service in services))
    return [
        check(2, f"verify of {service}", _lines(item), _wrong(item))
        for service, item in zip(services, done, strict=True)
    ]


def _verify(env: Mapping[str, str], service: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", f"services.{service}", "verify", "--sample", str(_SAMPLES[service])]
    return subprocess.run(
        argv, env=dict(env), cwd=REPOSITORY, capture_output=True, text=True, timeout=_SECONDS, check=False
    )


def _lines(done: subprocess.CompletedProcess[str]) -> int:
    return len(done.stdout.splitlines())


def _wrong(done: subprocess.CompletedProcess[str]) -> Iterator[str]:
    if done.returncode != 0:
        failed = [line for line in done.stdout.splitlines() if not line.endswith(": ok")]
        yield from failed or [f"exit code {done.returncode}: {done.stderr.strip()[-300:]}"]
