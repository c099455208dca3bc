"""Wrong versions of the product, one at a time: each fails a scenario that the correct version passes.

Planted: expiry of a spent lot takes what was granted, so it subtracts twice; money in floats; spending by creation
instead of expiry; reversal by today's rules instead of the recorded version; a last partial refund that takes back
what earlier ones took; a limit that is read without its lock; a hold that leaves its points spendable; activation
twice, since the lot stays pending; a refund of points that have expired, which takes them again; expired points
spent; points of an undelivered order that stay because a refund had drained their lot; a cancelled redemption
that gives points back without their date; a sweep that activates twice, or overlooks a hold.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from services.points.handlers import commands, day, events, holding, spending
from services.points.handlers.commands import InsufficientPointsError
from services.points.handlers.holding import Reservation
from services.points.handlers.spending import ForReference
from services.points.rules.books import maturity, orders, settling
from services.points.rules.books.orders import OrderCase
from services.points.rules.books.state import Order
from services.points.rules.books.tiers import Standing
from services.points.rules.ledger import lots as lots_of_ledger
from services.points.rules.ledger import postings
from services.points.rules.ledger.accounts import Account
from services.points.rules.ledger.lots import Lot
from services.points.rules.ledger.postings import _Flow
from services.points.rules.ledger.transactions import Entry, TransactionContext
from services.points.rules.program.ruleset import RuleBook
from services.points.store import available, limits, saving, statement, sweeping
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.points import books, shop
from tests.points.books import Balances, deliver
from tests.points.oracles.machine import START, bought, publish

SINCE = datetime(2020, 1, 1, tzinfo=UTC)
Scenario = Callable[[Pool], Awaitable[None]]


def later(days: float) -> datetime:
    return START + timedelta(days)


def rule(id_: str = "base", amount: str = "1.00", **fields: Any) -> dict[str, Any]:
    award = {"kind": "per_amount", "points": 1, "amount": amount}
    return {"id": id_, "on": "purchase", "award": award} | fields


async def rules(pool: Pool, *wanted: dict[str, Any], since: datetime = SINCE) -> None:
    await publish(pool, {"currency": "USD", "rules": list(wanted)}, since)


def buy(order_id: str, total: str, at: datetime = START) -> Event:
    return bought(order_id, [("", total)], at)


async def redeem(pool: Pool, points: int, now: datetime, reference: str = "r") -> UUID:
    async with pool.acquire() as connection, connection.transaction():
        made = await spending.redeem_for_reference(connection, books.call(now=now), ForReference(points, reference))
    return made.id


async def refuses(pool: Pool, points: int, now: datetime) -> bool:
    """Whether so many points cannot be spent."""
    try:
        await redeem(pool, points, now, "too many")
    except InsufficientPointsError:
        return True
    return False


async def holds(pool: Pool, now: datetime, **expected: int) -> None:
    """Assert the balances, and that `verify` reports nothing."""
    assert await books.balances(pool, now=now) == Balances(**expected)
    await books.check_books(pool)


FIVE_DAYS = {"kind": "after_days", "days": 5}


async def spent_and_over(pool: Pool) -> None:
    await rules(pool, rule(expire=FIVE_DAYS))
    await deliver(pool, buy("o", "100.00"), now=START)
    await redeem(pool, 40, START)
    await holds(pool, later(10), lifetime_earned=100, lifetime_redeemed=40)
    await books.adjust(pool, "ann", 1, later(10))
    await holds(pool, later(10), available=1, lifetime_earned=100, lifetime_redeemed=40)


async def cents(pool: Pool) -> None:
    await rules(pool, rule(amount="0.01"))
    await deliver(pool, buy("o", "2.01"), now=START)
    await holds(pool, START, available=201, lifetime_earned=201)


async def soonest_first(pool: Pool) -> None:
    await rules(pool, rule())
    await rules(pool, rule(expire=FIVE_DAYS), since=START)
    await deliver(pool, buy("lasting", "100.00", later(-1)), buy("ending", "100.00"), now=START)
    await redeem(pool, 60, START)
    await holds(pool, later(10), available=100, lifetime_earned=200, lifetime_redeemed=60)


async def rules_of_the_time(pool: Pool) -> None:
    await rules(pool, rule())
    await rules(pool, rule(amount="0.50"), since=later(1))
    await deliver(pool, buy("o", "40.00"), now=START)
    await deliver(pool, shop.refund("o", "r", "10.00", later(2)), now=later(2))
    await holds(pool, later(2), available=30, lifetime_earned=30)


async def three_refunds(pool: Pool) -> None:
    await rules(pool, rule())
    await deliver(pool, buy("o", "10.00"), buy("other", "100.00"), now=START)
    for number, amount in enumerate(("3.33", "3.33", "3.34")):
        await deliver(pool, shop.refund("o", f"r{number}", amount, START), now=START)
    await holds(pool, START, available=100, lifetime_earned=100)


async def the_last_one(pool: Pool) -> None:
    """Two customers concurrently want an award that the program gives once."""
    once = {"count": 1, "per": "ever", "scope": "program"}
    await rules(pool, rule(award={"kind": "fixed", "points": 50}, limits=[once]))

    async def bob() -> None:
        async with pool.acquire() as connection, connection.transaction():
            await events.handle(connection, [shop.purchase("o", "1.00", START, customer_id="bob")], START)

    async with pool.acquire() as connection, connection.transaction():
        await events.handle(connection, [buy("o", "1.00")], START)
        waiting = asyncio.create_task(bob())
        await asyncio.wait([waiting], timeout=0.3)
    await waiting
    assert await books.balances(pool, "bob", START) == Balances()
    await holds(pool, START, available=50, lifetime_earned=50)


async def held_is_not_spent(pool: Pool) -> None:
    await books.adjust(pool, "ann", 50, START)
    async with pool.acquire() as connection, connection.transaction():
        await holding.reserve(connection, books.call(now=START), Reservation(30, "h", timedelta(1)))
    assert await refuses(pool, 21, START), "what is held cannot be spent"
    await holds(pool, START, available=20, held=30)
    await holds(pool, later(1), available=50)


async def available_once(pool: Pool) -> None:
    await rules(pool, rule(activate=FIVE_DAYS))
    await deliver(pool, buy("o", "100.00"), buy("p", "50.00", later(2)), now=START)
    await day.sweep(pool, later(6))
    await holds(pool, later(6), available=100, pending=50, lifetime_earned=150)
    await day.sweep(pool, later(8))
    await holds(pool, later(8), available=150, lifetime_earned=150)


async def available_once_by_writes(pool: Pool) -> None:
    await rules(pool, rule(activate=FIVE_DAYS))
    await deliver(pool, buy("o", "100.00"), buy("p", "50.00", later(2)), now=START)
    await books.adjust(pool, "ann", 1, later(6))
    await holds(pool, later(6), available=101, pending=50, lifetime_earned=150)
    await books.adjust(pool, "ann", 1, later(8))
    await holds(pool, later(8), available=152, lifetime_earned=150)


async def given_back(pool: Pool) -> None:
    await rules(pool, rule(expire=FIVE_DAYS))
    await deliver(pool, buy("o", "100.00"), now=START)
    async with pool.acquire() as connection, connection.transaction():
        await holding.reserve(connection, books.call(now=START), Reservation(30, "h", timedelta(8)))
    await day.sweep(pool, later(7))
    await holds(pool, later(7), held=30, lifetime_earned=100)
    await day.sweep(pool, later(9))
    await holds(pool, later(9), lifetime_earned=100)


async def refunded_when_over(pool: Pool) -> None:
    await rules(pool, rule(expire=FIVE_DAYS))
    await deliver(pool, buy("o", "100.00"), now=START)
    await deliver(pool, shop.refund("o", "r", "100.00", later(9)), now=later(10))
    await holds(pool, later(10), lifetime_earned=100)


async def too_late(pool: Pool) -> None:
    await rules(pool, rule(expire=FIVE_DAYS))
    await deliver(pool, buy("o", "100.00"), now=START)
    assert await refuses(pool, 1, later(10)), "what is over cannot be spent"
    await holds(pool, later(10), lifetime_earned=100)


async def drained_and_never_delivered(pool: Pool) -> None:
    on_delivery = {"kind": "on_delivery", "cancel_after_days": 10}
    bonus = rule("bonus", award={"kind": "fixed", "points": 20}, activate=on_delivery)
    await rules(pool, rule(), bonus)
    await deliver(pool, buy("o", "50.00"), now=START)
    await redeem(pool, 50, START)
    await deliver(pool, shop.refund("o", "r", "20.00", START), now=START)
    await holds(pool, START, lifetime_earned=50, lifetime_redeemed=50)
    await day.sweep(pool, later(11))
    await holds(pool, later(11), debt=20, lifetime_earned=30, lifetime_redeemed=50)


async def cancelled_in_time(pool: Pool) -> None:
    await rules(pool, rule(expire=FIVE_DAYS))
    await deliver(pool, buy("o", "100.00"), now=START)
    made = await redeem(pool, 40, START)
    async with pool.acquire() as connection, connection.transaction():
        await spending.cancel(connection, made, books.call(now=later(1)))
    await holds(pool, later(1), available=100, lifetime_earned=100)
    await holds(pool, later(10), lifetime_earned=100)


# The wrong versions.


def units_in_floats(amount: str) -> int:
    return int(float(amount) * 10_000)


def by_creation(lot: Lot) -> tuple[datetime, UUID]:
    return lot.occurred_at, lot.id


def judged_today(order: Order, book: RuleBook, standing: Standing) -> OrderCase:
    today = book.in_force(datetime.max.replace(tzinfo=UTC))
    return OrderCase(today, order.bought, order.occurred_at, order.ordinal, standing)


def forgets_what_was_taken(given: Mapping[str, int], more: Mapping[str, int], _: Mapping[str, int]) -> dict[str, int]:
    return {**given, **more}


def hold_nothing(
    account: Account, points: int, _: Iterable[Lot], context: TransactionContext, ids: Iterator[UUID]
) -> Entry:
    return _Flow(account).end("held", -points, context, next(ids))


def without_date(lot: Lot, _now: datetime, _fresh: datetime) -> Lot:
    return lot._replace(expires_at=None)


Plant = tuple[object, str, Any]
PLANTS: dict[str, tuple[Scenario, list[Plant]]] = {
    "expiry of a spent lot subtracts twice": (
        spent_and_over,
        [
            (
                statement,
                "PLAINLY_MATURED_SQL",
                statement.PLAINLY_MATURED_SQL.replace("(SELECT sum(remaining)", "(SELECT sum(granted)"),
            )
        ],
    ),
    "floats": (cents, [(orders, "units", units_in_floats)]),
    "first in, first out by creation": (
        soonest_first,
        [
            (postings, "spending_order", by_creation),
            (available, "spending_order", by_creation),
            (available, "READ_SQL", available.READ_SQL.replace("ORDER BY expires_at, ", "ORDER BY ")),
            (available, "LOCK_AND_READ_SQL", available.LOCK_AND_READ_SQL.replace("ORDER BY expires_at, ", "ORDER BY ")),
        ],
    ),
    "reversal by today's rules": (rules_of_the_time, [(settling, "case_of", judged_today)]),
    "the last partial refund takes too much": (three_refunds, [(settling, "after", forgets_what_was_taken)]),
    "limits are read without their lock": (the_last_one, [(limits, "load", partial(limits.load, lock=False))]),
    "holds are ignored": (held_is_not_spent, [(postings, "hold", hold_nothing)]),
    "activation twice": (
        available_once_by_writes,
        [(saving, "UPDATE_LOTS_SQL", saving.UPDATE_LOTS_SQL.replace("pending = new.pending, ", ""))],
    ),
    "a sweep activates twice": (
        available_once,
        [(sweeping, "SWEEP_SQL", sweeping.SWEEP_SQL.replace("SET pending = false,", "SET"))],
    ),
    "a sweep overlooks holds": (
        given_back,
        [(sweeping, "SWEEP_SQL", sweeping.SWEEP_SQL.replace("FROM hold WHERE", "FROM hold WHERE false AND"))],
    ),
    "expired points are taken back": (refunded_when_over, [(settling, "lost_of", lambda _: {})]),
    "what is due waits for the night": (too_late, [(commands, "apply_due", lambda *_: None)]),
    "a drained lot waits for no delivery": (
        drained_and_never_delivered,
        [(maturity, "_next_due", lots_of_ledger.next_due)],
    ),
    "cancelled points never end": (cancelled_in_time, [(spending, "_with_date", without_date)]),
}


@pytest.mark.parametrize("name", PLANTS)
async def test_the_product_passes(points_pool: Pool, name: str):
    await PLANTS[name][0](points_pool)


@pytest.mark.parametrize("name", PLANTS)
async def test_a_planted_bug_is_caught(points_pool: Pool, monkeypatch: pytest.MonkeyPatch, name: str):
    scenario, plants = PLANTS[name]
    for place, function, wrong in plants:
        assert getattr(place, function) != wrong, "a plant changes something"
        monkeypatch.setattr(place, function, wrong)
    with pytest.raises(AssertionError):
        await scenario(points_pool)
