"""Versions of the tier program that are published during a run, and faults of the jobs of tiers.

A sweep, a publication or a simulation is killed in the middle, and has to end as if nothing had happened.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import httpx

from shared.postgres.pool import Pool
from tests.prove import sweeps, tiering
from tests.prove.faults import Strike
from tests.prove.patience import until
from tests.prove.progress import MOST_SECONDS
from tests.prove.scene import Scene
from tests.prove.writes import Kind, Write, Writer

_CLOSELY: Final = 0.003
"""Polling interval in seconds for slices, each of which takes a moment."""
_BEGINS: Final = 20.0
"""Seconds in which a job begins, or a sweep has its first transaction."""
FARTHEST: Final = 9
"""Days ahead of now that a sweep reaches at most."""

# Of a version that is being applied, or of a simulation: the number of slices that are done, and of all.
SLICES_SQL: Final = """
SELECT count(outcome), count(*) FROM slice
WHERE run_id IN (SELECT id FROM publication WHERE version = $1 AND applied_at IS NULL
                 UNION ALL SELECT id FROM simulation WHERE version = $1 AND state = 'running')
"""
IS_APPLIED_SQL: Final = "SELECT applied_at IS NOT NULL FROM publication WHERE version = $1"
SIMULATION_SQL: Final = "SELECT state FROM simulation WHERE version = $1 ORDER BY created_at DESC LIMIT 1"


@dataclass(slots=True)
class Marketing:
    """Drafts, simulates and publishes versions, one after another."""

    writer: Writer
    planned: int
    """Number of versions that are to be published during the run; the last of them is the first document again."""
    published: int = 0
    _drafts: int = field(default=0)

    async def draft(self) -> int:
        """Draft the next version; returns its number."""
        is_last = self.published + 1 >= self.planned
        document = tiering.STEPWISE if is_last else tiering.DOCUMENTS[self._drafts % len(tiering.DOCUMENTS)]
        self._drafts += 1
        written = await self._send("/v1/tier-programs", document, f"draft-{self._drafts}")
        version: int = written.answer["version"]
        return version

    async def publish(self, version: int, *, simulated: bool = False, soon: timedelta | None = None) -> None:
        """Publish a draft, now or soon."""
        body: dict[str, Any] = {} if simulated else {"without_simulation": True, "note": "part of the proof"}
        path, key = f"/v1/tier-programs/{version}/publish", f"publish-{version}"
        ahead = {} if soon is None else {"effective_at": (datetime.now(UTC) + soon).isoformat()}
        try:
            await self._send(path, body | ahead, key)
        except httpx.HTTPStatusError:  # it took so long that the instant has passed
            await self._send(path, body, f"{key}-now")
        self.published += 1

    async def simulate(self, version: int) -> None:
        """Ask for a simulation of a draft."""
        await self._send(f"/v1/tier-programs/{version}/simulations", {}, f"simulate-{version}")

    async def _send(self, path: str, body: dict[str, Any], key: str) -> Write:
        """Send a write that has to be accepted.

        Raises:
            httpx.HTTPStatusError: it was refused.
        """
        written = await self.writer.send(Write(f"marketing-{key}", Kind.PROGRAM, "", path, body))
        if not written.done:
            request = httpx.Request("POST", path)
            answer = httpx.Response(written.status, request=request)
            raise httpx.HTTPStatusError(f"{written.status}: {written.answer}", request=request, response=answer)
        return written


async def kill_sweep(scene: Scene, _: Marketing) -> Strike:
    """Kill a sweep that reaches days ahead in a transaction; then sweep again."""
    at = datetime.now(UTC) + timedelta(days=scene.random.randint(1, FARTHEST))
    process = await sweeps.start(scene.stage, at)
    link = await scene.catch_in_transaction(lambda item: item.application == sweeps.APPLICATION, _BEGINS)
    is_running = process.returncode is None
    if is_running:
        process.kill()
    await process.wait()
    struck_at = time.monotonic()
    await sweeps.sweep(scene.stage, at)
    seen = "in a transaction" if link is not None and is_running else None
    return Strike(f"sweep up to {at:%d %B}", seen, time.monotonic() - struck_at)


async def kill_publication(scene: Scene, marketing: Marketing) -> Strike:
    """Kill the worker of tiers while it applies a new version."""
    version = await marketing.draft()
    soon = scene.random.choice((None, timedelta(seconds=3)))
    await marketing.publish(version, soon=soon)
    pool = scene.stage.pools["tiers"]
    return await _kill_between(scene, version, lambda: _is(pool, IS_APPLIED_SQL, version, True))


async def kill_simulation(scene: Scene, marketing: Marketing) -> Strike:
    """Kill the worker of tiers while it simulates a draft; publish it once the simulation is done."""
    version = await marketing.draft()
    await marketing.simulate(version)
    pool = scene.stage.pools["tiers"]
    strike = await _kill_between(scene, version, lambda: _is(pool, SIMULATION_SQL, version, "done"))
    if strike.seen is None or strike.recovery is not None:
        await until(lambda: _is(pool, SIMULATION_SQL, version, "done"), MOST_SECONDS)
        await marketing.publish(version, simulated=True)
    return strike


async def _kill_between(scene: Scene, version: int, is_done: Callable[[], Awaitable[bool]]) -> Strike:
    """Kill the worker of tiers while some of a run's slices are not done yet."""
    if await _slices(scene, version) is None:
        return Strike("tiers", None)
    for worker in scene.stage.fleet.of("tiers"):
        worker.signal(signal.SIGKILL)
    struck_at = time.monotonic()
    left = await _read(scene.stage.pools["tiers"], SLICES_SQL, version)
    is_in_time = await until(is_done, MOST_SECONDS)
    if left is None or left[0] == left[1]:
        return Strike("tiers", None)
    seen = f"{left[0]} of {left[1]} slices were done"
    return Strike("tiers", seen, time.monotonic() - struck_at if is_in_time else None)


async def _slices(scene: Scene, version: int) -> Any:
    """The slices of a run, some of which are not done; None if that does not happen for a while."""
    deadline = time.monotonic() + _BEGINS
    while time.monotonic() < deadline:
        slices = await _read(scene.stage.pools["tiers"], SLICES_SQL, version)
        if slices is not None and slices[0] < slices[1]:
            return slices
        await asyncio.sleep(_CLOSELY)
    return None


async def _is(pool: Pool, query: str, version: int, wanted: object) -> bool:
    row = await _read(pool, query, version)
    return row is not None and row[0] == wanted


async def _read(pool: Pool, query: str, version: int) -> Any:
    """A row; None where the database does not answer."""
    try:
        return await pool.fetchrow(query, version)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None
