"""Properties of what is kept of any order with any refunds."""

import itertools
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.kept import keep
from shared.contracts.refunds import Purchase, Refund
from shared.contracts.shop import Line, RefundLine
from tests.contracts.test_kept import DAY, amounts, refund

_MONEY = st.integers(0, 5000).map(lambda cents: f"{Decimal(cents) / 100:.2f}")
_QUANTITIES = st.integers(0, 3) | st.sampled_from(["0.5", "1.25"])


@st.composite
def orders(draw: st.DrawFn) -> Purchase:
    lines = [
        Line(f"l{index}", "sku", draw(_QUANTITIES), draw(st.just("0") | _MONEY))
        for index in range(draw(st.integers(0, 4)))
    ]
    total = sum((Decimal(line.amount) for line in lines), Decimal(0)) if lines else Decimal(draw(_MONEY))
    return Purchase("USD", f"{total}", tuple(lines))


@st.composite
def refunded_orders(draw: st.DrawFn) -> tuple[Purchase, list[Refund]]:
    bought = draw(orders())
    refunds: list[Refund] = []
    for index in range(draw(st.integers(0, 5))):
        time = DAY + timedelta(hours=draw(st.integers(0, 2)))
        if bought.lines and draw(st.booleans()):
            named = draw(st.lists(st.sampled_from([line.line_id for line in bought.lines]), min_size=1, max_size=3))
            lines = tuple(RefundLine(name, draw(_QUANTITIES), draw(_MONEY)) for name in named)
            amount = f"{sum(Decimal(line.amount) for line in lines)}"
        else:
            lines, amount = (), draw(_MONEY)
        refunds.append(Refund(f"r{index}", time, "USD", amount, lines))
    return bought, refunds


@given(refunded_orders())
def test_kept_plus_taken_equals_bought(case: tuple[Purchase, list[Refund]]):
    bought, refunds = case
    kept = keep(bought, refunds)
    assert kept.total + sum(refund.taken for refund in kept.refunds) == Fraction(bought.total)


@given(refunded_orders())
def test_kept_and_taken_amounts_are_within_bounds(
    case: tuple[Purchase, list[Refund]],
):
    bought, refunds = case
    kept = keep(bought, refunds)
    assert 0 <= kept.total <= Fraction(bought.total)
    assert all(
        0 <= amount <= Fraction(kept_line.line.amount)
        for kept_line, amount in zip(kept.lines, kept.amounts, strict=True)
    )
    assert all(0 <= refund.taken <= refund.asked for refund in kept.refunds)
    if bought.lines:
        assert sum(kept.amounts, Fraction(0)) == kept.total
        assert kept.gone == (not kept.lines)
    if kept.gone:
        assert kept.total == 0


@given(orders(), st.lists(_MONEY, max_size=6))
def test_proportional_refunds_are_exact_fractions(bought: Purchase, asked: list[str]):
    kept = keep(bought, [refund(f"r{index}", amount, after=index) for index, amount in enumerate(asked)])
    left, lines = Fraction(bought.total), {line.line_id: Fraction(line.amount) for line in bought.lines}
    for amount in map(Fraction, asked):
        share = 1 - amount / left if amount < left else Fraction(0)
        left, lines = left * share, {name: money * share for name, money in lines.items()}
    assert kept.total == left
    assert all(lines[name] == amount for name, amount in amounts(kept).items())


def test_many_refunds_keep_the_numbers_short():
    lines = tuple(Line(f"l{index}", "sku", 1, f"{index + 0.37:.2f}") for index in range(20))
    bought = Purchase("USD", f"{sum(Decimal(line.amount) for line in lines)}", lines)
    kept = keep(bought, [refund(f"r{index:03}", f"0.{index % 97 + 1:04}", after=index) for index in range(300)])
    assert kept.scale < 10**20


@given(refunded_orders(), st.data())
def test_the_order_of_arrival_does_not_matter(case: tuple[Purchase, list[Refund]], content: st.DataObject):
    bought, refunds = case
    assert keep(bought, content.draw(st.permutations(refunds))) == keep(bought, refunds)


@given(refunded_orders())
def test_a_refund_never_raises_what_is_kept(case: tuple[Purchase, list[Refund]]):
    bought, refunds = case
    in_order = sorted(refunds, key=lambda refund: (refund.time, refund.refund_id))
    steps = [keep(bought, in_order[:count]) for count in range(len(refunds) + 1)]
    for before, after in itertools.pairwise(steps):
        assert amounts(after).keys() <= amounts(before).keys()
        assert all(amount <= amounts(before)[name] for name, amount in amounts(after).items())
        assert after.total <= before.total
        assert before.gone <= after.gone


@given(orders(), st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(0, 100))
def test_partial_refunds_equal_one_full_one(bought: Purchase, weights: list[int], percent: int):
    whole = Decimal(bought.total) * percent / 100
    parts = [(whole * weight / sum(weights)).quantize(Decimal("0.0001")) for weight in weights]
    partial = [refund(f"r{index}", f"{part:f}", after=index) for index, part in enumerate(parts)]
    in_parts = keep(bought, partial)
    at_once = keep(bought, [refund("r", f"{sum(parts):f}")])
    assert (in_parts.total, amounts(in_parts), in_parts.gone) == (at_once.total, amounts(at_once), at_once.gone)


@given(orders().filter(lambda bought: bool(bought.lines)))
def test_partial_refunds_line_by_line_equal_one_of_all_lines(bought: Purchase):
    lines = tuple(RefundLine(line.line_id, line.quantity, line.amount) for line in bought.lines)
    one_by_one = [Refund(f"r{index}", DAY, "USD", line.amount, (line,)) for index, line in enumerate(lines)]
    kept, at_once = keep(bought, one_by_one), keep(bought, [Refund("r", DAY, "USD", bought.total, lines)])
    assert (kept.total, kept.lines, kept.gone) == (at_once.total, at_once.lines, at_once.gone)
    assert kept.gone
