"""Any events, in any order and any batches: the books equal those of the model.

Planted and caught here: points rounded instead of cut; timelines that replace too little in the store; refunds
that wait for ever.
"""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from services.points.handlers.commands import InsufficientPointsError
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.points import books
from tests.points.asking import enact
from tests.points.books import Balances
from tests.points.oracles.histories import CUSTOMERS, adjustments, arrivals, facts, histories
from tests.points.oracles.model import Model
from tests.points.states import DEFAULT
from tests.points.written import fixed, rule

_BOUNDED = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

PROMOTION = 30
CLIMBED = rule("climbed", fixed(PROMOTION), on="tier_promotion")


def brief(event: Event) -> str:
    """An event as a failing example shows it."""
    return f"{event.id[-4:]} {event.time:%H}h {event.data!r}"


def expected(model: Model, customer: str) -> Balances:
    available, debt = model.balance(customer)
    return Balances(available=available, debt=debt, lifetime_earned=model.earned(customer))


async def adjust(pool: Pool, model: Model, customer: str, points: int) -> None:
    available, _ = model.balance(customer)
    if available + points < 0:
        with pytest.raises(InsufficientPointsError) as refused:
            await books.adjust(pool, customer, points)
        assert refused.value.missing == -points - available
    else:
        await books.adjust(pool, customer, points)
        model.adjusted[customer] += points


# A failure is worth the minutes that it takes to make its example small.
@pytest.mark.timeout(400)
@given(history=histories(), corrections=adjustments)
@_BOUNDED
async def test_the_books_follow_the_model_batch_by_batch(
    points_pool: Pool, history: Sequence[Sequence[Event]], corrections: Sequence[tuple[str, int]]
):
    for batch in history:
        note("; ".join(map(brief, batch)))
    await books.empty(points_pool)
    await enact(points_pool, *DEFAULT["rules"], CLIMBED)
    model = Model(promotion=PROMOTION)
    seen: set[str] = set()
    for number, batch in enumerate(history):
        await books.deliver(points_pool, *batch)
        for event in batch:
            if event.id not in seen:
                model.apply(event)
            # A dead letter takes up no id: the same record again is judged, and refused, again.
            seen = (seen | {event.id}) - {refusal.id for refusal in model.refused}
        if number < len(corrections):
            await adjust(points_pool, model, *corrections[number])
        for customer in CUSTOMERS:
            assert await books.balances(points_pool, customer) == expected(model, customer)
    # A set: whether a refused record that was sent twice is refused twice depends on the batches.
    refused = await books.refused(points_pool)
    assert {id_ for id_, _ in refused} == {refusal.id for refusal in model.refused}
    assert {reason for _, reason in refused} <= {"order_conflict", "currency_mismatch", "unknown_line"}
    await books.check_books(points_pool)


@pytest.mark.timeout(400)
@given(data=st.data(), happened=facts())
@settings(_BOUNDED, max_examples=25)
async def test_balances_do_not_depend_on_the_order_of_arrival(
    points_pool: Pool, data: st.DataObject, happened: Sequence[Event]
):
    outcomes: list[dict[str, Balances]] = []
    for _ in range(2):
        await books.empty(points_pool)
        await enact(points_pool, *DEFAULT["rules"], CLIMBED)
        for batch in data.draw(arrivals(happened)):
            await books.deliver(points_pool, *batch)
        outcomes.append({customer: await books.balances(points_pool, customer) for customer in CUSTOMERS})
    assert outcomes[0] == outcomes[1]
