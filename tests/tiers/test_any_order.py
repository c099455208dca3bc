"""Whatever the order of arrival and the size of batches: the timeline is that of the set of events."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.tiers.handlers import events, standing
from services.tiers.handlers.standing import read_status
from services.tiers.handlers.verifying import verify
from services.tiers.rules import curve, customer, refunding, rejudging
from services.tiers.rules.program import Program, Tier
from services.tiers.rules.spend import changes_of
from services.tiers.rules.timeline import judge
from services.tiers.rules.window import Window
from shared.contracts.envelope import Event
from shared.contracts.kept import Refund
from shared.contracts.orders import Order
from shared.contracts.shop import PurchaseRefunded
from shared.postgres.pool import Pool
from tests.tiers import oracle
from tests.tiers.applied import NOW, apply, published, timeline, told
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
    known = [Order.of(event) for event in events if not isinstance(event.data, PurchaseRefunded)]
    for event in events:
        if isinstance(event.data, PurchaseRefunded):
            refund = Refund.of(event.data, event.time)
            known = [
                replace(one, refunds=(*(one.refunds or ()), refund)) if one.order_id == event.data.order_id else one
                for one in known
            ]
    spend_changes = [change for order in known if order.purchase.currency == "USD" for change in changes_of(order)]
    judged = judge(PROGRAM, Window(), (), spend_changes)
    assert [(entry.effective_at, entry.tier) for entry in judged] == oracle.timeline_of(events)


SIZES = {"all is loose": (256, 64), "a curve at once": (0, 2), "now and then": (3, 3)}


@pytest.fixture(params=SIZES)
def sizes_of_curves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many spend_changes may be loose, and how many instants a stretch of a curve has before it is divided."""
    loose, changes = SIZES[request.param]
    for module in (customer, rejudging, standing, events):
        monkeypatch.setattr(module, "MOST_LOOSE", loose)
    monkeypatch.setattr(curve, "MOST_CHANGES", changes)
    monkeypatch.setattr(refunding, "_FEW", 1)


@pytest.mark.usefixtures("sizes_of_curves")
@given(batched=st.lists(histories(), min_size=1, max_size=3), sizes=cuts)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_stored_timeline_equals_the_oracle(
    tiers_pool: Pool, batched: Sequence[Sequence[Happening]], sizes: Sequence[int]
):
    """Of some customers whose events come in the same batches."""
    of_customer = {f"customer-{next(_numbers)}": history for history in batched}
    events = {one: [happening.event(one) for happening in history] for one, history in of_customer.items()}
    mixed = [event for together in itertools.zip_longest(*events.values()) for event in together if event is not None]
    for batch in cut(mixed, sizes):
        assert await apply(tiers_pool, *batch) == []
    for customer_id, own in events.items():
        await _equals_the_oracle(tiers_pool, customer_id, own)
    assert [(check.name, check.offenders) async for check in verify(tiers_pool, 9, NOW) if check.offenders] == []


async def _equals_the_oracle(pool: Pool, customer_id: str, events: Sequence[Event]) -> None:
    expected = oracle.timeline_of(events)
    assert await timeline(pool, customer_id) == expected
    assert _as_told(await _changes(pool, customer_id)) == expected
    for days in (0, 200, 365, 500, 731, 1096):
        now = BEGIN + timedelta(days=days, hours=18)
        status = await read_status(pool, customer_id, now)
        reached = [tier for at, tier in expected if at <= now]
        assert status.tier.id == (reached[-1] if reached else "member")
        assert status.spend == oracle.spend_at(events, now)


@pytest.mark.usefixtures("sizes_of_curves")
@given(history=histories(), sizes=cuts)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
