"""Points with the tiers that the real tiers service computes: the order of arrival changes no balance.

Planted and caught here: promotions identified by their instants, or by their events; promotions of a correction
left out; promotions that the timeline lost left standing; the awards of a
batch with several corrections loaded by the last correction alone.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note
from hypothesis import strategies as st

from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.points import books
from tests.points.asking import enact
from tests.points.books import Balances, balances, check_books
from tests.points.oracles.model import kept_of
from tests.points.shop import hour, purchase, refund
from tests.points.together import Together
from tests.points.written import fixed, is_in, limit, per_amount, rule
from tests.support.depth import examples

NOW = datetime(2026, 6, 1, tzinfo=UTC)
RULES = (
    rule("base", per_amount()),
    rule("climbed", fixed(500), on="tier_promotion"),
    rule("golden", fixed(70), is_in("tier", "gold"), on="tier_promotion", limits=[limit(count=9)]),
)


@pytest.fixture
async def both(points_pool: Pool, tiers_pool: Pool) -> Together:
    await enact(points_pool, rule("base", per_amount()), rule("climbed", fixed(500), on="tier_promotion"))
    return Together(points_pool, tiers_pool, NOW)


@pytest.mark.parametrize("arrival", ["as it came", "in order"])
async def test_a_promotion_that_a_late_refund_undid_is_taken_back(both: Together, arrival: str):
    first, second = purchase("A", "300.00", hour(1)), purchase("B", "250.00", hour(3))
    back, third = refund("A", "r", "300.00", hour(2)), purchase("C", "300.00", hour(4))
    if arrival == "in order":
        await both.in_order([first, second, back, third])
    else:
        for event, available in ((first, 300), (second, 1050), (back, 250), (third, 1050)):
            await both.deliver(event)
            await both.catch_up()
            assert (await balances(both.points, now=NOW)).available == available
            await check_books(both.points)
    assert await balances(both.points, now=NOW) == Balances(available=1050, lifetime_earned=1050)
    await check_books(both.points)


@pytest.mark.parametrize("arrival", ["as it came", "in order"])
async def test_a_promotion_that_a_late_purchase_brings_is_paid(both: Together, arrival: str):
    events = [purchase("B", "1500.00", hour(2)), purchase("A", "600.00", hour(1))]
    if arrival == "in order":
        await both.in_order(events)
    else:
        for event in events:
            await both.deliver(event)
            await both.catch_up()
    assert await balances(both.points, now=NOW) == Balances(available=3475, lifetime_earned=3475)
    await check_books(both.points)


async def test_entering_gold_directly_is_one_rise(both: Together):
    await both.in_order([purchase("A", "1500.00", hour(1))])
    assert (await balances(both.points, now=NOW)).available == 2000


def expected(events: Sequence[Event]) -> int:
    """Ann's final points by the definition of the programs: sums over all events, at each instant."""
    bought: list[Any] = sorted((event for event in events if "completed" in event.type), key=lambda event: event.time)
    refunds: list[Any] = [event for event in events if "refunded" in event.type]

    def kept(order: Any, until: datetime) -> Fraction:
        return kept_of(
            order.data, [back for back in refunds if back.data.order_id == order.data.order_id and back.time <= until]
        )

    points, tier = 0, 0
    for order in bought:
        base = int(kept(order, NOW))
        points += base + int(base * (Fraction(1), Fraction(5, 4), Fraction(3, 2))[tier]) - base
        spent = sum(kept(earlier, order.time) for earlier in bought if earlier.time <= order.time)
        reached = 2 if spent >= 1500 else 1 if spent >= 500 else 0
        if reached > tier:
            points += 500 + 70 * (reached == 2)
            tier = reached
    return points


_TOTAL = st.sampled_from(("300.00", "250.00", "600.00", "499.99", "0.01", "1500.00", "1000.01"))


@st.composite
def happened(draw: st.DrawFn) -> list[Event]:
    """Orders and refunds of ann's, each at an instant of its own."""
    count = draw(st.integers(2, 5))
    hours = iter(draw(st.permutations(range(3 * count))))
    events: list[Event] = []
    for number in range(count):
        total = draw(_TOTAL)
        events.append(purchase(f"{number}", total, hour(next(hours))))
        for back in range(draw(st.sampled_from((0, 0, 1, 2)))):
            amount = draw(st.sampled_from((total, total, "0.01", "100.00", "250.00")))
            events.append(refund(f"{number}", f"r{back}", amount, hour(next(hours))))
    return events


# A failure is worth the minutes that it takes to make its example small.
@pytest.mark.timeout(400)
@given(data=st.data(), events=happened())
@examples(12, deep=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_any_order_of_arrival_ends_in_the_same_balance(
    points_pool: Pool, tiers_pool: Pool, data: st.DataObject, events: list[Event]
):
    # A refund may arrive before its order.
    for event in (arrival := data.draw(st.permutations(events))):
        note(f"{event.time:%dd %Hh} {event.data!r}")
    await books.empty(points_pool)
    await books.empty(tiers_pool)
    await enact(points_pool, *RULES)
    both = Together(points_pool, tiers_pool, NOW)
    while arrival:
        size = data.draw(st.integers(1, 4))
        batch, arrival = arrival[:size], arrival[size:]
        if data.draw(st.booleans()):
            await both.deliver(*batch)
        else:  # Tiers may be ahead: points have not read all that tiers published.
            await both.deliver_to_tiers(*batch)
            await both.catch_up(data.draw(st.integers(0, 9)))
            await books.deliver(points_pool, *batch, now=NOW)
        await both.catch_up(data.draw(st.integers(0, 2)))
    await both.catch_up()
    final = await balances(points_pool, now=NOW)
    assert final.available - final.debt == final.lifetime_earned == expected(events)
    await check_books(points_pool)
