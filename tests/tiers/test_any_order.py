"""Whatever the order of arrival and the size of batches: the timeline is that of the set of events."""

import itertools
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings

from services.tiers.handlers import read_status
from services.tiers.rules.order import Order
from services.tiers.rules.program import Program, Tier
from services.tiers.rules.timeline import judge
from services.tiers.rules.window import Window
from shared.contracts.kept import Refund
from shared.contracts.shop import PurchaseRefunded
from shared.postgres.pool import Pool
from tests.tiers import oracle
from tests.tiers.applied import apply, published, timeline, told
from tests.tiers.histories import BEGIN, Happening, cut, cuts, histories

PROGRAM = Program(
    1,
    "USD",
    (Tier("member", 0, "1", oracle.NOTHING), *(Tier(tier, rank, "1", need) for rank, tier, need in oracle.RANKED)),
)
_numbers = itertools.count()


@given(history=histories())
@settings(max_examples=300, deadline=None)
def test_the_pure_judge_equals_the_oracle(history: Sequence[Happening]):
    events = [one.event("ann") for one in history]
    orders = [Order.of(event) for event in events if not isinstance(event.data, PurchaseRefunded)]
    for event in events:
        if isinstance(event.data, PurchaseRefunded):
            refund = Refund.of(event.data, event.time)
            orders = [one.with_refund(refund) if one.order_id == event.data.order_id else one for one in orders]
    movements = [movement for order in orders if order.purchase.currency == "USD" for movement in order.movements()]
    judged = judge(PROGRAM, Window(), (), movements)
    assert [(entry.effective_at, entry.tier) for entry in judged] == oracle.timeline_of(events)


@given(history=histories(), sizes=cuts)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_stored_timeline_equals_the_oracle(
    tiers_pool: Pool, history: Sequence[Happening], sizes: Sequence[int]
):
    customer_id = f"customer-{next(_numbers)}"
    events = [one.event(customer_id) for one in history]
    for batch in cut(events, sizes):
        assert await apply(tiers_pool, *batch) == []
    expected = oracle.timeline_of(events)
    assert await timeline(tiers_pool, customer_id) == expected
    assert _as_told(await _changes(tiers_pool, customer_id)) == expected
    for days in (0, 200, 365, 500, 731, 1096):
        now = BEGIN + timedelta(days=days, hours=18)
        status = await read_status(tiers_pool, customer_id, now)
        reached = [tier for at, tier in expected if at <= now]
        assert status.tier.id == (reached[-1] if reached else "member")
        assert status.spend == oracle.spend_at(events, now)


@given(history=histories(), sizes=cuts)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_what_is_published_does_not_depend_on_how_the_log_is_cut(
    tiers_pool: Pool, history: Sequence[Happening], sizes: Sequence[int]
):
    number = next(_numbers)
    for event in (one.event(f"singly-{number}") for one in history):
        await apply(tiers_pool, event)
    for batch in cut([one.event(f"batched-{number}") for one in history], sizes):
        await apply(tiers_pool, *batch)
    singly = await _changes(tiers_pool, f"singly-{number}")
    batched = await _changes(tiers_pool, f"batched-{number}")
    assert [told(event) for event in singly] == [told(event) for event in batched]


async def _changes(pool: Pool, customer_id: str) -> list[dict[str, Any]]:
    return [event for event in await published(pool) if event["data"]["customer_id"] == customer_id]


def _as_told(events: Iterable[dict[str, Any]]) -> list[tuple[Any, str]]:
    """What a reader of the events knows in the end; checks each event's words on the way."""
    ranks = {"member": 0, "silver": 1, "gold": 2}
    known: list[tuple[Any, str]] = []
    for event in events:
        verb, from_, to, entries = told(event)
        assert from_ == (known[-1][1] if known else "member")
        known = [(at, tier) for at, tier in known if at < entries[0][0]] + entries
        # An entry that only says that the tier before goes on is none of a timeline of changes.
        known = [
            one
            for one, before in zip(known, ["member", *(tier for _, tier in known)], strict=False)
            if one[1] != before
        ]
        assert to == (known[-1][1] if known else "member")
        step = ranks[to] - ranks[from_]
        assert verb == ("promoted" if step > 0 else "demoted" if step < 0 else "corrected")
    return known
