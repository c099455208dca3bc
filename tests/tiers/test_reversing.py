"""Points earned and reversed for one reason: a transaction at a time, against the definition over the whole set."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tiers.rules.metrics import Change
from services.tiers.rules.reversing import Reversing, Transaction, UnreadTransactionsError, changes_of

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def at(hour: int) -> datetime:
    return BEGIN + timedelta(hours=hour)


def transactions(*moved: tuple[int, int]) -> list[Transaction]:
    """Transactions of (hour, points), in the order of arrival."""
    return [Transaction(at(hour), f"t{number}", points) for number, (hour, points) in enumerate(moved)]


@st.composite
def arrivals(draw: st.DrawFn) -> list[Transaction]:
    """Transactions in the order of arrival; the first earned points, since a reversal waits for that."""
    moved = st.tuples(st.integers(0, 5), st.sampled_from((1, 10, 30, -1, -10, -25)))
    first = draw(st.tuples(st.integers(0, 5), st.sampled_from((1, 10, 30))))
    return transactions(first, *draw(st.lists(moved, max_size=7)))


class Store:
    """What a database stores of a reason; all transactions are read only when they are asked for."""

    def __init__(self, first: Transaction) -> None:
        self.stored = Reversing.earned(first)
        self.transactions = [first]
        self.reads = 0

    def add(self, transaction: Transaction) -> list[Change]:
        state = Reversing.from_json(msgspec.json.decode(msgspec.json.encode(self.stored.to_json())))
        try:
            changes = state.add(transaction)
        except UnreadTransactionsError:
            self.reads += 1
            state.transactions = list(self.transactions)
            changes = state.add(transaction)
        self.stored = state
        self.transactions.append(transaction)
        return changes


def sums(changes: Sequence[Change]) -> Counter[Change]:
    """The sums of changes that differ in the amount alone."""
    summed: Counter[Change] = Counter()
    for change in changes:
        summed[change._replace(amount=0)] += int(change.amount)
    return Counter({change: amount for change, amount in summed.items() if amount})


@given(arriving=arrivals())
def test_any_order_of_arrival_changes_what_the_definition_says(arriving: Sequence[Transaction]):
    store = Store(arriving[0])
    changes = [Change(arriving[0].time, arriving[0].time, "points", "", arriving[0].points)]
    for number, transaction in enumerate(arriving[1:], 2):
        changes += store.add(transaction)
        assert sums(changes) == sums(changes_of(arriving[:number]))


@given(arriving=arrivals())
def test_by_any_instant_what_was_earned_less_what_was_reversed_counts(arriving: Sequence[Transaction]):
    changes = changes_of(arriving)
    for hour in range(6):
        known = [transaction for transaction in arriving if transaction.time <= at(hour)]
        net = max(0, sum(transaction.points for transaction in known))
        assert sum(change.amount for change in changes if change.at <= at(hour)) == net
    for earned_at in {change.earned_at for change in changes}:
        earned = sum(
            transaction.points for transaction in arriving if (transaction.time == earned_at) and transaction.points > 0
        )
        left = sum(change.amount for change in changes if change.earned_at == earned_at)
        assert 0 <= left <= earned


@pytest.mark.parametrize(
    ("moved", "expected"),
    [
        ([(1, 100), (2, -30)], {(1, 1): 100, (2, 1): -30}),
        ([(1, 100), (2, -130), (3, -5)], {(1, 1): 100, (2, 1): -100}),
        # The clock of the refund was behind: it counts from the purchase on.
        ([(3, 100), (1, -30)], {(3, 3): 70}),
        # What was earned last is taken back first.
        ([(1, 100), (2, 50), (3, -60)], {(1, 1): 100, (2, 2): 50, (3, 2): -50, (3, 1): -10}),
        ([(1, 100), (3, -60), (2, 50)], {(1, 1): 100, (2, 2): 50, (3, 2): -50, (3, 1): -10}),
        # Two transactions for one approved referral, and one void.
        ([(1, 500), (1, 20), (4, -520)], {(1, 1): 520, (4, 1): -520}),
    ],
)
def test_what_a_reason_counts(moved: list[tuple[int, int]], expected: dict[tuple[int, int], int]):
    arriving = transactions(*moved)
    store = Store(arriving[0])
    changes = [Change(arriving[0].time, arriving[0].time, "points", "", arriving[0].points)]
    for transaction in arriving[1:]:
        changes += store.add(transaction)
    counted: Counter[tuple[datetime, datetime]] = Counter()
    for change in changes:
        counted[change.at, change.earned_at] += int(change.amount)
    assert counted == {(at(when), at(earned)): amount for (when, earned), amount in expected.items()}


def test_the_reversals_of_what_was_earned_at_once_never_need_the_others():
    store = Store(Transaction(at(0), "t", 5_000))
    for number in range(2_000, 0, -1):
        store.add(Transaction(at(number), f"t{number}", -1))
    store.add(Transaction(at(0), "u", 10))
    store.add(Transaction(at(-1), "v", -10))
    assert store.reads == 0


def test_a_single_transaction_in_order_needs_no_others():
    store = Store(Transaction(at(0), "t", 10))
    for number in range(1, 100):
        store.add(Transaction(at(number), f"t{number}", 10 if number % 2 else -15))
    assert store.reads == 0
