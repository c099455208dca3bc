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
from services.tiers.rules.spend import changes_of
from services.tiers.rules.timeline import judge
from services.tiers.rules.window import Window
from shared.contracts.envelope import Event
from shared.contracts.orders import Order, key_of
from shared.contracts.refunds import Refund
from shared.contracts.shop import PurchaseRefunded
from shared.postgres.pool import Pool
from tests.tiers import oracle
from tests.tiers.applied import NOW, announced, apply, published, timeline
from tests.tiers.histories import BEGIN, Happening, cut, cuts, histories
from tests.tiers.programs import program

PROGRAM = program()
_numbers = itertools.count()


def refund_of(event: Event) -> Refund:
    assert isinstance(event.data, PurchaseRefunded)
    return Refund.of(event.data, event.time)


@given(history=histories())
@settings(max_examples=300, deadline=None)
def test_the_pure_judge_equals_the_oracle(history: Sequence[Happening]):
    events = [happening.event("ann") for happening in history]
    bought = [event for event in events if not isinstance(event.data, PurchaseRefunded)]
    returned = [event for event in events if isinstance(event.data, PurchaseRefunded)]
    orders: list[Order] = []
    for event in bought:
        refunds = [refund_of(other) for other in returned if key_of(other) == key_of(event)]
        orders.append(replace(Order.of(event), refunds=tuple(refunds)))
    spend_changes = [change for order in orders if order.purchase.currency == "USD" for change in changes_of(order)]
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
    """For several customers whose events are in the same batches."""
    of_customer = {f"customer-{next(_numbers)}": history for history in batched}
    events = {name: [happening.event(name) for happening in history] for name, history in of_customer.items()}
    mixed = [event for together in itertools.zip_longest(*events.values()) for event in together if event is not None]
    for batch in cut(mixed, sizes):
        assert await apply(tiers_pool, *batch) == []
    for customer_id, own in events.items():
        await _equals_the_oracle(tiers_pool, customer_id, own)
    assert [(check.name, check.offenders) async for check in verify(tiers_pool, 9, NOW) if check.offenders] == []


async def _equals_the_oracle(pool: Pool, customer_id: str, events: Sequence[Event]) -> None:
    expected = oracle.timeline_of(events)
    assert await timeline(pool, customer_id) == expected
    assert _as_announced(await _changes(pool, customer_id)) == expected
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
    for event in (happening.event(f"singly-{number}") for happening in history):
        await apply(tiers_pool, event)
    for batch in cut([happening.event(f"batched-{number}") for happening in history], sizes):
        await apply(tiers_pool, *batch)
    singly = await _changes(tiers_pool, f"singly-{number}")
    batched = await _changes(tiers_pool, f"batched-{number}")
    assert [announced(event) for event in singly] == [announced(event) for event in batched]


async def _changes(pool: Pool, customer_id: str) -> list[dict[str, Any]]:
    return [event for event in await published(pool) if event["data"]["customer_id"] == customer_id]


def _as_announced(events: Iterable[dict[str, Any]]) -> list[tuple[Any, str]]:
    """The timeline that a reader of the events has in the end; checks the tiers and verb of each event on the way."""
    ranks = {"member": 0, "silver": 1, "gold": 2}
    entries: list[tuple[Any, str]] = []
    for event in events:
        verb, from_, to, replacing = announced(event)
        assert from_ == (entries[-1][1] if entries else "member")
        entries = [(at, tier) for at, tier in entries if at < replacing[0][0]] + replacing
        # An entry of the same tier as the one before changes nothing.
        tiers_before = ["member", *(tier for _, tier in entries)]
        entries = [entry for entry, before in zip(entries, tiers_before, strict=False) if entry[1] != before]
        assert to == (entries[-1][1] if entries else "member")
        step = ranks[to] - ranks[from_]
        assert verb == ("promoted" if step > 0 else "demoted" if step < 0 else "corrected")
    return entries
