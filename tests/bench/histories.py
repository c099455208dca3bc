"""The cost of an event depends on its changes, not on its customer's history: hostile histories and ordinary events.

Each row drains the events of one customer with a real worker, and gives the cost of one event (CPU of the worker and
of PostgreSQL) as a multiple of an ordinary purchase, which is drained first. Then the same customer's events continue
while another customer of the same partition buys at a steady pace: the row gives the latency of those purchases.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from aiokafka.partitioner import DefaultPartitioner

from deploy import topics
from deploy.sample.cloudevent import CloudEvent
from deploy.sample.publisher import connect
from shared.postgres.pool import Pool
from tests.bench import draining
from tests.bench.draining import Drain
from tests.bench.figures import Figure
from tests.bench.hostile import HISTORIES, HOT, SECONDS, History, at_minute, purchase
from tests.bench.pace import settle
from tests.bench.plan import Plan
from tests.bench.processes import worker
from tests.bench.rounds import WrongEffectError

MOST: Final = 5.0
"""Maximum cost of an event of a long history, in ordinary events."""
MOST_SECONDS: Final = 2.0
"""Maximum seconds until 99 of 100 purchases of another customer are in the ledger meanwhile."""

_ORDINARY: Final = 10_000
_PAUSE: Final = 0.1
"""Seconds between two purchases of the bystander."""
_PER_SECOND: Final = 200
"""Number of events of the history per second meanwhile."""


async def measure(plan: Plan, histories: Sequence[History] = HISTORIES) -> list[Figure]:
    """Measure each history once, since each is long enough."""
    ordinary: dict[str, float] = {}
    figures: list[Figure] = []
    for history in histories:
        if history.service not in ordinary:
            ordinary[history.service] = await _ordinary(plan, history.service)
        cost, waited = await _history(plan, history)
        times = cost / ordinary[history.service]
        plan.say(f"{history.name}: {cost:.0f} µs, {times:.2f} ×; bystander p99 {waited[-1]:.2f} s")
        name = f"histories, {history.service}: {history.name}"
        figures += [
            Figure(f"{name}: an event / an ordinary one", [times], "×", at_most=MOST, note=f"{cost:.0f} µs of CPU"),
            Figure(f"{name}: bystander's purchase, p99", [_p99(waited)], "s", at_most=MOST_SECONDS),
        ]
    return figures


def _p99(ascending: Sequence[float]) -> float:
    return ascending[max(0, round(len(ascending) * 0.99) - 1)]


async def _ordinary(plan: Plan, service: str) -> float:
    """CPU microseconds of a purchase by a customer with few orders."""
    count = plan.events(_ORDINARY, 2_000)
    events = (purchase(f"c-{number % 4999}", f"{number}", at_minute(number)) for number in range(count))
    async with plan.bed.database(service) as (url, pool):
        return await _drain(plan, (url, pool), service, events)


async def _history(plan: Plan, history: History) -> tuple[float, list[float]]:
    """CPU microseconds per event, and the latencies of another customer's purchases in ascending seconds."""
    count = plan.events(history.count, 1_000)
    async with plan.bed.database(history.service) as (url, pool):
        if history.first is not None:
            await history.first(pool)
        cost = await _drain(plan, (url, pool), history.service, history.events(count))
        return cost, await _bystand(plan, history, url, pool)


DEAD_SQL = "SELECT count(*) FROM dead_letter"


async def _drain(plan: Plan, database: tuple[str, Pool], service: str, events: Iterable[CloudEvent]) -> float:
    count = await plan.bed.fill(events)
    measured = await draining.drain_into(plan.bed, database, Drain(count, service=service, with_jobs=True))
    assert measured.usage is not None, "it was metered"
    if dead := await database[1].fetchval(DEAD_SQL):
        raise WrongEffectError(f"{dead} of {count} events became dead letters")
    costs = measured.usage.per_event()
    return sum(microseconds for name, microseconds in costs.items() if name != "Kafka")


async def _bystand(plan: Plan, history: History, url: str, pool: Pool) -> list[float]:
    """Continue a history while another customer of its partition buys; returns ascending latencies in seconds."""
    neighbor, seen = _neighbor(), SEEN_SQL[history.service]
    sent: dict[str, float] = {}
    committed: dict[str, float] = {}
    seconds = plan.seconds(SECONDS)
    more = list(history.more(int(seconds * _PER_SECOND)))
    async with (
        worker(plan.bed, url, history.service),
        connect(plan.bed.bootstrap, idempotent=not plan.bed.embedded) as publisher,
    ):

        async def send(order: str, *beside: CloudEvent) -> None:
            bought = purchase(neighbor, order, datetime.now(UTC))
            await asyncio.gather(*await publisher.send_all([*beside, bought]))

        async def all_came() -> bool:
            committed.update({row["order_id"]: row["at"] for row in await pool.fetch(seen, neighbor)})
            await asyncio.sleep(0.1)
            return sent.keys() <= committed.keys()

        # The first purchase waits until the worker has joined its group.
        sent["first"] = 0.0
        await send("first")
        await settle(all_came, 60.0)
        del sent["first"]
        if history.before is not None:
            await history.before(pool)
        steps = int(seconds / _PAUSE)
        for step in range(steps):
            sent[f"{step}"] = time.time()
            await send(f"{step}", *more[len(more) * step // steps : len(more) * (step + 1) // steps])
            await asyncio.sleep(_PAUSE)
        await settle(all_came, 60.0)
    return sorted(committed[order] - at for order, at in sent.items())


SEEN_SQL: Final = {
    service: f"""
SELECT order_id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at
FROM {table} WHERE customer_id = $1
"""
    for service, table in (("points", "purchase"), ("tiers", "purchase"), ("referrals", "purchase"))
}


def _neighbor() -> str:
    """A customer of the same partition."""
    numbers = list(range(topics.PARTITIONS))
    choose = DefaultPartitioner()
    place = choose(HOT.encode(), numbers, numbers)
    return next(
        name for name in (f"neighbor-{number}" for number in range(1000))
        if choose(name.encode(), numbers, numbers) == place
    )  # fmt: skip
