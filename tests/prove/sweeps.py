"""Sweeps, as an operator runs them: `python -m services.tiers day --at INSTANT`, also ahead of time."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from datetime import datetime
from typing import Final

from deploy.local.layout import REPOSITORY
from tests.prove.stage import Stage
from tests.support.fleet import planted

APPLICATION: Final = "wafa-tiers-day"
"""The name of the sessions of a sweep of tiers."""

_TRIES: Final = 10
_SECONDS: Final = 120.0
_PAUSE: Final = 0.5


async def start(stage: Stage, at: datetime, service: str = "tiers") -> Process:
    """Start a sweep of a service."""
    entry = planted(stage.fleet.planted, (f"services.{service}", "day", "--at", at.isoformat()))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *entry), env={**os.environ, **stage.env}, cwd=REPOSITORY, stdout=PIPE, stderr=STDOUT
    )


async def sweep(stage: Stage, at: datetime, service: str = "tiers") -> bool:
    """Sweep up to an instant, again after a failure; returns whether anything was due.

    Raises:
        AssertionError: it failed too often.
    """
    output = b""
    for _ in range(_TRIES):
        process = await start(stage, at, service)
        try:
            output, _ = await asyncio.wait_for(process.communicate(), _SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode == 0:
            return b"customers: " in output
        await asyncio.sleep(_PAUSE)
    raise AssertionError(f"a sweep up to {at} fails: {output.decode()[-500:]}")
