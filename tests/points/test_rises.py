"""Rises through falls, kept tiers, corrections and programs that replace tiers.

Planted and caught here: another multiplier of one tier taken for a rise; a replaced tier without its place in the
rules of its time, or these rules not loaded; a lost rise that keeps its use of a limit.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from services.points.rules.books.state import State
from services.points.rules.program.ruleset import RuleBook
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.points.asking import SINCE_EVER, enact
from tests.points.books import Balances, balances, check_books, deliver
from tests.points.oracles.model import Model
from tests.points.oracles.rises import Terms
from tests.points.shop import hour, purchase, refund, timeline
from tests.points.states import DEFAULT, apply, moved, new_customers, rulebook, ruleset
from tests.points.written import Json, fixed, is_in, limit, rule
from tests.support.depth import examples

# In the second program plus replaces silver, and gold is next to the lowest; no program has vip.
TERMS = (
    Terms(SINCE_EVER, ("member", "silver", "gold"), 30, 7, 1),
    Terms(hour(4), ("member", "gold", "plus"), 45, 11, 2),
)


def rules_of(terms: Terms) -> list[Json]:
    golden = [limit(count=terms.golden)]
    gold = rule("gold", fixed(terms.gold), is_in("tier", "gold"), on="tier_promotion", limits=golden)
    return [*DEFAULT["rules"], rule("climbed", fixed(terms.each), on="tier_promotion"), gold]


BOOK = rulebook(
    *(
        (terms.since, ruleset(*rules_of(terms), version=number, tiers=terms.tiers))
        for number, terms in enumerate(TERMS, 1)
    )
)


@pytest.fixture
def ann() -> State:
    return new_customers("ann")


def booked(state: State, *events: Event, rules: RuleBook = BOOK) -> Sequence[tuple[str, int]]:
    return moved(apply(state, *events, rules=rules))


def rises(state: State) -> list[int | None]:
    return [entry.rise for entry in state.timelines["ann"]]


@pytest.mark.parametrize("tier", ["silver", "vip"])
def test_another_multiplier_of_a_tier_settles_its_orders_and_is_no_rise(ann: State, tier: str):
    apply(ann, timeline((hour(0), tier, "1.25")), rules=BOOK)
    apply(ann, purchase("1", "100.00", hour(1)), purchase("2", "100.00", hour(3)), rules=BOOK)
    changed = timeline((hour(2), tier, "2"), verb="retained", reason="program")
    assert booked(ann, changed) == [("earned", 75)]
    assert rises(ann) == [1, None]


def test_a_fall_is_no_rise_and_each_return_is_one(ann: State):
    year = [(hour(0), "silver", "1.25"), (hour(1), "member", "1"), (hour(2), "silver", "1.25"), (hour(3), "gold", "2")]
    assert [booked(ann, timeline(entry)) for entry in year] == [
        [("earned", 30)],
        [],
        [("earned", 30)],
        [("earned", 37)],
    ]
    # Silver was kept: its second rise is taken back, and gold stays the first rise into gold.
    kept = timeline((hour(1), "silver", "1.25"), (hour(3.5), "gold", "2"), verb="corrected")
    assert booked(ann, kept) == [("reversed", -30)]
    # A refund undid the first rise: the later one is now the first, with the award that the first one has.
    late = timeline((hour(0), "member", "1"), (hour(2), "silver", "1.25"), (hour(3), "gold", "2"), verb="corrected")
    assert booked(ann, late) == []
    assert rises(ann) == [None, 1, 1]


def test_tiers_of_a_new_program_keep_the_places_of_the_old_one(ann: State):
    """Gold was third of three, plus is third too, and gold second of three."""
    apply(ann, timeline((hour(1), "gold", "1.5")), rules=BOOK)
    assert booked(ann, timeline((hour(4), "plus", "3"), reason="program")) == [("earned", 45)]
    assert booked(ann, timeline((hour(4), "gold", "1.5"))) == [("reversed", -45)]
    # Silver, the second of three, is not listed any more: gold, now the second, has the same place, plus a higher one.
    apply(ann, timeline((hour(1), "silver", "1.25")), rules=BOOK)
    assert booked(ann, timeline((hour(4), "gold", "9"), verb="retained", reason="program")) == []
    assert booked(ann, timeline((hour(4), "plus", "1"), reason="program")) == [("earned", 45)]
    assert booked(ann, timeline((hour(4), "member", "9"), verb="demoted", reason="program")) == [("reversed", -45)]


_TIER = st.sampled_from(("member", "silver", "gold", "plus", "vip"))
_ENTRY = st.tuples(_TIER, st.sampled_from(("1", "1.25", "1.5", "2")))
_HOUR = st.integers(0, 7)


@st.composite
def _timelines(draw: st.DrawFn) -> Event:
    entries = draw(st.dictionaries(_HOUR, _ENTRY, min_size=1, max_size=4))
    verb = draw(st.sampled_from(("promoted", "demoted", "retained", "corrected")))
    return timeline(*((hour(at), *entry) for at, entry in sorted(entries.items())), verb=verb)


@st.composite
def _shopping(draw: st.DrawFn) -> list[Event]:
    events: list[Event] = []
    for number in range(draw(st.integers(0, 3))):
        total = draw(st.sampled_from(("10.00", "99.99")))
        events.append(purchase(f"{number}", total, hour(draw(_HOUR))))
        if draw(st.booleans()):
            events.append(refund(f"{number}", "r", draw(st.sampled_from(("3.00", total))), hour(draw(_HOUR))))
    return events


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Event], list[Event]]:
    """The same events twice: as they arrive, and all of the shop's in the order of time before those of tiers."""
    told = draw(st.lists(_timelines(), min_size=1, max_size=6))
    shopping = draw(_shopping())
    places = draw(st.permutations([*("tier" for _ in told), *("shop" for _ in shopping)]))
    remaining = {"tier": iter(told), "shop": iter(draw(st.permutations(shopping)))}
    in_order = [*sorted(shopping, key=lambda event: event.time), *told]
    return [next(remaining[place]) for place in places], in_order


@given(histories())
@examples(100, deep=800)
def test_any_order_of_arrival_gives_the_balance_of_the_model(history: tuple[list[Event], list[Event]]):
    arrival, in_order = history
    state, model = new_customers("ann"), Model(TERMS)
    for event in arrival:
        note(f"{event.type} {event.data!r}")
        apply(state, event, rules=BOOK)
        model.apply(event)
        assert net(state) == model.earned("ann")
    other = new_customers("ann")
    apply(other, *in_order, rules=BOOK)
    assert net(other) == net(state)
    assert {at(entry) for entry in other.timelines["ann"]} == {at(entry) for entry in state.timelines["ann"]}


def net(state: State) -> int:
    account = state.accounts["ann"]
    return account.available - account.debt


def at(entry: Any) -> tuple[datetime, str, int | None]:
    return entry.effective_at, entry.tier, entry.rise


async def enact_terms(pool: Pool) -> None:
    for terms in TERMS:
        await enact(pool, *rules_of(terms), since=terms.since, tiers=list(terms.tiers))


async def test_the_rules_of_the_tier_before_are_loaded(points_pool: Pool):
    await enact_terms(points_pool)
    await deliver(points_pool, timeline((hour(1), "silver", "1.25")))
    # Silver is second of three in the first rules alone, so gold, second of three, is no rise whatever its multiplier.
    await deliver(points_pool, timeline((hour(5), "gold", "9"), verb="retained", reason="program"))
    assert await balances(points_pool) == Balances(available=30, lifetime_earned=30)
    await check_books(points_pool)


@pytest.mark.parametrize("size", [1, 2, 5])
async def test_batches_of_timelines_are_settled_one_by_one(points_pool: Pool, size: int):
    told = [
        timeline((hour(1), "silver", "1.25"), (hour(2), "member", "1"), (hour(3), "silver", "1.25")),
        timeline((hour(2), "gold", "1.5"), (hour(5), "plus", "2"), verb="corrected"),
        timeline((hour(0), "member", "1"), (hour(6), "gold", "1.5"), verb="corrected"),
        timeline((hour(0.5), "gold", "1.5"), (hour(2), "silver", "1.3"), (hour(3), "gold", "1.5"), verb="corrected"),
        timeline((hour(2), "silver", "1.4"), verb="retained"),
    ]
    await enact_terms(points_pool)
    model = Model(TERMS)
    for start in range(0, len(told), size):
        await deliver(points_pool, *told[start : start + size])
    for event in told:
        model.apply(event)
    assert (await balances(points_pool)).lifetime_earned == model.earned("ann") > 0
    await check_books(points_pool)
