"""The ledger's arithmetic: earning pays debt first, taking back follows the lots, nothing is lost.

Planted and caught here: debt not paid first; points taken back without the rule's own lots first, from available
lots before pending ones, or by age before expiry; what is missing forgiven; a sequence that stands still;
adjustments counted as earned; an expiry announced of points that paid debt.
"""

from collections import Counter
from collections.abc import Mapping
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.points.rules.ledger import postings
from services.points.rules.ledger.accounts import Account
from services.points.rules.ledger.lots import Grant, Lot, Portion
from services.points.rules.ledger.transactions import Entry
from tests.points.shop import hour
from tests.points.states import NOW, account, context, lot, numbered


def flows(entry: Entry) -> list[tuple[str, str, int, int | None]]:
    return [
        (posting.source, posting.target, posting.points, posting.lot_id and posting.lot_id.int)
        for posting in entry.transaction.postings
    ]


def granted(points: Mapping[str, int]) -> list[Grant]:
    return [Grant(rule, count) for rule, count in points.items()]


def test_earning_makes_a_lot_per_rule_available_at_once():
    entry = postings.earn(account(7), granted({"base": 100, "tier": 25, "none": 0}), context(), numbered())
    after = entry.transaction.account
    assert (after.available, after.debt, after.earned, after.sequence) == (132, 0, 132, 1)
    assert (entry.transaction.kind, entry.transaction.points) == ("earned", 125)
    assert [(lot.rule, lot.granted, lot.remaining, lot.origin) for lot in entry.made] == [
        ("base", 100, 100, "order/1"),
        ("tier", 25, 25, "order/1"),
    ]
    assert flows(entry) == [("issued", "available", 100, 2), ("issued", "available", 25, 3)]


def test_earning_pays_debt_first():
    entry = postings.earn(account(debt=120), granted({"base": 100, "tier": 25}), context(), numbered())
    after = entry.transaction.account
    assert (after.available, after.debt, after.earned) == (5, 0, 5)
    assert flows(entry) == [
        ("issued", "debt", 100, 2),
        ("issued", "debt", 20, 3),
        ("issued", "available", 5, 3),
    ]
    assert [(lot.remaining, lot.reversed) for lot in entry.made] == [(0, 100), (5, 20)]


def test_earning_less_than_the_debt_leaves_the_rest():
    after = postings.earn(account(debt=120), granted({"base": 100}), context(), numbered()).transaction.account
    assert (after.available, after.debt) == (0, 20)


def test_earning_nothing_is_a_transaction_too():
    entry = postings.earn(account(), granted({"base": 0}), context(), numbered())
    assert (entry.transaction.points, entry.transaction.postings, entry.made) == (0, (), ())
    assert entry.transaction.account.sequence == 1


def dates(entry: Entry) -> tuple[object, ...]:
    """The dates of a transaction: (first activation, its points), (first expiry, its points), pending, repaid."""
    made = entry.transaction
    return (made.activates_at, made.activating), (made.expires_at, made.expiring), made.pending, made.repaid


def test_a_transaction_has_its_pending_and_expiring_points_with_dates():
    grants = [
        Grant("for ever", 10),
        Grant("ends later", 7, expires_at=hour(90)),
        Grant("ends", 20, expires_at=hour(50)),
        Grant("ends too", 5, expires_at=hour(50)),
        Grant("waits", 3, pending=True, activates_at=hour(20), expires_at=hour(80)),
        Grant("waits longer", 4, pending=True, activates_at=hour(30)),
        Grant("on delivery", 40, pending=True, cancels_at=hour(60)),
    ]
    entry = postings.earn(account(), grants, context(), numbered())
    assert dates(entry) == ((hour(20), 3), (hour(50), 25), 47, 0)
    plain = postings.earn(account(), granted({"base": 5}), context(), numbered())
    assert dates(plain) == ((None, 0), (None, 0), 0, 0)


def test_points_that_paid_debt_do_not_expire():
    grants = [Grant("first", 10, expires_at=hour(50)), Grant("second", 20, expires_at=hour(60))]
    assert dates(postings.earn(account(debt=10), grants, context(), numbered()))[1:] == ((hour(60), 20), 0, 10)
    assert dates(postings.earn(account(debt=12), grants, context(), numbered()))[1:] == ((hour(60), 18), 0, 12)
    assert dates(postings.earn(account(debt=99), grants, context(), numbered()))[1:] == ((None, 0), 0, 30)


def test_points_given_back_have_the_number_that_expires_first():
    lots = [
        lot(1, 10, pending=True, expires_at=hour(50)),
        lot(2, 20, pending=True, expires_at=hour(90)),
        lot(3, 30, pending=True, expires_at=hour(50)),
        lot(4, 40, pending=True),
    ]
    active = postings.activate(account(pending=100), lots, context(), numbered())
    assert dates(active)[1:] == ((hour(50), 40), 0, 0)
    indebted = postings.activate(account(pending=100, debt=15), lots, context(), numbered())
    assert dates(indebted)[1:] == ((hour(50), 30), 0, 15)
    spent = [lot(1, 6, expires_at=hour(50)), lot(2, 20, expires_at=hour(90))]
    redeemed = postings.redeem(account(26), 10, spent, context(), numbered())
    after = {lot.id: lot for lot in redeemed.changed}
    portions = [Portion(lot, lot.spent) for lot in after.values()]
    restored = postings.restore(redeemed.transaction.account, portions, context(), numbered())
    assert dates(redeemed)[1:] == ((None, 0), 0, 0)
    assert dates(restored)[1:] == ((hour(50), 6), 0, 0)


# Of the origin order/1 a base lot of 10, a pending one of 5 and a tier's of 8; then others by their expiry.
LOTS = (
    lot(1, 10),
    lot(2, 5, pending=True),
    lot(3, 8, rule="tier"),
    lot(4, 20, origin="order/2", occurred_at=hour(-9)),
    lot(5, 30, origin="order/3", expires_at=hour(99)),
    lot(6, 40, origin="order/4", expires_at=hour(50)),
    lot(7, 50, origin="order/5", occurred_at=hour(-8)),
)


@pytest.mark.parametrize(
    "wanted, taken",
    [
        ({"base": 3}, [(2, 3)]),
        ({"base": 7}, [(2, 5), (1, 2)]),
        ({"tier": 8, "base": 15}, [(3, 8), (2, 5), (1, 10)]),
        ({"base": 17}, [(2, 5), (1, 10), (3, 2)]),
        ({"tier": 10}, [(3, 8), (2, 2)]),
        ({"base": 15, "tier": 9}, [(2, 5), (1, 10), (3, 8), (6, 1)]),
        ({"base": 15, "tier": 8 + 40 + 30 + 20 + 1}, [(2, 5), (1, 10), (3, 8), (6, 40), (5, 30), (4, 20), (7, 1)]),
    ],
)
def test_taking_back_uses_its_own_lots_then_the_soonest_to_expire(
    wanted: Mapping[str, int], taken: list[tuple[int, int]]
):
    entry = postings.take_back(account(158, pending=5), wanted, LOTS[::-1], context(), numbered())
    assert [(posting.lot_id and posting.lot_id.int, posting.points) for posting in entry.transaction.postings] == taken
    pending = sum(points for number, points in taken if number == 2)
    after = entry.transaction.account
    assert (after.pending, after.available) == (5 - pending, 158 + pending - sum(wanted.values()))
    assert {posting.source for posting in entry.transaction.postings} <= {"pending", "available"}
    assert {(lot.id.int, lot.reversed) for lot in entry.changed} == set(taken)
    assert (entry.transaction.kind, entry.transaction.points) == ("reversed", -sum(wanted.values()))


def test_missing_points_become_debt():
    entry = postings.take_back(account(10), {"base": 25}, LOTS[:1], context(), numbered())
    after = entry.transaction.account
    assert (after.available, after.debt, after.earned) == (0, 15, -15)
    assert flows(entry) == [("available", "reversed", 10, 1), ("debt", "reversed", 15, None)]


def test_an_adjustment_up_pays_debt_and_does_not_count_as_earned():
    entry = postings.adjust(account(debt=30), 50, (), context("adjustment/1"), numbered())
    after = entry.transaction.account
    assert (after.available, after.debt, after.earned) == (20, 0, -30)
    assert flows(entry) == [("adjusted", "debt", 30, 2), ("adjusted", "available", 20, 2)]


def test_an_adjustment_down_spends_available_lots_by_their_expiry():
    entry = postings.adjust(account(158, pending=5), -75, LOTS, context("adjustment/1"), numbered())
    assert flows(entry) == [
        ("available", "adjusted", 40, 6),
        ("available", "adjusted", 30, 5),
        ("available", "adjusted", 5, 4),
    ]
    assert [(lot.spent, lot.reversed) for lot in entry.changed] == [(40, 0), (30, 0), (5, 0)]
    assert (entry.transaction.account.available, entry.transaction.account.earned) == (83, 163)


def test_no_more_can_be_adjusted_away_than_is_available():
    with pytest.raises(ValueError, match="11 points are more than the 10"):
        postings.adjust(account(10, pending=50), -11, LOTS, context(), numbered())
    assert postings.adjust(account(10), -10, LOTS, context(), numbered()).transaction.account.available == 0


def test_recorded_times_never_go_back_when_the_clock_does():
    later = postings.earn(account(), granted({"base": 1}), context(), numbered()).transaction.account
    assert later.recorded_at == NOW
    ahead = later._replace(recorded_at=hour(10**5))
    assert postings.earn(ahead, granted({"base": 1}), context(), numbered()).transaction.account.recorded_at == hour(
        10**5
    )


_POINTS = st.integers(0, 60)
_ORIGIN = st.sampled_from(("order/1", "order/2", "order/3"))
_AWARDS = st.fixed_dictionaries({}, optional={"base": _POINTS, "tier": _POINTS})
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("earn"), _ORIGIN, _AWARDS),
        st.tuples(st.just("take"), _ORIGIN, _AWARDS),
        st.tuples(st.just("adjust"), _ORIGIN, st.integers(-40, 40).filter(bool)),
    ),
    max_size=25,
)


@given(steps=_STEPS)
def test_any_sequence_of_entries_keeps_the_books_consistent(steps: list[tuple[str, str, object]]):
    state, lots, ids, net = account(), dict[UUID, Lot](), numbered(), 0
    posted: Counter[str] = Counter()
    for sequence, (verb, origin, what) in enumerate(steps, start=1):
        state, entry = _move(state, lots, ids, (verb, origin, what))
        lots |= {lot.id: lot for lot in (*entry.made, *entry.changed)}
        for posting in entry.transaction.postings:
            assert posting.points > 0
            posted[posting.target] += posting.points
            posted[posting.source] -= posting.points
        net += entry.transaction.points
        assert state.sequence == sequence
        assert state.available - state.debt == net
        assert min(state.available, state.debt) == 0
        assert state.available == sum(lot.remaining for lot in lots.values()) == posted["available"]
        assert state.debt == -posted["debt"]
        assert all(lot.granted == lot.remaining + lot.reversed + lot.spent for lot in lots.values())
        assert posted.total() == 0


def _move(state: Account, lots: dict[UUID, Lot], ids: object, step: tuple[str, str, object]) -> tuple[Account, Entry]:
    verb, origin, what = step
    if verb == "earn":
        entry = postings.earn(state, granted(what), context(origin), ids)
    elif verb == "take":
        entry = postings.take_back(state, what, list(lots.values()), context(origin), ids)
    else:
        points = max(what, -state.available)
        entry = postings.adjust(state, points, list(lots.values()), context(origin), ids)
    return entry.transaction.account, entry
