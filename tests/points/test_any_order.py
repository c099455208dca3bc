"""Any events, in any order and any batches: the books equal those of the model.

Planted and caught here: extras of a tier that qualify; points rounded instead of cut; timelines that replace too little
in the store; refunds that wait for ever.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note
from hypothesis import strategies as st

from services.points.handlers.commands import InsufficientPointsError
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.points import books
from tests.points.asking import SINCE_EVER, enact
from tests.points.books import Balances
from tests.points.oracles.histories import CUSTOMERS, adjustments, arrivals, facts, histories
from tests.points.oracles.model import Model
from tests.points.oracles.rises import Terms
from tests.points.shop import hour
from tests.points.states import DEFAULT
from tests.points.written import fixed, is_in, limit, rule
from tests.support.depth import examples

_UNHURRIED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

# In the second program plus replaces silver, and gold is next to the lowest; no program has vip.
TERMS = (
    Terms(SINCE_EVER, ("member", "silver", "gold"), 30, 7, 2),
    Terms(hour(2), ("member", "gold", "plus"), 45, 11, 3),
)


async def enact_terms(pool: Pool) -> None:
    for terms in TERMS:
        climbed = rule("climbed", fixed(terms.each), on="tier_promotion")
        golden = limit(count=terms.golden)
        gold = rule("gold", fixed(terms.gold), is_in("tier", "gold"), on="tier_promotion", limits=[golden])
        await enact(pool, *DEFAULT["rules"], climbed, gold, since=terms.since, tiers=list(terms.tiers))


def brief(event: Event) -> str:
    """An event as a failing example shows it."""
    return f"{event.id[-4:]} {event.time:%H}h {event.data!r}"


def expected(model: Model, customer: str) -> Balances:
    available, debt = model.balance(customer)
    return Balances(available=available, debt=debt, lifetime_earned=model.earned(customer))


def qualifying(published: Sequence[Any]) -> Counter[str]:
    """By customer: the qualifying points of `.earned` less those of `.reversed`, matched by the ids of the reasons."""
    net: Counter[Any] = Counter()
    for event in published:
        data, verb = event["data"], event["type"].split(".")[2]
        points = data["qualifying_points"]
        assert 0 <= points <= data["points"], "the event type gives the direction"
        assert not points or (verb in {"earned", "reversed"} and data["reason"]["kind"] != "tier")
        ids = {name: id_ for name, id_ in data["reason"].items() if name not in {"kind", "refund_id"}}
        key = data["customer_id"], *ids.items()
        net[key] += -points if verb == "reversed" else points
        assert net[key] >= 0, "no more is taken back than was earned with the same ids"
    by_customer: Counter[str] = Counter()
    for (customer, *_), points in net.items():
        by_customer[customer] += points
    return by_customer


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
@examples(20, deep=150, suppress_health_check=_UNHURRIED)
async def test_the_books_follow_the_model_batch_by_batch(
    points_pool: Pool, history: Sequence[Sequence[Event]], corrections: Sequence[tuple[str, int]]
):
    for batch in history:
        note("; ".join(map(brief, batch)))
    await books.empty(points_pool)
    await enact_terms(points_pool)
    model = Model(TERMS)
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
    net = qualifying(await books.published(points_pool))
    assert all(net.get(customer, 0) == model.qualifying(customer) for customer in CUSTOMERS)
    # A set: whether a refused record that was sent twice is refused twice depends on the batches.
    refused = await books.refused(points_pool)
    assert {id_ for id_, _ in refused} == {refusal.id for refusal in model.refused}
    assert {reason for _, reason in refused} <= {"order_conflict", "currency_mismatch", "unknown_line"}
    await books.check_books(points_pool)


@pytest.mark.timeout(400)
@given(data=st.data(), happened=facts())
@examples(10, deep=60, suppress_health_check=_UNHURRIED)
async def test_balances_do_not_depend_on_the_order_of_arrival(
    points_pool: Pool, data: st.DataObject, happened: Sequence[Event]
):
    outcomes: list[dict[str, Balances]] = []
    for _ in range(2):
        await books.empty(points_pool)
        await enact_terms(points_pool)
        for batch in data.draw(arrivals(happened)):
            await books.deliver(points_pool, *batch)
        outcomes.append({customer: await books.balances(points_pool, customer) for customer in CUSTOMERS})
    assert outcomes[0] == outcomes[1]
