"""The steps of a referral, by tables and by properties."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.referrals.rules.fold import Outcome, Stored, fold
from services.referrals.rules.judging import Known
from services.referrals.rules.referral import Ground, Referral, State
from services.referrals.rules.steps import fell_below
from services.referrals.store.purchases import amounts
from shared.contracts.envelope import Event
from shared.contracts.kept import Fold, keep
from shared.contracts.lines import line_amounts
from shared.contracts.orders import Order
from shared.contracts.reasons import Reason
from shared.contracts.refunds import Purchase, Refund
from shared.postgres.orders import purchase_of, refund_lines_of
from shared.programs.kind import Book
from shared.programs.store import SINCE_EVER
from tests.referrals.programs import DEFAULT, program
from tests.referrals.shop import START, at, bought, refunded, signed_up

CODE = "CDFGHJKM"
MINE = "23456789"
PROGRAM = program()
BOOK = Book([(SINCE_EVER, PROGRAM)])
OTHER = "3456789C"
KNOWN = Known(BOOK, START)
STORED = Stored(known=KNOWN, advocates={CODE: "ada", OTHER: "ben", MINE: "fay"})


def run(*events: Event) -> Outcome:
    return fold(events, STORED)


def states(outcome: Outcome) -> list[str]:
    return [step.referral.state.value for step in outcome.steps]


def signals(referral: Referral) -> list[str]:
    return [signal.id for signal in referral.signals]


def last(outcome: Outcome) -> Referral:
    return outcome.steps[-1].referral


@pytest.mark.parametrize(
    "hours, total, currency, expected",
    [
        (0, "20.00", "USD", ["signed_up", "qualified", "approved"]),
        (720, "20", "USD", ["signed_up", "qualified", "approved"]),
        (1, "19.9999", "USD", ["signed_up"]),
        (720.001, "25.00", "USD", ["signed_up"]),
        (1, "2500.00", "EUR", ["signed_up"]),
        (-0.001, "0", "EUR", ["signed_up", "rejected"]),
    ],
)
def test_an_order_after_the_sign_up(hours: float, total: str, currency: str, expected: list[str]):
    outcome = run(signed_up("fay", CODE), bought("fay", "o1", hours, total, currency=currency))
    assert states(outcome) == expected


@pytest.mark.parametrize(
    "hours, total, currency, expected",
    [
        (0, "20.00", "USD", ["signed_up", "qualified", "approved"]),
        (720, "20", "USD", ["signed_up", "qualified", "approved"]),
        (1, "19.9999", "USD", ["signed_up"]),
        (720.001, "25.00", "USD", ["signed_up"]),
        (1, "2500.00", "EUR", ["signed_up"]),
        (-0.001, "0", "EUR", ["rejected"]),
    ],
)
def test_an_order_that_was_known_at_the_sign_up(hours: float, total: str, currency: str, expected: list[str]):
    outcome = run(bought("fay", "o1", hours, total, currency=currency), signed_up("fay", CODE))
    assert states(outcome) == expected


def test_an_approval_tells_both_rewards_and_the_instants_of_the_facts():
    approved = last(run(bought("fay", "o1", 5), signed_up("fay", CODE)))
    assert (approved.advocate_id, approved.friend_id, approved.order_id) == ("ada", "fay", "o1")
    assert (approved.advocate_points, approved.friend_points) == (500, 200)
    assert (approved.qualified_at, approved.approved_at, approved.since) == (at(5), at(5), at(5))


def test_small_orders_before_the_qualifying_one_are_ignored():
    outcome = run(
        signed_up("fay", CODE), bought("fay", "o1", 1, "19.99"), bought("fay", "o2", 2, "5"), bought("fay", "o3", 3)
    )
    assert last(outcome).order_id == "o3"


def test_the_earliest_known_order_is_chosen_and_ids_decide_within_an_instant():
    orders = [bought("fay", order_id, hours) for order_id, hours in (("o9", 2), ("o2", 1), ("o1", 2), ("o3", 1))]
    assert last(run(*orders, signed_up("fay", CODE))).order_id == "o2"


def test_the_chosen_order_stays_when_an_earlier_one_arrives():
    outcome = run(signed_up("fay", CODE), bought("fay", "o2", 2), bought("fay", "o1", 1))
    assert states(outcome) == ["signed_up", "qualified", "approved"]
    assert last(outcome).order_id == "o2"


def test_after_the_approval_an_order_from_before_the_sign_up_changes_nothing():
    outcome = run(signed_up("fay", CODE), bought("fay", "o2", 2), bought("fay", "o1", -2))
    assert states(outcome) == ["signed_up", "qualified", "approved"]


def test_a_late_rejection_is_dated_to_the_sign_up():
    rejected = last(run(signed_up("fay", CODE, 3), bought("fay", "o1", -2)))
    assert (rejected.reason, rejected.since) == (Ground.FRAUD, at(3))
    assert signals(rejected) == ["already_bought"]


def test_oneself_is_rejected_and_not_referred_by_it():
    outcome = run(signed_up("fay", MINE), signed_up("fay", CODE, 1))
    assert [(step.referral.state, step.referral.reason, signals(step.referral)) for step in outcome.steps] == [
        (State.REJECTED, Ground.FRAUD, ["self"]),
        (State.SIGNED_UP, None, []),
    ]


@pytest.mark.parametrize("between", [(), (bought("fay", "o1", 1),), (bought("fay", "o1", -1),)])
def test_a_friend_is_referred_once_as_handled(between: Sequence[Event]):
    # The second sign-up is dated before the first.
    outcome = run(signed_up("fay", CODE, 0), *between, signed_up("fay", OTHER, -5))
    assert (last(outcome).state, last(outcome).reason) == (State.REJECTED, Ground.FRAUD)
    assert "already_referred" in signals(last(outcome))


def test_a_rejected_second_sign_up_leaves_the_first_to_qualify():
    outcome = run(signed_up("fay", CODE), signed_up("fay", OTHER, 1), bought("fay", "o1", 2))
    assert states(outcome) == ["signed_up", "rejected", "qualified", "approved"]
    assert last(outcome).referral_id == outcome.steps[0].referral.referral_id


@pytest.mark.parametrize("code", ["XXXXXXXX", "cdfghjk", "", "CDFGHJKMM", "CDFGHJK0", "ſ2345678"])
def test_an_unknown_code_is_refused(code: str):
    outcome = run(signed_up("fay", code or "-"))
    assert [refusal.reason for refusal in outcome.refused] == [Reason.UNKNOWN_CODE]
    assert not outcome.steps


def test_a_friend_with_the_same_code_again_is_a_repeat():
    stored = replace(STORED, recorded=frozenset({("fay", CODE)}))
    again = fold([signed_up("fay", CODE), signed_up("fay", OTHER), signed_up("fay", OTHER, 3)], stored)
    assert [(step.referral.code, step.referral.state) for step in again.steps] == [(OTHER, State.SIGNED_UP)]
    assert again.repeats == 2


@pytest.mark.parametrize(
    "refunds, expected",
    [
        ([("r1", 3, "5.00")], State.APPROVED),
        ([("r1", 3, "5.01")], State.VOIDED),
        ([("r1", 3, "2.50"), ("r2", 4, "2.50")], State.APPROVED),
        ([("r1", 3, "2.50"), ("r2", 4, "2.51")], State.VOIDED),
        ([("r1", 3, "99.00")], State.VOIDED),
    ],
)
def test_refunds_void_for_good_when_less_than_the_minimum_is_kept(refunds: list[tuple[str, int, str]], expected: State):
    taken = [refunded("fay", "o1", *refund) for refund in refunds]
    outcome = run(signed_up("fay", CODE), bought("fay", "o1", 1), *taken, bought("fay", "o2", 9))
    assert last(outcome).state is expected
    assert last(outcome).order_id == "o1"


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_refund_voids_what_is_approved_and_rejects_what_is_not(order: tuple[int, ...]):
    events = [signed_up("fay", CODE), bought("fay", "o1", 1), refunded("fay", "o1", "r1", 7, "5.01")]
    outcome = run(*(events[index] for index in order))
    closed = last(outcome)
    refund_was_last = order[2] == 2
    assert closed.state is (State.VOIDED if refund_was_last else State.REJECTED)
    assert (closed.reason, closed.since) == (Ground.REFUNDED, at(7))
    assert ("approved" in states(outcome)) == refund_was_last
    assert (closed.advocate_points is not None) == refund_was_last


def test_lines_and_refunds_of_lines_count_exactly():
    order = bought("fay", "o1", 1, "30.00", lines=[("1", "10.00"), ("2", "20.00")])
    # More than is kept of line 1 takes what is kept of it: 20.00 stay.
    kept = refunded("fay", "o1", "r1", 2, "15.00", lines=[("1", "15.00")])
    over = refunded("fay", "o1", "r2", 3, "0.0001", lines=[("2", "0.0001")])
    assert last(run(signed_up("fay", CODE), order, kept)).state is State.APPROVED
    assert last(run(signed_up("fay", CODE), order, kept, over)).state is State.VOIDED


def test_a_refund_that_does_not_fit_is_refused_and_one_that_repeats_is_counted():
    outcome = run(
        refunded("fay", "o1", "r1", 2, "1.00", currency="EUR"),
        refunded("fay", "o1", "r2", 2, "1.00", lines=[("9", "1.00")]),
        bought("fay", "o1", 1, lines=[("1", "25.00")]),
        refunded("fay", "o1", "r1", 2, "1.00"),
        refunded("fay", "o1", "r1", 2, "1.00"),
        refunded("fay", "o1", "r1", 2, "2.00"),
        # A repeat of a recorded refund is not checked against the order.
        refunded("fay", "o1", "r1", 2, "1.00", currency="EUR"),
        refunded("fay", "o1", "r1", 2, "1.00", lines=[("9", "1.00")]),
        refunded("fay", "o2", "r1", 2, "2.00"),
    )
    assert [refusal.reason for refusal in outcome.refused] == [Reason.CURRENCY_MISMATCH, Reason.UNKNOWN_LINE]
    assert [(key, refund.amount) for key, refund in outcome.refunds] == [(("fay", "o1"), "1.00")]
    assert (outcome.repeats, outcome.differing_repeats) == (1, 3)
    assert [waiting.event.data for waiting in outcome.waiting] == [refunded("fay", "o2", "r1", 2, "2.00").data]


def test_the_program_in_force_at_the_sign_up_rules_the_referral_to_its_end():
    richer = program(DEFAULT, ("/advocate_points", 900), version=2)
    stored = replace(STORED, known=Known(Book([(SINCE_EVER, PROGRAM), (START, richer)]), START))
    early = fold([signed_up("fay", CODE, -1), bought("fay", "o1", 5)], stored)
    late = fold([signed_up("fay", CODE, 0), bought("fay", "o1", 5)], stored)
    assert (last(early).program_version, last(early).advocate_points) == (1, 500)
    assert (last(late).program_version, last(late).advocate_points) == (2, 900)


_amount = st.decimals(min_value=0, max_value=12, places=2).map(str)
_refund = st.tuples(st.integers(1, 900), _amount)


@st.composite
def _story(draw: st.DrawFn, *, qualifying: bool) -> list[Event]:
    """A sign-up at 0 h, at most one order that can qualify, others that cannot, and refunds, in any order."""
    events = [signed_up("fay", CODE)]
    orders = [f"small-{number}" for number in range(draw(st.integers(0, 2)))]
    events += [bought("fay", order_id, draw(st.integers(0, 720)), "19.99") for order_id in orders]
    events.append(bought("fay", "late", 721, "50.00"))
    if qualifying:
        events.append(bought("fay", "right", draw(st.integers(0, 720)), "25.00"))
        orders.append("right")
    for order_id in [*orders, "late"]:
        for number, (hours, amount) in enumerate(draw(st.lists(_refund, max_size=3))):
            events.append(refunded("fay", order_id, f"r{number}", hours, amount))
    return draw(st.permutations(events))


@settings(deadline=None, max_examples=150)
@given(_story(qualifying=True))
def test_the_order_of_arrival_does_not_matter(events: list[Event]):
    arrived, by_time = last(run(*events)), last(run(*sorted(events, key=lambda event: event.time)))
    for name in ("reason", "order_id", "qualified_at"):
        assert getattr(arrived, name) == getattr(by_time, name), name
    # A refund that is known with its order rejects the referral; a later one voids it.
    alike = {State.VOIDED: State.REJECTED}
    assert alike.get(arrived.state, arrived.state) == alike.get(by_time.state, by_time.state)


@settings(deadline=None, max_examples=50)
@given(_story(qualifying=False), st.data())
def test_before_an_approval_evidence_rejects_whenever_it_arrives(events: list[Event], data: st.DataObject):
    place = data.draw(st.integers(0, len(events)))
    early = bought("fay", "early", -1, data.draw(_amount))
    rejected = last(run(*events[:place], early, *events[place:]))
    assert (rejected.reason, signals(rejected)) == (Ground.FRAUD, ["already_bought"])


_money = st.decimals(min_value=0, max_value=30, places=2)


@settings(deadline=None, max_examples=100)
@given(st.lists(_money, max_size=4), st.lists(st.tuples(st.booleans(), _money, st.integers(0, 3)), max_size=4))
def test_orders_reduced_to_their_amounts_keep_the_same(money: list[Decimal], refunds: list[tuple[bool, Decimal, int]]):
    lines = [(str(number), str(amount)) for number, amount in enumerate(money)]
    total = str(sum(money, Decimal(0))) if lines else "20.00"
    purchase = Order.of(bought("fay", "o1", 1, total, lines=lines)).purchase
    whole: list[Refund] = []
    for number, (by_line, amount, line) in enumerate(refunds):
        # The same line twice adds up.
        half = str(amount / 2)
        halves = [(str(line), half), (str(line), half)] if by_line and line < len(lines) else []
        event = refunded("fay", "o1", f"r{number}", number, str(amount), lines=halves)
        whole.append(Refund.of(event.data, event.time))
    reduced = [replace(refund, lines=refund_lines_of(amounts(refund.lines))) for refund in whole]
    small: Purchase = purchase_of("USD", purchase.total, dict(line_amounts(purchase.lines)))
    full, less = keep(purchase, whole), keep(small, reduced)
    assert (full.total, full.refunds) == (less.total, less.refunds)
    assert isinstance(full.total, Fraction)


@st.composite
def _returns(draw: st.DrawFn) -> list[Event]:
    """Refunds of the order of 30.00, whose lines are a (20.00) and b (10.00), in the order of their arrival."""
    made: list[Event] = []
    for number in range(draw(st.integers(1, 7))):
        amount = draw(st.sampled_from(("0.00", "1.00", "3.33", "4.00", "12.00")))
        lines = draw(st.sampled_from(((), (("a", amount),), (("b", amount),))))
        made.append(refunded("fay", "o", f"r{number}", draw(st.integers(-1, 5)), amount, lines=lines))
    return made


@given(returns=_returns(), size=st.integers(1, 3), remembered=st.booleans())
@settings(max_examples=200, deadline=None)
def test_an_approval_is_void_when_the_fold_of_all_refunds_says_so(returns: list[Event], size: int, *, remembered: bool):
    """Also where only the referral is stored, and refunds are read once they are needed."""
    order_event = bought("fay", "o", 0, "30.00", lines=(("a", "20.00"), ("b", "10.00")))
    referral = last(run(signed_up("fay", CODE), order_event))
    referral = replace(referral, kept=referral.kept if remembered else None)
    key, order = ("fay", "o"), Order.of(order_event)
    for start in range(0, len(returns), size):
        stored = Stored(known=KNOWN, referrals={"fay": [referral]}, orders={key: replace(order, refunds=None)})
        outcome = fold(returns[start : start + size], stored)
        if outcome.wanted:
            assert outcome.wanted.orders == {key}
            outcome = fold(returns[start : start + size], replace(stored, orders={key: order}))
        assert not outcome.wanted
        referral = outcome.referrals.get(referral.referral_id, referral)
        for _, refund in outcome.refunds:
            order = replace(order, refunds=(*(order.refunds or ()), refund))
        fell_at = fell_below(order, PROGRAM.amount)
        assert (referral.state is State.VOIDED) == (fell_at is not None)
        if fell_at is not None:
            assert states(outcome) == ["voided"]
            assert size > 1 or _is_settled_at(referral, order)  # a batch can void before its last refund
            return
        if referral.kept is not None and referral.kept["fold"] is not None:
            assert Fold.from_json(order.purchase, referral.kept["fold"]).total == order.fold().total


def _is_settled_at(referral: Referral, order: Order) -> bool:
    """Whether the referral was voided at the instant from which too little is kept."""
    kept = keep(
        order.purchase, [refund for refund in order.refunds or () if order.effective_at(refund) <= referral.since]
    )
    before = keep(
        order.purchase, [refund for refund in order.refunds or () if order.effective_at(refund) < referral.since]
    )
    return kept.total < PROGRAM.amount <= before.total
