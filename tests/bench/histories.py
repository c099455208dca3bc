"""The cost of an event depends on its changes, not on its customer's history: hostile histories and ordinary events.

Each row drains the events of one customer with a real worker, and gives the cost of one event (CPU of the worker and
of PostgreSQL) as a multiple of an ordinary purchase, which is drained first. Then the same customer's events continue
while another customer of the same partition buys at a steady pace: the row gives the latency of those purchases.

A row of another service is a `History` with its `service`.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiokafka.partitioner import DefaultPartitioner

from deploy import topics
from deploy.sample.cloudevent import PURCHASE_COMPLETED, PURCHASE_REFUNDED, PURCHASES, CloudEvent
from deploy.sample.publisher import connect
from services.referrals.store import codes
from shared.contracts.topics import REFERRALS, TIERS
from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from tests.bench import draining
from tests.bench.draining import Drain
from tests.bench.figures import Figure
from tests.bench.pace import settle
from tests.bench.plan import Plan
from tests.bench.processes import worker
from tests.bench.rounds import WrongEffectError

MOST: Final = 5.0
"""Maximum cost of an event of a long history, in ordinary events."""
MOST_SECONDS: Final = 2.0
"""Maximum seconds until 99 of 100 purchases of another customer are in the ledger meanwhile."""

_ORDINARY: Final = 10_000
_SECONDS: Final = 8.0
_PAUSE: Final = 0.1
"""Seconds between two purchases of the bystander."""
_PER_SECOND: Final = 200
"""Number of events of the history per second meanwhile."""
_START: Final = datetime(2025, 1, 1, tzinfo=UTC)
_HOT: Final = "hot"
_CODE: Final = "CDFGHJKM"

Events = Callable[[int], Iterator[CloudEvent]]


@dataclass(frozen=True, slots=True)
class History:
    """Events of one customer: `count` are drained, then `more` are published while another customer buys."""

    name: str
    count: int
    events: Events
    more: Events
    service: str = "points"
    before: Callable[[Pool], Any] | None = None
    """What is done to the database before the bystander buys."""
    first: Callable[[Pool], Any] | None = None
    """What is done to the empty database."""


def _at(number: int) -> datetime:
    return _START + timedelta(minutes=number)


def _purchase(customer: str, order: str, at: datetime, total: str = "100.00") -> CloudEvent:
    data = {"customer_id": customer, "order_id": order, "currency": "USD", "total": total}
    return CloudEvent(PURCHASES, PURCHASE_COMPLETED, f"{customer}-{order}", "/bench", at, data)


def _refund(number: int) -> CloudEvent:
    data = {"customer_id": _HOT, "order_id": "1", "refund_id": f"r{number}", "currency": "USD", "amount": "2.00"}
    return CloudEvent(PURCHASES, PURCHASE_REFUNDED, f"r{number}", "/bench", _at(number + 1), data)


def _timeline(number: int) -> CloudEvent:
    """The event of the tiers service in a backfill, newest first: each order moves the promotion to an earlier time."""
    entries = [
        {"effective_at": format_instant(_at(number + 5)), "tier": "silver", "points_multiplier": "1.25"},
        {"effective_at": format_instant(_at(number + 15)), "tier": "gold", "points_multiplier": "1.5"},
    ]
    data = {
        "customer_id": _HOT, "program_version": 1, "from": "member", "to": "gold", "reason": "spend",
        "effective_at": entries[0]["effective_at"], "points_multiplier": "1.5", "timeline": entries,
    }  # fmt: skip
    return CloudEvent(TIERS, "loyalty.tier.corrected.v1", f"t{number}", "/wafa/tiers", _at(number), data)


def _orders(count: int) -> Iterator[CloudEvent]:
    return (_purchase(_HOT, f"{number}", _at(number)) for number in range(count))


def _more_orders(count: int) -> Iterator[CloudEvent]:
    return (_purchase(_HOT, f"more-{number}", _at(number)) for number in range(count))


def _refunds_after(count: int) -> Iterator[CloudEvent]:
    yield _purchase(_HOT, "1", _START, "900000.00")
    yield from map(_refund, range(count - 1))


def _refunds_before(count: int) -> Iterator[CloudEvent]:
    yield from map(_refund, range(count - 1))
    yield _purchase(_HOT, "1", _START, "900000.00")


def _more_refunds(count: int) -> Iterator[CloudEvent]:
    return map(_refund, range(1_000_000, 1_000_000 + count))


def _backfill(count: int) -> Iterator[CloudEvent]:
    for number in range(count // 2, 0, -1):
        yield _purchase(_HOT, f"{number}", _at(number))
        yield _timeline(number)


def _more_backfill(count: int) -> Iterator[CloudEvent]:
    for number in range(0, -(count // 2), -1):
        yield _purchase(_HOT, f"{number}", _at(number))
        yield _timeline(number)


def _newest_first(count: int) -> Iterator[CloudEvent]:
    return (_purchase(_HOT, f"{number}", _at(number)) for number in range(count, 0, -1))


def _more_newest_first(count: int) -> Iterator[CloudEvent]:
    return (_purchase(_HOT, f"{number}", _at(number)) for number in range(0, -count, -1))


def _refunds_newest_first(count: int) -> Iterator[CloudEvent]:
    yield _purchase(_HOT, "1", _START, "900000.00")
    yield from map(_refund, range(500_000 + count, 500_001, -1))


def _more_refunds_newest_first(count: int) -> Iterator[CloudEvent]:
    return map(_refund, range(500_000, 500_000 - count, -1))


def _refunds_of_a_friend(count: int) -> Iterator[CloudEvent]:
    data = {"customer_id": _HOT, "code": _CODE}
    yield CloudEvent(REFERRALS, "shop.referral.signed_up.v1", "sign-up", "/bench", _START, data)
    yield from _refunds_newest_first(count - 1)


async def _give_code(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await codes.add_code(connection, "advocate", _CODE, _START)


EXPIRE_SQL = "UPDATE lot SET expires_at = $1"
DUE_SQL = "UPDATE account SET due_at = $1 WHERE customer_id = 'hot'"


async def _expire_soon(pool: Pool) -> None:
    """Let all lots expire at one instant soon; the customer's next event applies the expiry."""
    at = datetime.now(UTC) + timedelta(seconds=_SECONDS / 4)
    await pool.execute(EXPIRE_SQL, at)
    await pool.execute(DUE_SQL, at)


HISTORIES: Final = (
    History("one customer with 40,000 orders", 40_000, _orders, _more_orders),
    History("40,000 lots that expire at one instant", 40_000, _orders, _more_orders, before=_expire_soon),
    History("one order with 10,000 refunds", 10_000, _refunds_after, _more_refunds),
    History("10,000 refunds before their purchase", 10_000, _refunds_before, _more_refunds),
    History("a backfill of 8,000 orders newest first, with tiers", 16_000, _backfill, _more_backfill),
    History("one customer with 40,000 orders", 40_000, _orders, _more_orders, "tiers"),
    History("a backfill of 8,000 orders newest first", 8_000, _newest_first, _more_newest_first, "tiers"),
    History("one order with 10,000 refunds", 10_000, _refunds_after, _more_refunds, "tiers"),
    History("10,000 refunds newest first", 10_000, _refunds_newest_first, _more_refunds_newest_first, "tiers"),
    History("10,000 refunds before their purchase", 10_000, _refunds_before, _more_refunds, "tiers"),
    History("one customer with 40,000 orders", 40_000, _orders, _more_orders, "referrals"),
    History(
        "10,000 refunds of an order that brought a reward, newest first",
        10_000,
        _refunds_of_a_friend,
        _more_refunds_newest_first,
        "referrals",
        first=_give_code,
    ),
    History("10,000 refunds before their purchase", 10_000, _refunds_before, _more_refunds, "referrals"),
)


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
    events = (_purchase(f"c-{number % 4999}", f"{number}", _at(number)) for number in range(count))
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
    measured = await draining.drain_into(plan.bed, database, Drain(count, service=service))
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
    seconds = plan.seconds(_SECONDS)
    more = list(history.more(int(seconds * _PER_SECOND)))
    async with (
        worker(plan.bed, url, history.service),
        connect(plan.bed.bootstrap, idempotent=not plan.bed.embedded) as publisher,
    ):

        async def send(order: str, *beside: CloudEvent) -> None:
            bought = _purchase(neighbor, order, datetime.now(UTC))
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
    place = choose(_HOT.encode(), numbers, numbers)
    return next(
        name for name in (f"neighbor-{number}" for number in range(1000))
        if choose(name.encode(), numbers, numbers) == place
    )  # fmt: skip
