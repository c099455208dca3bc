"""The fold: what each event changes, shown by the transactions that it makes.

Planted and caught here: refunds counted in the order of arrival, or by time alone; the limit of reviews that does
not forget a withdrawn one; the tier's extra counted as qualifying; refunds settled without the tier; a void that
pays back one side, or is undone by a late approval; order ids of two shops taken for one order.
"""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.points.rules.books.settling import due_for
from services.points.rules.books.state import Changes, State
from shared.contracts.reasons import Reason
from shared.contracts.shop import ReferralSignedUp
from tests.points.shop import again, event, hour, purchase, referral, refund, review, tier, withdrawal
from tests.points.states import NOW, apply, moved, new_customers, rulebook


@pytest.fixture
def ann() -> State:
    return new_customers("ann", "bob")


def available(state: State, customer: str = "ann") -> int:
    account = state.accounts[customer]
    return account.available - account.debt


def qualifying(changes: Changes) -> list[int]:
    return [announced.qualifying for announced in changes.announced]


def test_a_purchase_earns_in_one_transaction_at_the_multiplier_before_it(ann: State):
    apply(ann, tier([(hour(0), "1.25"), (hour(2), "2")]))
    changes = apply(ann, purchase("1", "100.00", hour(2)), purchase("2", "100.00", hour(3)))
    assert moved(changes) == [("earned", 125), ("earned", 200)]
    assert qualifying(changes) == [100, 100]
    assert ann.accounts["ann"].orders == 2
    assert [order.ordinal for order in ann.orders.values()] == [1, 2]
    assert ann.orders["ann", "1"].given == {"base": 100, "tier:extra": 25}


def test_an_order_of_zero_makes_a_transaction_and_publishes_nothing(ann: State):
    changes = apply(ann, purchase("1", "0.00"), purchase("2", "80.00", currency="EUR"))
    assert moved(changes) == [("earned", 0), ("earned", 0)]
    assert changes.announced == []


def test_a_refund_takes_back_what_is_no_longer_due(ann: State):
    apply(ann, tier([(hour(-1), "1.25")]), purchase("1", "100.00"))
    changes = apply(ann, refund("1", "r", "30.50"))
    # Kept are 69.50: 69 and 17 of what were 100 and 25.
    assert moved(changes) == [("reversed", -39)]
    assert qualifying(changes) == [31]
    assert changes.transactions[0].context.reason == {"kind": "refund", "order_id": "1", "refund_id": "r"}
    assert available(ann) == 86


def test_a_refund_that_moves_nothing_makes_no_transaction(ann: State):
    apply(ann, purchase("1", "10.90"))
    changes = apply(ann, refund("1", "r", "0.90"))
    assert (moved(changes), len(changes.refunds)) == ([], 1)
    assert moved(apply(ann, refund("1", "r2", "0.01"))) == [("reversed", -1)]


def test_a_refund_that_waited_makes_a_transaction_of_its_own_after_the_purchases(ann: State):
    early = apply(ann, refund("1", "b", "10.00", hour(2)), refund("1", "a", "20.00", hour(1)))
    assert (moved(early), len(early.waiting)) == ([], 2)
    changes = apply(ann, purchase("1", "100.00", hour(3)))
    assert moved(changes) == [("earned", 100), ("reversed", -20), ("reversed", -10)]
    assert [transaction.context.occurred_at for transaction in changes.transactions] == [hour(3), hour(1), hour(2)]


def test_an_event_that_waits_only_within_its_batch_is_not_stored(ann: State):
    changes = apply(ann, refund("1", "r", "10.00"), withdrawal("v"), purchase("1", "100.00"), review("v", "s"))
    assert moved(changes) == [("earned", 100), ("reversed", -10), ("earned", 50), ("reversed", -50)]
    assert changes.waiting == []


def test_refunds_count_in_the_order_of_time_and_id_whenever_they_arrive(ann: State):
    # By its line first, 50 of the whole leave 25; the other way round they would leave 33.33.
    lines = (("a", "50.00"), ("b", "50.00"))
    apply(ann, purchase("1", "100.00", lines=lines))
    apply(ann, refund("1", "late", "50.00", hour(2)))
    apply(ann, refund("1", "early", "50.00", hour(1), lines=(("a", "50.00"),)))
    assert available(ann) == 0
    apply(ann, purchase("2", "100.00", lines=lines))
    apply(ann, refund("2", "r2", "60.00", hour(1), lines=(("a", "60.00"),)))
    apply(ann, refund("2", "r1", "40.00", hour(1)))
    # r1 lowers each line to 30, then r2 takes one of them whole.
    assert available(ann) == 30


@pytest.mark.parametrize(
    "misfit, reason",
    [
        (refund("1", "r", "1.00", currency="EUR"), Reason.CURRENCY_MISMATCH),
        (refund("1", "r", "1.00", lines=(("c", "1.00"),)), Reason.UNKNOWN_LINE),
    ],
)
def test_a_refund_that_does_not_fit_is_refused_and_takes_up_no_id(ann: State, misfit: object, reason: Reason):
    bought = purchase("1", "10.00", lines=(("a", "4.00"), ("b", "6.00")))
    apply(ann, bought)
    changes = apply(ann, misfit, refund("1", "r", "6.00"))
    assert [(refusal.event, refusal.reason) for refusal in changes.refusals] == [(misfit, reason)]
    assert moved(changes) == [("reversed", -6)]
    other = new_customers("ann")
    apply(other, misfit)
    assert [transaction.event for transaction in apply(other, bought).refusals] == [misfit]


def test_repeats_have_no_effect_and_are_counted_apart_when_they_differ(ann: State):
    facts = [purchase("1", "100.00"), refund("1", "r", "10.00"), review("v", "s"), referral("approved", "f")]
    apply(ann, *facts, withdrawal("v"))
    changes = apply(ann, *map(again, facts), withdrawal("v", hour(1)))
    assert (moved(changes), changes.repeats, changes.repeats_that_differ) == ([], 6, 0)
    changes = apply(
        ann,
        *(purchase("1", "101.00"), purchase("1", "100.00", hour(1))),
        *(refund("1", "r", "11.00"), refund("1", "r", "10.00", hour(1))),
        *(review("v", "t"), review("v", "s", verified=False)),
        referral("approved", "f", (501, 201)),
    )
    assert (moved(changes), changes.repeats, changes.repeats_that_differ) == ([], 0, 8)


def test_an_order_id_of_two_shops_is_a_conflict(ann: State):
    apply(ann, purchase("1", "100.00"))
    other = purchase("1", "100.00", source="/shop/other")
    changes = apply(ann, other, purchase("1", "5.00", customer_id="bob", source="/shop/other"))
    assert [(refusal.event, refusal.reason) for refusal in changes.refusals] == [(other, Reason.ORDER_CONFLICT)]
    assert moved(changes) == [("earned", 5)]


def test_a_sku_is_rewarded_once_and_again_when_its_review_was_withdrawn(ann: State):
    changes = apply(ann, review("1", "s"), review("2", "s"), review("3", "t"), review("1", "s", customer_id="bob"))
    assert [points for _, points in moved(changes)] == [50, 0, 50, 50]
    assert qualifying(changes) == [50, 50, 50]
    assert moved(apply(ann, withdrawal("2"))) == []
    assert moved(apply(ann, review("4", "s"))) == [("earned", 0)]
    assert moved(apply(ann, withdrawal("1"), review("5", "s"))) == [("reversed", -50), ("earned", 50)]


@pytest.mark.parametrize("verified", [False, None])
def test_a_review_of_no_verified_purchase_earns_nothing_and_frees_nothing(ann: State, verified: bool | None):
    changes = apply(ann, review("1", "s", verified=verified), review("2", "s"), withdrawal("1"), review("3", "s"))
    assert [points for _, points in moved(changes)] == [0, 50, 0]


def test_a_referral_pays_both_sides_and_a_void_takes_it_back_for_good(ann: State):
    changes = apply(ann, referral("approved", "f"))
    assert [(transaction.account.customer_id, transaction.points) for transaction in changes.transactions] == [
        ("ann", 500),
        ("bob", 200),
    ]
    assert qualifying(changes) == [500, 200]
    changes = apply(ann, referral("voided", "f"), referral("voided", "f"), referral("approved", "f"))
    assert [(transaction.account.customer_id, transaction.points) for transaction in changes.transactions] == [
        ("ann", -500),
        ("bob", -200),
    ]
    assert changes.transactions[0].context.reason == {"kind": "referral_voided", "referral_id": "f"}
    assert (available(ann), available(ann, "bob")) == (0, 0)


def test_a_side_that_a_cap_left_nothing_has_no_transaction(ann: State):
    changes = apply(ann, referral("approved", "f", (0, 200)))
    assert [(moved.account.customer_id, moved.points) for moved in changes.transactions] == [("bob", 200)]
    changes = apply(ann, referral("voided", "f", (0, 200)))
    assert [(moved.account.customer_id, moved.points) for moved in changes.transactions] == [("bob", -200)]


def test_a_referral_that_was_voided_before_it_was_approved_is_never_paid(ann: State):
    assert moved(apply(ann, referral("voided", "f"), referral("approved", "f"))) == []


def test_a_side_that_gets_nothing_has_no_transaction(ann: State):
    assert moved(apply(ann, referral("approved", "f", (None, 200)), referral("approved", "g", (500, 0)))) == [
        ("earned", 200),
        ("earned", 500),
    ]


def test_a_timeline_that_changed_in_the_past_settles_later_orders_again(ann: State):
    apply(
        ann,
        *(purchase(str(hours), "100.00", hour(hours)) for hours in (0, 1, 2, 3)),
        purchase("b", "9", customer_id="bob"),
    )
    changes = apply(ann, tier([(hour(1), "1.25"), (hour(2), "1.5")], verb="corrected"))
    assert [(transaction.context.reason["order_id"], transaction.points) for transaction in changes.transactions] == [
        ("2", 25),
        ("3", 50),
    ]
    assert changes.transactions[0].context.reason == {"kind": "tier", "order_id": "2"}
    assert qualifying(changes) == [0, 0]
    back = apply(ann, tier([(hour(2), "1")], verb="demoted"))
    assert moved(back) == [("reversed", -50)]
    assert (qualifying(back), available(ann)) == ([0], 425)


def test_settling_again_follows_the_time_of_the_orders(ann: State):
    apply(ann, *(purchase(str(hours), "100.00", hour(hours)) for hours in (3, 1, 2)))
    changes = apply(ann, tier([(hour(0), "2")]))
    assert [transaction.context.reason["order_id"] for transaction in changes.transactions] == ["1", "2", "3"]


def test_a_batch_settles_the_orders_that_came_between_its_timelines_again(ann: State):
    apply(ann, purchase("1", "100.00", hour(1)))
    changes = apply(
        ann, tier([(hour(0), "2")]), purchase("2", "100.00", hour(2)), tier([(hour(0), "1")], verb="corrected")
    )
    assert moved(changes) == [("earned", 100), ("earned", 200), ("reversed", -100), ("reversed", -100)]


def test_an_equal_multiplier_in_another_notation_settles_nothing(ann: State):
    apply(ann, purchase("1", "100.00", hour(1)))
    changes = apply(ann, tier([(hour(0), "1.00")]))
    assert (moved(changes), ann.orders["ann", "1"].standing.multiplier) == ([], "1.00")


def test_points_taken_back_beyond_the_balance_are_debt_paid_by_the_next_earning(ann: State):
    apply(ann, tier([(hour(-1), "1.5")]), purchase("1", "100.00"))
    # All of it was spent since.
    ann.accounts["ann"] = ann.accounts["ann"]._replace(available=0)
    ann.lots["ann"] = {id_: lot._replace(remaining=0, spent=lot.granted) for id_, lot in ann.lots["ann"].items()}
    changes = apply(ann, refund("1", "r", "100.00"), purchase("2", "20.00", hour(-2)), referral("approved", "f"))
    owed = [(transaction.account.available, transaction.account.debt) for transaction in changes.transactions]
    assert owed == [(0, 150), (0, 130), (370, 0), (200, 0)]


def test_an_event_type_without_a_rule_is_an_error(ann: State):
    with pytest.raises(TypeError, match=r"shop\.referral\.signed_up\.v1"):
        apply(ann, event("shop.referral.signed_up.v1", hour(0), ReferralSignedUp(customer_id="ann", code="x")))


_PARTS = st.lists(st.integers(0, 400_000), min_size=1, max_size=6)


@given(parts=_PARTS, rest=st.integers(0, 10_000), shuffled=st.randoms(), lined=st.booleans())
def test_partial_refunds_equal_one_full_one(parts: Sequence[int], rest: int, shuffled: Random, lined: bool):
    total = _money(sum(parts) + rest)
    lines = [(str(number), _money(part)) for number, part in enumerate([*parts, rest])] if lined else []
    refunds = [
        refund("1", f"r{number}", _money(part), hour(number), lines=[(str(number), _money(part))] if lined else [])
        for number, part in enumerate(parts)
    ]
    shuffled.shuffle(refunds)
    bought = [tier([(hour(-1), "1.3")]), purchase("1", total, lines=lines)]
    partly, fully = new_customers("ann"), new_customers("ann")
    apply(partly, *bought, *refunds)
    whole = _money(sum(parts))
    apply(fully, *bought, refund("1", "r", whole, lines=[*lines[:-1]] if lined else []))
    assert partly.orders["ann", "1"].given == fully.orders["ann", "1"].given
    assert available(partly) == available(fully)
    order = partly.orders["ann", "1"]
    assert next(due_for(order, partly.kept_of(("ann", "1")), partly.timelines["ann"], rulebook(), NOW)) == order.given
    assert order.given.get("base", 0) == rest // 10_000


def _money(units: int) -> str:
    return f"{units // 10_000}.{units % 10_000:04}"
