"""From purchase to message: all services as processes, their throughput, and their latency under an open load.

The sender does not wait for answers: the latency of a purchase counts from the instant at which it is due, so the
figures include delays by stalls. It ends at the commit of the inbox message's row, according to PostgreSQL
(`track_commit_timestamp`). Both use the clock of this machine.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from deploy.sample.cloudevent import CloudEvent
from deploy.sample.publisher import connect
from services import SERVICES
from shared.postgres.pool import Pool
from tests.bench import cpu, stream
from tests.bench.cpu import Meter, Usage
from tests.bench.figures import Figure, Measured
from tests.bench.joining import barred, joined
from tests.bench.pace import settle, watch
from tests.bench.plan import Plan
from tests.bench.processes import worker
from tests.bench.rounds import WrongEffectError
from tests.support.fleet import Member

DRAINED: Final = 15_000
SECONDS: Final = 15.0
LOADS: Final = (50, 70)
"""Percent of the throughput."""
PERCENTILES: Final = (50, 99, 99.9)
MOST: Final = 250.0
"""Maximum p99 in milliseconds at the first load."""

_WARM_UP: Final = 0.15
"""Share of an open load that is a warm-up."""
_BEGUN: Final = 0.1
"""Share of the purchases that is the warm-up of a drain."""
_TICK: Final = 0.02
"""Seconds between two requests of the sender, which shares two cores with all others."""
_DRIFT: Final = 0.01

MESSAGES_SQL = """
SELECT count(DISTINCT correlation_id) FROM message WHERE channel = 'in_app' AND trigger = 'points_earned'
"""

# An array is hashed; a join with it would be a nested loop, since the tables are not analyzed.
COMMITTED_SQL = """
SELECT correlation_id, min(extract(epoch FROM pg_xact_commit_timestamp(message.xmin)))::float8 AS at
FROM message
WHERE correlation_id = ANY($1::text[]) AND channel = 'in_app' AND trigger = 'points_earned' GROUP BY 1
"""

LEDGER_SQL = """
SELECT 'basket-' || (reason ->> 'order_id') AS correlation_id,
       min(extract(epoch FROM pg_xact_commit_timestamp(xmin)))::float8 AS at
FROM transaction
WHERE 'basket-' || (reason ->> 'order_id') = ANY($1::text[]) AND reason ->> 'kind' = 'purchase' GROUP BY 1
"""

TAKEN_SQL = "SELECT count(*) FROM inbox"

PROGRESS_SQL = """
SELECT (SELECT sum(next_offset) FROM position)::bigint AS handled, (SELECT count(*) FROM outbox) AS waiting
"""

DEAD_SQL = "SELECT count(*) FROM dead_letter"


@dataclass(frozen=True, slots=True)
class _System:
    """All services, running on databases of their own."""

    pools: Mapping[str, Pool]
    processes: Mapping[str, Member]

    def meter(self, plan: Plan) -> Meter:
        """Meters every worker."""
        groups = {name: [process.pid] for name, process in self.processes.items()}
        return Meter(plan.bed, self.pools["points"], groups)


@dataclass(frozen=True, slots=True)
class _Load:
    """The results of an open load: sorted latencies in milliseconds, to the ledger and to the message."""

    rate: float
    late: float
    ledger: Sequence[float]
    message: Sequence[float]
    usage: Usage


async def measure(plan: Plan) -> list[Figure]:
    """In each round, a new system drains a full topic and then gets loads relative to that rate."""
    throughput: list[float] = []
    usages: list[Usage] = []
    loads: dict[int, list[_Load]] = {percent: [] for percent in LOADS}
    for number in range(plan.rounds):
        count = plan.events(DRAINED, 3_000)
        await plan.bed.fill(stream.purchases(plan.year, count))
        async with _system(plan) as system:
            drained = await _drain(plan, system, count)
            await settle(partial(_is_quiet, system), 60.0)
            throughput.append(drained.rate)
            assert drained.usage is not None, "it was metered"
            usages.append(drained.usage)
            plan.say(f"round {number + 1}: {drained.rate:,.0f} messages/s")
            for percent in LOADS if number % 2 == 0 else reversed(LOADS):
                rate = drained.rate * percent / 100
                load = await _load(plan, system, count, rate)
                count += round(rate * plan.seconds(SECONDS))
                loads[percent].append(load)
                plan.say(f"round {number + 1}: at {percent} %: p99 {_percentile(load.message, 99):,.0f} ms")
            await _check(system)
    drain = Figure("end to end: purchase → message, drained", throughput, "messages/s", usages=usages)
    return [drain, *(figure for percent in LOADS for figure in _figures(percent, loads[percent]))]


async def _drain(plan: Plan, system: _System, count: int) -> Measured:
    """Messages per second, from a tenth of the purchases (of the fastest service) to the last message.

    It does not start with the first tenth of the messages: by then the other services have done most of their work, and
    the rest would be the rate of notifications alone.
    """
    meter = system.meter(plan)
    notifications = system.pools["notifications"]
    expected = sum(map(_earns, stream.purchases(plan.year, count)))

    async def begun() -> bool:
        return max([await pool.fetchval(TAKEN_SQL) for pool in system.pools.values()]) >= count * _BEGUN

    await settle(begun, 60.0)
    before = await notifications.fetchval(MESSAGES_SQL)
    first = await meter.read()
    await watch(expected, partial(notifications.fetchval, MESSAGES_SQL), every=0.05)
    last = await meter.read()
    done = expected - before
    return Measured(done / (last.moment - first.moment), cpu.between(first, last, done))


def _figures(percent: int, loads: Sequence[_Load]) -> list[Figure]:
    first = percent == LOADS[0]
    late = max(load.late for load in loads)
    note = f"{loads[0].rate:,.0f}/s in the first round; the sender was at most {late:.0f} ms late"
    figures: list[Figure] = []
    for rank in PERCENTILES:
        samples = [_percentile(load.message, rank) for load in loads]
        limit = MOST if first and rank == 99 else None
        usages, remark = ([load.usage for load in loads], note) if rank == PERCENTILES[0] else ([], "")
        name = f"end to end: latency at {percent} % load, p{rank:g}"
        figures.append(Figure(name, samples, "ms", at_most=limit, usages=usages, note=remark))
    ledger = [_percentile(load.ledger, 99) for load in loads]
    return [*figures, Figure(f"end to end: of it up to the ledger's commit, at {percent} %, p99", ledger, "ms")]


def _percentile(ascending: Sequence[float], percent: float) -> float:
    return ascending[max(1, math.ceil(percent / 100 * len(ascending))) - 1]


@asynccontextmanager
async def _system(plan: Plan) -> AsyncIterator[_System]:
    """All services, started at the same moment."""
    async with AsyncExitStack() as stack:
        pools: dict[str, Pool] = {}
        processes: dict[str, Member] = {}
        async with AsyncExitStack() as bars:
            for service in SERVICES:
                url, pools[service] = await stack.enter_async_context(plan.bed.database(service))
                await bars.enter_async_context(barred(pools[service]))
                processes[service] = await stack.enter_async_context(worker(plan.bed, url, service))
            for service in SERVICES:
                await joined(plan.bed, service)
        yield _System(pools, processes)


def _earns(event: CloudEvent) -> bool:
    """Whether a purchase earns points: from 1.00 on."""
    return int(float(event.data["total"])) > 0


async def _load(plan: Plan, system: _System, start: int, rate: float) -> _Load:
    """Send the purchases from `start` on, at a rate, and wait for all of their messages."""
    seconds = plan.seconds(SECONDS)
    events = list(stream.purchases(plan.year, round(rate * seconds), start))
    meter = system.meter(plan)
    first = await meter.read()
    due, late = await _send(plan, events, rate)
    last = await meter.read()
    counted = {
        event.id: moment
        for event, moment in zip(events, due, strict=True)
        if moment - due[0] >= seconds * _WARM_UP and _earns(event)
    }
    notifications, points = system.pools["notifications"], system.pools["points"]

    async def all_committed() -> bool:
        await asyncio.sleep(0.2)
        return len(await notifications.fetch(COMMITTED_SQL, list(counted))) == len(counted)

    await settle(all_committed, 60.0)
    return _Load(
        rate=rate,
        late=late * 1000,
        ledger=_waited(counted, await points.fetch(LEDGER_SQL, list(counted))),
        message=_waited(counted, await notifications.fetch(COMMITTED_SQL, list(counted))),
        usage=cpu.between(first, last, len(events)),
    )


def _waited(due: Mapping[str, float], rows: Sequence[Any]) -> list[float]:
    """Sorted milliseconds from the due time of each purchase to its commit."""
    if len(rows) != len(due):
        raise WrongEffectError(f"of {len(due)} purchases {len(rows)} came")
    return sorted((row["at"] - due[row["correlation_id"]]) * 1000 for row in rows)


async def _send(plan: Plan, events: Sequence[CloudEvent], rate: float) -> tuple[list[float], float]:
    """Send each event when it is due; returns the due times, and the maximum delay in seconds."""
    async with connect(plan.bed.bootstrap, idempotent=not plan.bed.embedded) as publisher:
        acknowledgements: list[asyncio.Future[object]] = []
        wall, begun = time.time(), time.perf_counter()
        sent, late = 0, 0.0
        while sent < len(events):
            now = time.perf_counter() - begun
            due = min(len(events), 1 + int(now * rate))
            late = max(late, now - sent / rate)
            acknowledgements += await publisher.send_all(events[sent:due])
            sent = due
            await asyncio.sleep(_TICK)
        await asyncio.gather(*acknowledgements)
        if abs(time.time() - wall - (time.perf_counter() - begun)) > _DRIFT:
            raise WrongEffectError("the machine's clock was set meanwhile: latencies mean nothing")
    return [wall + place / rate for place in range(len(events))], late


async def _is_quiet(system: _System) -> bool:
    """Whether all services are idle; tiers and referrals may still work after the last message."""
    before = [await pool.fetchrow(PROGRESS_SQL) for pool in system.pools.values()]
    await asyncio.sleep(1.0)
    after = [await pool.fetchrow(PROGRESS_SQL) for pool in system.pools.values()]
    return before == after and not any(row["waiting"] for row in after if row is not None)


async def _check(system: _System) -> None:
    """Check that no service refused anything."""
    dead = {name: await pool.fetchval(DEAD_SQL) for name, pool in system.pools.items()}
    if any(dead.values()):
        raise WrongEffectError(f"dead letters: {dead}")
