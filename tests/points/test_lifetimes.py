"""The life of points: pending, available, given up, expired, whenever the events arrive.

Planted and caught here: an expiry counted from the event; a delivery too late that counts; a delivery in time
that arrives late and does not count; a delivery that counts from before the purchase; a backfill that stays pending,
or does not expire; points still pending at their activation; expired points taken back; a lot expired twice.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

import pytest

from services.points.rules.books import orders
from services.points.rules.books.settling import case_of, due_for
from services.points.rules.books.state import State
from services.points.rules.books.tiers import NEWCOMER
from services.points.rules.program.compiled_rule import TIER
from services.points.rules.program.judgement import NOT_DELIVERED
from services.points.rules.program.ruleset import RuleBook
from shared.contracts.envelope import Event
from shared.contracts.shop import PurchaseDelivered
from shared.contracts.values import format_instant, parse_instant
from tests.points import states
from tests.points.shop import event, purchase, refund, review, tier, withdrawal
from tests.points.states import SINCE_EVER, moved, new_customers, rulebook, ruleset
from tests.points.written import (
    Json,
    after_days,
    after_months,
    end_of_year,
    fixed,
    on_delivery,
    per_amount,
    rule,
)

NOW = "2026-06-01T00:00:00Z"
"""03:00 of 1 June in Riyadh."""

AT_ONCE: Json = {"kind": "now"}
NEVER: Json = {"kind": "never"}


def lived(activate: Json, expire: Json = NEVER, zone: str = "Asia/Riyadh") -> RuleBook:
    """Rules of orders (a point for 1.00) and reviews (50) whose points live so."""
    base = rule("base", per_amount(), activate=activate, expire=expire)
    if activate["kind"] == "on_delivery":
        return rulebook((SINCE_EVER, ruleset(base, time_zone=zone)))
    text = rule("text", fixed(50), on="review", activate=activate, expire=expire)
    return rulebook((SINCE_EVER, ruleset(base, text, time_zone=zone)))


@pytest.fixture
def ann() -> State:
    state = new_customers("ann")
    state.next_due["ann"] = None
    return state


def apply(state: State, rules: RuleBook, *events: Event, now: str = NOW) -> Sequence[tuple[str, int]]:
    return moved(states.apply(state, *events, rules=rules, now=parse_instant(now)))


def bought(at: str, total: str = "100.00") -> Event:
    return purchase("1", total, parse_instant(at))


def delivered(at: str) -> Event:
    return event("shop.purchase.delivered.v1", parse_instant(at), PurchaseDelivered(customer_id="ann", order_id="1"))


class Dates(NamedTuple):
    pending: bool
    activates: str | None
    cancels: str | None
    expires: str | None


def dates_of(state: State) -> list[Dates]:
    """The dates of every lot, in the order in which they were given."""
    return [
        Dates(lot.pending, _shown(lot.activates_at), _shown(lot.cancels_at), _shown(lot.expires_at))
        for lot in state.lots["ann"].values()
    ]


def _shown(moment: datetime | None) -> str | None:
    return None if moment is None else format_instant(moment)


def balances(state: State) -> tuple[int, int, int]:
    account = state.accounts["ann"]
    return account.available, account.pending, account.debt


_LIVES = [
    ((AT_ONCE, NEVER), "2026-05-31T12:00:00Z", ("available", None, None)),
    ((AT_ONCE, after_months(12)), "2026-05-31T12:00:00Z", ("available", None, "2027-05-31T21:00:00Z")),
    ((AT_ONCE, after_days(0)), "2026-05-31T21:00:00Z", ("available", None, "2026-06-01T21:00:00Z")),
    ((after_days(14), NEVER), "2026-05-31T12:00:00Z", ("pending", "2026-06-13T21:00:00Z", None)),
    # The months count from activation, on 14 June.
    (
        (after_days(14), after_months(12)),
        "2026-05-31T12:00:00Z",
        ("pending", "2026-06-13T21:00:00Z", "2027-06-14T21:00:00Z"),
    ),
    (
        (after_days(1), end_of_year()),
        "2026-05-31T21:00:00Z",
        ("pending", "2026-06-01T21:00:00Z", "2026-12-31T21:00:00Z"),
    ),
    # The event arrives late: points active by now were never pending.
    ((after_days(14), NEVER), "2026-05-17T20:59:59Z", ("available", None, None)),
    ((after_days(14), after_months(1)), "2026-05-01T12:00:00Z", ("available", None, "2026-06-15T21:00:00Z")),
    # The event arrives after the expiry.
    ((AT_ONCE, after_days(30)), "2026-05-01T12:00:00Z", ("expired", None, "2026-05-31T21:00:00Z")),
    ((after_days(14), after_months(12)), "2024-01-01T12:00:00Z", ("expired", None, "2025-01-15T21:00:00Z")),
    ((AT_ONCE, end_of_year()), "2025-12-31T20:59:59Z", ("expired", None, "2025-12-31T21:00:00Z")),
    ((AT_ONCE, end_of_year()), "2025-12-31T21:00:00Z", ("available", None, "2026-12-31T21:00:00Z")),
]


@pytest.mark.parametrize("happened", [lambda at: bought(at, "50.00"), lambda at: review("1", "s", parse_instant(at))])
@pytest.mark.parametrize("life, at, expected", _LIVES)
def test_points_are_pending_available_or_expired_by_now(
    ann: State,
    happened: Callable[[str], Event],
    life: tuple[Json, Json],
    at: str,
    expected: tuple[str, str | None, str | None],
):
    state, activates, expires = expected
    made = apply(ann, lived(*life), happened(at))
    assert made == [("earned", 50), ("expired", -50)][: 2 if state == "expired" else 1]
    assert dates_of(ann) == [Dates(state == "pending", activates, None, expires)]
    assert balances(ann) == (50 * (state == "available"), 50 * (state == "pending"), 0)


@pytest.mark.parametrize(
    "now, kinds",
    [
        ("2026-06-13T20:59:59.999999Z", []),
        ("2026-06-13T21:00:00Z", ["activated"]),
        ("2026-06-14T20:59:59.999999Z", ["activated"]),
        ("2026-06-14T21:00:00Z", ["activated", "expired"]),
        ("2030-01-01T00:00:00Z", ["activated", "expired"]),
    ],
)
def test_points_activate_and_expire_to_the_instant(ann: State, now: str, kinds: list[str]):
    rules = lived(after_days(14), after_days(0))
    apply(ann, rules, bought("2026-05-31T12:00:00Z"), review("1", "s", parse_instant("2026-05-31T13:00:00Z")))
    made = states.apply(ann, rules=rules, now=parse_instant(now)).transactions
    assert sorted({transaction.kind for transaction in made}) == kinds
    instants = {"activated": "2026-06-13T21:00:00Z", "expired": "2026-06-14T21:00:00Z"}
    assert all(format_instant(transaction.context.occurred_at) == instants[transaction.kind] for transaction in made)
    assert balances(ann) == ((0, 150, 0) if not kinds else (0, 0, 0) if "expired" in kinds else (150, 0, 0))
    assert apply(ann, rules, now=now) == []


def test_a_backfill_takes_no_newer_points(ann: State):
    rules = lived(AT_ONCE, after_months(1))
    apply(ann, rules, bought("2026-05-31T12:00:00Z"))
    old = purchase("2", "30.00", parse_instant("2026-01-01T12:00:00Z"))
    assert apply(ann, rules, old) == [("earned", 30), ("expired", -30)]
    assert balances(ann) == (100, 0, 0)
    # The points that a refund takes back had expired.
    assert apply(ann, rules, refund("2", "r", "30.00", parse_instant(NOW))) == []
    assert balances(ann) == (100, 0, 0)


def test_expired_points_are_not_taken_back_with_a_withdrawn_review(ann: State):
    rules = lived(AT_ONCE, after_days(30))
    old, older = (review(name, "s", parse_instant("2026-01-01T12:00:00Z")) for name in "12")
    # In one batch or in two, they had expired before.
    assert apply(ann, rules, old, withdrawal("1", parse_instant(NOW))) == [("earned", 50), ("expired", -50)]
    assert apply(ann, rules, older) == [("earned", 50), ("expired", -50)]
    assert apply(ann, rules, withdrawal("2", parse_instant(NOW))) == []
    assert balances(ann) == (0, 0, 0)


def test_pending_points_are_taken_back_as_they_are(ann: State):
    rules = lived(after_days(14))
    apply(ann, rules, bought("2026-05-31T12:00:00Z"), review("1", "s", parse_instant("2026-05-31T12:00:00Z")))
    assert apply(ann, rules, refund("1", "r", "40.00", parse_instant(NOW)), withdrawal("1", parse_instant(NOW))) == [
        ("reversed", -40),
        ("reversed", -50),
    ]
    assert balances(ann) == (0, 60, 0)
    assert apply(ann, rules, now="2026-07-01T00:00:00Z") == [("activated", 60)]


def test_the_tiers_extra_lives_as_the_first_rule_per_amount(ann: State):
    rules = rulebook(
        (
            SINCE_EVER,
            ruleset(
                rule("gift", fixed(5)),
                rule("base", per_amount(), activate=after_days(1), expire=after_months(1)),
                rule("more", per_amount(), expire=after_days(1)),
            ),
        )
    )
    apply(
        ann,
        rules,
        tier([(parse_instant("2026-01-01T00:00:00Z"), "1.5")]),
        bought("2026-05-31T12:00:00Z"),
        now="2026-05-31T13:00:00Z",
    )
    lots = {lot.rule: (lot.granted, lot.pending, _shown(lot.expires_at)) for lot in ann.lots["ann"].values()}
    assert lots == {
        "gift": (5, False, None),
        "base": (100, True, "2026-07-02T00:00:00Z"),
        "more": (100, False, "2026-06-02T00:00:00Z"),
        TIER: (100, True, "2026-07-02T00:00:00Z"),
    }


BOUGHT = "2026-05-20T12:00:00Z"
GIVEN_UP = "2026-05-29T21:00:00Z"
"""The instant after which no delivery counts: 00:00 of the tenth day in Riyadh."""


def test_points_wait_for_a_delivery(ann: State):
    rules = lived(on_delivery(), after_months(1))
    assert apply(ann, rules, bought(BOUGHT)) == [("earned", 100)]
    assert dates_of(ann) == [Dates(pending=True, activates=None, cancels=None, expires=None)]
    assert balances(ann) == (0, 100, 0)
    assert apply(ann, rules, delivered("2026-05-22T12:00:00Z")) == [("activated", 100)]
    # Counted from the delivery.
    assert dates_of(ann) == [Dates(False, "2026-05-22T12:00:00Z", None, "2026-06-22T21:00:00Z")]
    assert balances(ann) == (100, 0, 0)
    assert apply(ann, rules, delivered("2026-05-22T12:00:00Z")) == []


@pytest.mark.parametrize("at", [BOUGHT, "2026-05-20T11:00:00Z", "2026-01-01T00:00:00Z"])
@pytest.mark.parametrize("together", [True, False])
def test_a_delivery_before_the_purchase_counts_from_the_purchase(ann: State, at: str, together: bool):
    rules = lived(on_delivery(10), after_months(1))
    if together:
        assert apply(ann, rules, delivered(at), bought(BOUGHT)) == [("earned", 100), ("activated", 100)]
    else:
        assert apply(ann, rules, delivered(at)) == []
        assert apply(ann, rules, bought(BOUGHT)) == [("earned", 100), ("activated", 100)]
    [dates] = dates_of(ann)
    assert (dates.pending, dates.activates, dates.expires) == (False, BOUGHT, "2026-06-20T21:00:00Z")
    assert balances(ann) == (100, 0, 0)


def test_without_a_delivery_points_are_given_up(ann: State):
    rules = lived(on_delivery(10))
    before = "2026-05-29T20:59:59.999999Z"
    assert apply(ann, rules, bought(BOUGHT), now=before) == [("earned", 100)]
    assert dates_of(ann) == [Dates(pending=True, activates=None, cancels=GIVEN_UP, expires=None)]
    assert apply(ann, rules, now=before) == []
    assert apply(ann, rules, now=GIVEN_UP) == [("reversed", -100)]
    assert balances(ann) == (0, 0, 0)
    order = ann.orders["ann", "1"]
    case = case_of(order, rules, NEWCOMER)
    [line] = orders.judge_kept(case, None, order.cuts, frozenset({"base"})).rules
    assert (line.why, line.matched, line.requested, line.awarded) == (NOT_DELIVERED, False, 100, 0)
    assert list(due_for(order, None, (), rules, parse_instant(GIVEN_UP))) == [{}, {}]
    assert list(due_for(order, None, (), rules, parse_instant(before))) == [{"base": 100}] * 2
    assert apply(ann, rules, now="2027-01-01T00:00:00Z") == []


def test_a_backfill_that_was_never_delivered_is_given_up_at_once(ann: State):
    assert apply(ann, lived(on_delivery(10)), bought(BOUGHT)) == [("earned", 100), ("reversed", -100)]
    assert balances(ann) == (0, 0, 0)


@pytest.mark.parametrize(
    "at, back",
    [
        ("2026-05-29T20:59:59.999999Z", True),
        ("2026-05-20T00:00:00Z", True),
        (GIVEN_UP, False),
        ("2026-05-31T00:00:00Z", False),
    ],
)
def test_points_given_up_come_back_when_a_delivery_in_time_arrives_late(ann: State, at: str, back: bool):
    rules = lived(on_delivery(10))
    apply(ann, rules, bought(BOUGHT))
    assert apply(ann, rules, delivered(at)) == ([("earned", 100)] if back else [])
    assert balances(ann) == (100 if back else 0, 0, 0)
    assert next(due_for(ann.orders["ann", "1"], None, (), rules, parse_instant(NOW))) == ({"base": 100} if back else {})
    assert apply(ann, rules, delivered(at), now="2027-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    "at, points", [("2026-05-29T20:59:59Z", [100, -100, 100]), (GIVEN_UP, [100, -100]), (BOUGHT, [100, -100, 100])]
)
def test_a_backfill_with_its_delivery_ends_as_if_it_had_arrived_in_time(ann: State, at: str, points: list[int]):
    made = apply(ann, lived(on_delivery(10)), bought(BOUGHT), delivered(at))
    assert [each for _, each in made] == points
    assert balances(ann) == (sum(points), 0, 0)


def test_points_due_at_this_instant_are_applied(ann: State):
    day_before = "2026-05-31T12:00:00Z"
    assert apply(ann, lived(after_days(1), zone="UTC"), bought(day_before)) == [("earned", 100)]
    assert dates_of(ann) == [Dates(pending=False, activates=None, cancels=None, expires=None)]
    bob = new_customers("ann")
    bob.next_due["ann"] = None
    assert apply(bob, lived(AT_ONCE, after_days(0), "UTC"), bought(day_before)) == [("earned", 100), ("expired", -100)]
    late = new_customers("ann")
    late.next_due["ann"] = None
    assert apply(late, lived(on_delivery(1), zone="UTC"), bought(day_before)) == [("earned", 100), ("reversed", -100)]


def test_points_of_a_late_delivery_event_may_be_over(ann: State):
    rules = lived(on_delivery(10), after_days(3))
    apply(ann, rules, bought(BOUGHT))
    assert apply(ann, rules, delivered("2026-05-22T12:00:00Z")) == [("earned", 100), ("expired", -100)]
    assert balances(ann) == (0, 0, 0)


def test_refunds_around_a_delivery(ann: State):
    rules = lived(on_delivery(10))
    early = "2026-05-21T00:00:00Z"
    apply(ann, rules, bought(BOUGHT), refund("1", "a", "30.00", parse_instant(early)), now=early)
    assert balances(ann) == (0, 70, 0)
    assert apply(ann, rules, now=NOW) == [("reversed", -70)]
    # While it is given up there is nothing to take; what comes back is due on what is kept by then.
    assert apply(ann, rules, refund("1", "b", "20.00", parse_instant(NOW))) == []
    assert apply(ann, rules, delivered("2026-05-22T12:00:00Z")) == [("earned", 50)]
    assert apply(ann, rules, refund("1", "c", "50.00", parse_instant(NOW))) == [("reversed", -50)]
    assert balances(ann) == (0, 0, 0)


def test_only_the_rules_that_wait_are_given_up(ann: State):
    base = rule("base", per_amount())
    slow = rule("slow", fixed(20), activate=on_delivery(10))
    slower = rule("slower", fixed(7), activate=on_delivery(11))
    rules = rulebook((SINCE_EVER, ruleset(base, slow, slower, time_zone="Asia/Riyadh")))
    assert apply(ann, rules, bought(BOUGHT), now=BOUGHT) == [("earned", 127)]
    assert balances(ann) == (100, 27, 0)
    assert apply(ann, rules, now=GIVEN_UP) == [("reversed", -20)]
    assert apply(ann, rules, delivered("2026-05-30T12:00:00Z"), now="2026-05-30T13:00:00Z") == [("activated", 7)]
    assert balances(ann) == (107, 0, 0)
