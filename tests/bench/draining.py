"""The worker's rates: one or two workers drain a full topic of purchases or of a mixture."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from shared.messaging.relay import _LEADER_LOCK
from shared.postgres.pool import Connection, Pool
from tests.bench import effects, limit, mixture
from tests.bench.cpu import Meter
from tests.bench.figures import Figure, Measured, rate, ratio
from tests.bench.joining import barred, joined
from tests.bench.pace import watch
from tests.bench.plan import Plan
from tests.bench.processes import worker
from tests.bench.rounds import Results, Side, between
from tests.bench.tape import Take
from tests.bench.testbed import Testbed
from tests.prove import progress

EVENTS: Final = 30_000

_FEWEST: Final = 3_000
_STALLED: Final = 30.0
_PATIENCE: Final = 120.0
"""Seconds without an event that is handled, in which only jobs work."""

_ONLY_TIERS: Final = "Q"
"""What counts towards tiers, and is an event of points itself."""

POSITIONS_SQL = "SELECT topic, partition, next_offset FROM position"

LEAD_SQL = "SELECT pg_advisory_lock($1)"

RESIGN_SQL = "SELECT pg_advisory_unlock($1)"


@dataclass(frozen=True, slots=True)
class Drain:
    """A drain: number of events, number of workers, and their service.

    `with_jobs`: what the jobs have to do because of the events belongs to it, so it ends when nothing of that is left.
    """

    events: int
    workers: int = 1
    service: str = "points"
    with_jobs: bool = False


def count(plan: Plan) -> int:
    """Number of events of a topic."""
    return plan.events(EVENTS, _FEWEST)


def side(plan: Plan, takes: list[Take]) -> Side:
    """The side of one worker on purchases, between two measurements of the SQL alone."""
    events = count(plan)

    async def one() -> Mapping[str, Measured]:
        return {"worker": await drain(plan.bed, Drain(events))}

    async def sql() -> Mapping[str, Measured]:
        return {"SQL": await limit.sql(plan, takes, 1)}

    return between(Side("purchases", one), Side("purchases", sql))


def more_sides(plan: Plan) -> list[Side]:
    """The side of two workers."""
    events = count(plan)

    async def two() -> Mapping[str, Measured]:
        return {"two workers": await drain(plan.bed, Drain(events, 2))}

    return [Side("purchases", two)]


def mixed_sides(plan: Plan) -> list[Side]:
    """The sides of one worker on other streams."""
    events = count(plan)

    async def mixed(name: str) -> Mapping[str, Measured]:
        return {name: await drain(plan.bed, Drain(events))}

    return [Side("mixed", lambda: mixed("mixed")), Side("everything", lambda: mixed("everything"))]


def tier_sides(plan: Plan) -> list[Side]:
    """The sides of a worker of points and one of tiers on the same stream, of everything that counts."""
    events = count(plan)
    own = events - mixture.count_of(_ONLY_TIERS, events, mixture.COUNTED)

    async def points() -> Mapping[str, Measured]:
        return {"points, what counts": await drain(plan.bed, Drain(own))}

    async def tiers() -> Mapping[str, Measured]:
        return {"tiers, what counts": await drain(plan.bed, Drain(events, service="tiers"))}

    return [Side("counted", points), Side("counted", tiers)]


def figures(results: Results) -> list[Figure]:
    """The rows of the table about purchases."""
    return [
        rate("ours: purchases → ledger + outbox, 1 worker", results["worker"], "events/s"),
        ratio("ours: 1 worker / the same SQL, 1 connection", results["worker"], results["SQL"], 0.6),
    ]


def more_figures(results: Results) -> list[Figure]:
    """The rows of the table about two workers."""
    return [
        rate("ours: purchases → ledger + outbox, 2 workers", results["two workers"], "events/s"),
        ratio("ours: 2 workers / 1", results["two workers"], results["worker"]),
    ]


def mixed_figures(results: Results) -> list[Figure]:
    """The rows of the table about mixed streams."""
    return [
        rate("mixed: 70 % purchases, 20 % reviews, 10 % refunds", results["mixed"], "events/s"),
        ratio("mixed: the same / purchases alone", results["mixed"], results["worker"], 0.7),
        rate("mixed: events of all kinds", results["everything"], "events/s"),
        ratio("mixed: all kinds / purchases alone", results["everything"], results["worker"], 0.8),
    ]


def tier_figures(results: Results) -> list[Figure]:
    """The rows of the table about tiers."""
    points, tiers = results["points, what counts"], results["tiers, what counts"]
    return [
        rate("tiers: events of all kinds that count, 1 worker", tiers, "events/s"),
        ratio("tiers: 1 worker / points on the same events", tiers, points, 0.6),
    ]


_CHECKS: Final = {"tiers": effects.check_tiers, "referrals": effects.check_referrals}


async def drain(bed: Testbed, wanted: Drain) -> Measured:
    """Start workers on a new database and wait until they have handled everything; outbox rows stay."""
    check = _CHECKS.get(wanted.service, effects.check)
    async with bed.database(wanted.service) as (url, pool):
        measured = await drain_into(bed, (url, pool), wanted)
        await check(pool, wanted.events)
        return measured


async def drain_into(bed: Testbed, database: tuple[str, Pool], wanted: Drain) -> Measured:
    """Start workers on a database at the same moment, and wait until they have handled everything."""
    url, pool = database
    async with AsyncExitStack() as stack:
        # Another relay leads, as with several workers: outbox rows are committed and stay.
        leader: Connection = await stack.enter_async_context(pool.acquire())
        await leader.fetchval(LEAD_SQL, _LEADER_LOCK)
        stack.push_async_callback(leader.fetchval, RESIGN_SQL, _LEADER_LOCK)
        async with barred(pool):
            started = [
                await stack.enter_async_context(worker(bed, url, wanted.service, number))
                for number in range(wanted.workers)
            ]
            await joined(bed, wanted.service, wanted.workers)
        meter = Meter(bed, pool, {"worker": [process.pid for process in started]})
        works = progress.spec(wanted.service).due_work if wanted.with_jobs else ()

        async def done() -> int:
            count = await handled(bed, pool)
            # The last event counts as handled when nothing is left for the jobs.
            return count - 1 if count == wanted.events and any([await work.count(pool) for work in works]) else count

        return await watch(wanted.events, done, meter, patience=_PATIENCE if wanted.with_jobs else _STALLED)


async def handled(bed: Testbed, pool: Pool) -> int:
    """Number of handled records."""
    rows = await pool.fetch(POSITIONS_SQL)
    ends = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
    return sum(end - bed.begins[tp] for tp, end in ends.items() if tp in bed.begins)
