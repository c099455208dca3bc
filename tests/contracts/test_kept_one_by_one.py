"""Refunds that are folded one at a time, in any order of arrival, from stored state agree with the definition."""

import random
from decimal import Decimal
from fractions import Fraction

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contracts.history import History
from shared.contracts.kept import CHECKPOINT_EVERY, Fold, keep
from shared.contracts.refunds import Kept, Purchase, Refund
from shared.contracts.remains import LONGEST_SCALE
from shared.contracts.shop import RefundLine
from tests.contracts.slow_kept import slowly
from tests.contracts.test_kept import amounts, order, refund
from tests.contracts.test_kept_of_any_order import refunded_orders

Case = tuple[Purchase, list[Refund]]


class Arrivals:
    """An order whose refunds arrive one at a time; its state is stored and loaded in between."""

    def __init__(self, bought: Purchase) -> None:
        self.bought = bought
        self.stored: bytes = b"{}"
        self.received: list[Refund] = []
        self.checkpoints: dict[str, tuple[Refund, bytes]] = {}
        self.refolded = 0
        """Number of refunds that were folded again because another one arrived late."""

    def add(self, arrived: Refund) -> tuple[Kept, Fraction]:
        fold = Fold.from_json(self.bought, msgspec.json.decode(self.stored))
        before = fold.total
        if fold.accepts(arrived):
            in_order = fold.last is None or arrived.place > fold.last
            fold.add(arrived)
            self._forget_after(arrived)
            if in_order and fold.is_checkpoint:
                fold.since = 0
                self._keep(arrived, fold)
        else:
            fold = self._refold(arrived)
        self.received.append(arrived)
        self.stored = msgspec.json.encode(fold.to_json())
        return fold.kept(), before - fold.total

    def _refold(self, arrived: Refund) -> Fold:
        before = [refund for refund, _ in self.checkpoints.values() if refund.place < arrived.place]
        start = Fold(self.bought)
        if before:
            at = max(before, key=lambda refund: refund.place)
            start = Fold.from_json(self.bought, msgspec.json.decode(self.checkpoints[at.refund_id][1]))
        later = [refund for refund in self.received if start.last is None or refund.place > start.last]
        self.refolded += len(later)
        history = History(start, later)
        history.note(arrived)
        fold = history.fold()
        self._forget_after(arrived)
        for checkpoint in history.checkpoints():
            self._keep(next(refund for refund in (*later, arrived) if refund.place == checkpoint.last), checkpoint)
        return fold

    def _forget_after(self, arrived: Refund) -> None:
        self.checkpoints = {
            name: (at, stored) for name, (at, stored) in self.checkpoints.items() if at.place < arrived.place
        }

    def _keep(self, at: Refund, fold: Fold) -> None:
        self.checkpoints[at.refund_id] = (at, msgspec.json.encode(fold.to_json()))


def without_refunds(kept: Kept) -> tuple[object, ...]:
    return kept.numerator, kept.scale, kept.lines, kept.gone


@given(refunded_orders())
def test_keep_agrees_with_the_slow_model(case: Case):
    bought, refunds = case
    kept, slow = keep(bought, refunds), slowly(bought, refunds)
    assert (kept.total, amounts(kept), kept.gone) == (slow.total, slow.lines, slow.gone)
    assert {refund.refund_id: refund.taken for refund in kept.refunds} == slow.taken


@given(refunded_orders(), st.data())
@settings(max_examples=300)
def test_refunds_one_at_a_time_in_any_order_give_the_same_result(case: Case, content: st.DataObject):
    bought, refunds = case
    arrivals = Arrivals(bought)
    left = Fraction(bought.total)
    for count, arrived in enumerate(content.draw(st.permutations(refunds)), 1):
        kept, taken = arrivals.add(arrived)
        assert without_refunds(kept) == without_refunds(keep(bought, arrivals.received))
        assert len(arrivals.received) == count
        assert left - taken == kept.total
        left = kept.total


def mixed(count: int, seed: int) -> Case:
    """An order of three lines, with refunds by line and by share in turn, in the order of their times."""
    draw = random.Random(seed)
    bought = order(("a", "5", "50000.00"), ("b", "5", "70000.01"), ("gift", "3", "0"))
    refunds: list[Refund] = []
    for index in range(count):
        money = f"{Decimal(draw.randrange(1, 50)) / 100:.2f}"
        if draw.random() < 0.5:
            refunds.append(refund(f"r{index:04}", money, (draw.choice("ab"), "0", money), after=index))
        else:
            refunds.append(refund(f"r{index:04}", money, after=index))
    return bought, refunds


def test_many_mixed_refunds_in_any_order_agree_with_the_definition():
    bought, refunds = mixed(3 * CHECKPOINT_EVERY, seed=5)
    for arriving in (refunds, refunds[::-1], random.Random(3).sample(refunds, len(refunds))):
        arrivals = Arrivals(bought)
        kept = [arrivals.add(arrived)[0] for arrived in arriving]
        assert without_refunds(kept[-1]) == without_refunds(keep(bought, refunds))


def test_a_late_refund_refolds_later_refunds_and_at_most_one_checkpoint_interval():
    bought, refunds = mixed(10 * CHECKPOINT_EVERY, seed=8)
    arrivals = Arrivals(bought)
    for first, second in zip(refunds[::2], refunds[1::2], strict=True):  # every second refund arrives one place late
        arrivals.add(second)
        arrivals.add(first)
    assert arrivals.refolded < len(refunds) * (CHECKPOINT_EVERY + 4)
    assert without_refunds(Fold.from_json(bought, msgspec.json.decode(arrivals.stored)).kept()) == without_refunds(
        keep(bought, refunds)
    )


def test_numbers_are_bounded_and_rounding_does_not_depend_on_the_order_of_arrival():
    bought, refunds = mixed(400, seed=2)
    definition = keep(bought, refunds)
    assert definition.scale.bit_length() <= LONGEST_SCALE
    exactly = slowly(bought, refunds)
    assert 0 < exactly.total - definition.total < Fraction(1, 10**150), "it is rounded down, by a tiny amount"
    arrivals = Arrivals(bought)
    for arrived in random.Random(7).sample(refunds, len(refunds)):
        arrivals.add(arrived)
    assert without_refunds(Fold.from_json(bought, msgspec.json.decode(arrivals.stored)).kept()) == without_refunds(
        definition
    )
    assert len(arrivals.stored) < 3_000


def test_refunds_of_one_kind_are_never_refolded_and_their_state_is_small():
    bought = order(*((f"l{index}", "1", "100.00") for index in range(20)))
    by_share = [refund(f"r{index:05}", "0.0101", after=index % 50) for index in range(2000)]
    by_line = [
        Refund(refund.refund_id, refund.time, "USD", "0.0101", (RefundLine(f"l{index % 20}", 0, "0.0101"),))
        for index, refund in enumerate(by_share)
    ]
    for refunds in (by_share, by_line):
        arrivals = Arrivals(bought)
        for arrived in random.Random(4).sample(refunds, len(refunds)):
            arrivals.add(arrived)
        assert arrivals.refolded == 0
        assert len(arrivals.stored) < 500
        assert Fold.from_json(bought, msgspec.json.decode(arrivals.stored)).total == 2000 - Fraction("20.2")


def test_an_order_refunded_in_full_is_never_refolded():
    bought, refunds = mixed(50, seed=6)
    arrivals = Arrivals(bought)
    arrivals.add(refund("all", "120000.01", after=100))
    for arrived in refunds[::-1]:
        kept, taken = arrivals.add(arrived)
        assert kept.gone
        assert taken == 0
    assert arrivals.refolded == 0
    assert keep(bought, arrivals.received).gone
