"""Refunds of one order: each costs what it changes, and leaves what the definition says, in any order of arrival."""

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
def test_each_refund_tells_what_it_took_of_what_those_before_it_had_left(
    case: tuple[Purchase, list[Refund]], content: st.DataObject
):
    bought, refunds = case
    known = Refunds.of(order_of(bought))
    arrived: list[Refund] = []
    for new in content.draw(st.permutations(refunds)):
        was_gone = known.fold.is_final
        taken = known.add(new)
        arrived.append(new)
        definition = keep(bought, arrived)
        assert known.kept is not None
        assert (known.kept.total, known.kept.lines, known.kept.gone) == (
            definition.total,
            definition.lines,
            definition.gone,
        )
        assert was_gone or taken in definition.refunds


@given(refunded_orders(), st.data())
def test_what_is_stored_suffices_unless_later_refunds_are_needed(
    case: tuple[Purchase, list[Refund]], content: st.DataObject
):
    """A batch after the other: `needs_later` tells just when the refunds after a late one have to be loaded."""
    bought, refunds = case
    arriving = content.draw(st.permutations(refunds))
    stored: Any = {}
    before: list[Refund] = []
    while arriving:
        size = content.draw(st.integers(1, len(arriving)))
        batch, arriving = arriving[:size], arriving[size:]
        needed = needs_later(Fold.from_json(bought, stored), batch)
        known = Refunds.of(order_of(bought), stored, {}, Later({}, tuple(before)) if needed else None)
        for new in batch:
            was_gone = known.fold.is_final
            taken = known.add(new)
            before.append(new)
            assert was_gone or taken in keep(bought, before).refunds
        stored = known.fold.to_json()
        assert known.fold.kept().total == keep(bought, before).total


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
    "in order": lambda told: told,
    "newest first": lambda told: told[::-1],
    "mixed up": lambda told: random.Random(2).sample(told, len(told)),
    "each second one late": lambda told: [told[at ^ 1] for at in range(len(told))],
}


@pytest.mark.parametrize("arranged", ORDERS.values(), ids=ORDERS.keys())
async def test_refunds_in_any_order_and_any_batches_leave_the_same_books(points_pool: Pool, arranged: Any):
    told = arranged(mixed(3 * CHECKPOINT_EVERY, seed=4))
    await deliver(points_pool, purchase("1", "9000.00", hour(0), lines=LINES))
    draw = random.Random(9)
    while told:
        size = draw.choice((1, 3, 40))
        await deliver(points_pool, *told[:size])
        told = told[size:]
    refunds = [Refund.of(event.data, event.time) for event in mixed(3 * CHECKPOINT_EVERY, seed=4)]
    bought = Purchase.of(purchase("1", "9000.00", hour(0), lines=LINES).data)
    assert (await balances(points_pool)).available == int(keep(bought, refunds).total)
    await check_books(points_pool)


async def test_refunds_that_wait_are_settled_one_by_one_when_their_purchase_comes(points_pool: Pool):
    told = [refund("1", f"r{index:03}", "1.00", hour(1 + index)) for index in range(200)]
    await deliver(points_pool, *told)
    await deliver(points_pool, purchase("1", "1000.00", hour(0)))
    assert (await balances(points_pool)).available == 800
    assert await points_pool.fetchval("SELECT count(*) FROM transaction") == 201
    await check_books(points_pool)


async def test_a_late_refund_loads_what_follows_the_last_checkpoint_before_it(
    points_pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    told = mixed(5 * CHECKPOINT_EVERY, seed=7)
    late = told.pop(-3)
    await deliver(points_pool, purchase("1", "9000.00", hour(0), lines=LINES))
    await deliver(points_pool, *told)
    loaded: list[int] = []
    made = rules.Refunds.of.__func__

    def of(cls: Any, bought: Any, stored: Any = None, known: Any = None, later: Any = None) -> Refunds:
        loaded.append(len(later.refunds) if later else 0)
        return made(cls, bought, stored, known, later)

    monkeypatch.setattr(Refunds, "of", classmethod(of))
    await deliver(points_pool, late)
    assert 0 < loaded[0] <= CHECKPOINT_EVERY + 3
    await check_books(points_pool)


async def test_an_order_of_before_is_folded_from_its_refunds(points_pool: Pool):
    """As the migration finds it: nothing is stored of what its refunds left, and they have no numbers."""
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
    """With a run of refunds by line before it, into which one of a line that is not there cannot be folded."""
    await deliver(points_pool, purchase("1", "9000.00", hour(0), lines=LINES))
    await deliver(points_pool, refund("1", "r2", "10.00", hour(2), lines=[("1", "10.00")]))
    late = refund("1", "r1", "5.00", hour(1), lines=[("no such line", "5.00")])
    fits = refund("1", "r0", "20.00", hour(1), lines=[("2", "20.00")])
    async with points_pool.acquire() as connection, connection.transaction():
        refused = await handle(connection, [late, fits], NOW)
    assert [(refusal.event, refusal.reason) for refusal in refused] == [(late, Reason.UNKNOWN_LINE)]
    assert (await balances(points_pool)).available == 8970
    await check_books(points_pool)
