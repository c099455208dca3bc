"""Refunds of one order, in any order of arrival: the result is that of the definition, at the cost of what changes."""

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.points.handlers.events import handle
from services.points.rules.books import refunds as rules
from services.points.rules.books.refunds import Later, Refunds, needs_later
from shared.contracts.envelope import Event
from shared.contracts.kept import CHECKPOINT_EVERY, Fold, keep
from shared.contracts.reasons import Reason
from shared.contracts.refunds import Purchase, Refund
from shared.contracts.shop import PurchaseCompleted
from shared.postgres.pool import Pool
from tests.contracts.test_kept_of_any_order import refunded_orders
from tests.points.books import NOW, balances, check_books, deliver
from tests.points.shop import hour, purchase, refund

LINES = (("1", "4000.00"), ("2", "5000.00"))


@given(refunded_orders(), st.data())
def test_adding_a_refund_returns_what_it_took(case: tuple[Purchase, list[Refund]], content: st.DataObject):
    bought, refunds = case
    folded = Refunds.of(order_of(bought))
    arrived: list[Refund] = []
    for new in content.draw(st.permutations(refunds)):
        was_final = folded.fold.is_final
        taken = folded.add(new)
        arrived.append(new)
        definition = keep(bought, arrived)
        assert folded.kept is not None
        assert (folded.kept.total, folded.kept.lines, folded.kept.gone) == (
            definition.total,
            definition.lines,
            definition.gone,
        )
        assert was_final or taken in definition.refunds


@given(refunded_orders(), st.data())
def test_the_stored_fold_suffices_unless_later_refunds_are_needed(
    case: tuple[Purchase, list[Refund]], content: st.DataObject
):
    """`needs_later` is true exactly when the refunds after a late one have to be loaded, batch by batch."""
    bought, refunds = case
    arriving = content.draw(st.permutations(refunds))
    stored: Any = {}
    before: list[Refund] = []
    while arriving:
        size = content.draw(st.integers(1, len(arriving)))
        batch, arriving = arriving[:size], arriving[size:]
        needed = needs_later(Fold.from_json(bought, stored), batch)
        folded = Refunds.of(order_of(bought), stored, {}, Later({}, tuple(before)) if needed else None)
        for new in batch:
            was_final = folded.fold.is_final
            taken = folded.add(new)
            before.append(new)
            assert was_final or taken in keep(bought, before).refunds
        stored = folded.fold.to_json()
        assert folded.fold.kept().total == keep(bought, before).total


def order_of(bought: Purchase) -> PurchaseCompleted:
    return PurchaseCompleted.model_construct(
        customer_id="ann", order_id="1", currency=bought.currency, total=bought.total, lines=bought.lines
    )


def mixed(count: int, seed: int) -> list[Event]:
    """Refunds by share and by line in turn, of one order, in the order of their times."""
    draw = random.Random(seed)
    made: list[Event] = []
    for index in range(count):
        money = f"{Decimal(draw.randrange(1, 2500)) / 100:.2f}"
        lines = [(draw.choice("12"), money)] if index % 3 == 0 else []
        made.append(refund("1", f"r{index:04}", money, hour(1 + index), lines=lines))
    return made


ORDERS = {
    "in order": lambda events: events,
    "newest first": lambda events: events[::-1],
    "mixed up": lambda events: random.Random(2).sample(events, len(events)),
    "each second one late": lambda events: [events[at ^ 1] for at in range(len(events))],
}


@pytest.mark.parametrize("arranged", ORDERS.values(), ids=ORDERS.keys())
async def test_refunds_in_any_order_and_any_batches_leave_the_same_books(points_pool: Pool, arranged: Any):
    events = arranged(mixed(3 * CHECKPOINT_EVERY, seed=4))
    await deliver(points_pool, purchase("1", "9000.00", hour(0), lines=LINES))
    draw = random.Random(9)
    while events:
        size = draw.choice((1, 3, 40))
        await deliver(points_pool, *events[:size])
        events = events[size:]
    refunds = [Refund.of(event.data, event.time) for event in mixed(3 * CHECKPOINT_EVERY, seed=4)]
    bought = Purchase.of(purchase("1", "9000.00", hour(0), lines=LINES).data)
    assert (await balances(points_pool)).available == int(keep(bought, refunds).total)
    await check_books(points_pool)


async def test_refunds_that_wait_are_settled_one_by_one_when_their_purchase_comes(points_pool: Pool):
    events = [refund("1", f"r{index:03}", "1.00", hour(1 + index)) for index in range(200)]
    await deliver(points_pool, *events)
    await deliver(points_pool, purchase("1", "1000.00", hour(0)))
    assert (await balances(points_pool)).available == 800
    assert await points_pool.fetchval("SELECT count(*) FROM transaction") == 201
    await check_books(points_pool)


async def test_a_late_refund_loads_what_follows_the_last_checkpoint_before_it(
    points_pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    events = mixed(5 * CHECKPOINT_EVERY, seed=7)
    late = events.pop(-3)
    await deliver(points_pool, purchase("1", "9000.00", hour(0), lines=LINES))
    await deliver(points_pool, *events)
    loaded: list[int] = []
    made = rules.Refunds.of.__func__

    def of(cls: Any, bought: Any, stored: Any = None, repeated: Any = None, later: Any = None) -> Refunds:
        loaded.append(len(later.refunds) if later else 0)
        return made(cls, bought, stored, repeated, later)

    monkeypatch.setattr(Refunds, "of", classmethod(of))
    await deliver(points_pool, late)
    assert 0 < loaded[0] <= CHECKPOINT_EVERY + 3
    await check_books(points_pool)


async def test_an_order_without_a_stored_fold_is_folded_from_its_refunds(points_pool: Pool):
    """As before the migration: no fold of the refunds is stored, and they have no numbers."""
    await deliver(points_pool, purchase("1", "100.00", hour(0)), refund("1", "r1", "10.00", hour(1)))
    await points_pool.execute("UPDATE purchase SET refunded = NULL")
    await points_pool.execute("UPDATE refund SET number = NULL")
    await points_pool.execute(
        "UPDATE transaction SET inputs = $1 WHERE kind = 'reversed'",
        {"multiplier": "1", "refunds": ["r1"], "refund": "r1"},
    )
    await deliver(points_pool, refund("1", "r2", "20.00", hour(2)), refund("1", "r1", "10.00", hour(1)))
    assert (await balances(points_pool)).available == 70
    await check_books(points_pool)
    assert await points_pool.fetchval("SELECT (refunded->>'count')::int FROM purchase") == 2


async def test_a_late_refund_that_does_not_fit_is_refused_and_the_others_count(points_pool: Pool):
    """Refunds by line precede it, among which a refund of a missing line cannot be folded."""
    await deliver(points_pool, purchase("1", "9000.00", hour(0), lines=LINES))
    await deliver(points_pool, refund("1", "r2", "10.00", hour(2), lines=[("1", "10.00")]))
    late = refund("1", "r1", "5.00", hour(1), lines=[("no such line", "5.00")])
    fits = refund("1", "r0", "20.00", hour(1), lines=[("2", "20.00")])
    async with points_pool.acquire() as connection, connection.transaction():
        refused = await handle(connection, [late, fits], NOW)
    assert [(refusal.event, refusal.reason) for refusal in refused] == [(late, Reason.UNKNOWN_LINE)]
    assert (await balances(points_pool)).available == 8970
    await check_books(points_pool)
