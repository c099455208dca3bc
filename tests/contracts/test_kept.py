"""What is kept of an order: a case for each sentence of the contract on refunds."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from shared.contracts.kept import keep
from shared.contracts.reasons import Reason
from shared.contracts.refunds import Kept, Purchase, Refund, misfit
from shared.contracts.shop import Line, PurchaseCompleted, PurchaseRefunded, RefundLine
from tests.contracts.records import PURCHASE, REFUND, data

DAY = datetime(2026, 3, 14, tzinfo=UTC)


def order(*lines: tuple[str, str, str], total: str | None = None) -> Purchase:
    """An order of lines (id, quantity, amount), or of a total alone."""
    order_lines = tuple(Line(line_id, f"sku-{line_id}", quantity, amount) for line_id, quantity, amount in lines)
    return Purchase("USD", total or f"{sum(Decimal(line.amount) for line in order_lines)}", order_lines)


def refund(name: str, amount: str, *lines: tuple[str, str, str], after: int = 0) -> Refund:
    """A refund of an amount, or of lines (id, quantity, amount), `after` hours after the order."""
    refund_lines = tuple(RefundLine(*line) for line in lines)
    return Refund(name, DAY + timedelta(hours=after), "USD", amount, refund_lines)


def by_lines(name: str, *lines: tuple[str, str, str], after: int = 0) -> Refund:
    return refund(name, f"{sum(Decimal(amount) for _, _, amount in lines)}", *lines, after=after)


def amounts(kept: Kept) -> dict[str, Fraction]:
    return {kept_line.line.line_id: amount for kept_line, amount in zip(kept.lines, kept.amounts, strict=True)}


TWO = order(("a", "2", "60.00"), ("b", "1", "40.00"))
WITH_GIFT = order(("a", "2", "60.00"), ("gift", "2", "0.00"))


def test_without_refunds_everything_is_kept():
    kept = keep(TWO, [])
    assert (kept.total, amounts(kept), kept.refunds, kept.gone) == (100, {"a": 60, "b": 40}, (), False)


def test_purchases_and_refunds_have_the_values_of_their_events():
    bought = PurchaseCompleted.model_validate(data(PURCHASE))
    back = PurchaseRefunded.model_validate(data(REFUND))
    kept = keep(Purchase.of(bought), [Refund.of(back, DAY)])
    assert kept.total == Fraction("104.95")
    assert amounts(kept) == {"1": Fraction("24.95"), "2": 80, "3": 0}
    assert [(refund.refund_id, refund.asked, refund.taken) for refund in kept.refunds] == [
        ("RF-2026-311", Fraction("24.95"), Fraction("24.95"))
    ]


# (order, refunds, kept amounts by line, total, gone) for each sentence of events.md
SENTENCES = {
    "each line of a refund lowers its own line": (
        TWO,
        [by_lines("r", ("a", "1", "30.00"))],
        {"a": 30, "b": 40},
        70,
        False,
    ),
    "a line is gone when all its money is refunded": (TWO, [by_lines("r", ("a", "2", "60.00"))], {"b": 40}, 40, False),
    "a line whose quantity but not whose money is refunded is kept": (
        TWO,
        [by_lines("r", ("a", "2", "59.99"))],
        {"a": Fraction("0.01"), "b": 40},
        Fraction("40.01"),
        False,
    ),
    "the same line_id twice adds up": (
        TWO,
        [by_lines("r", ("a", "1", "20.00"), ("a", "1", "25.00"))],
        {"a": 15, "b": 40},
        55,
        False,
    ),
    "a free line is gone when its quantity is returned": (
        WITH_GIFT,
        [by_lines("r", ("gift", "2", "0"))],
        {"a": 60},
        60,
        False,
    ),
    "a free line that is returned in part is kept": (
        WITH_GIFT,
        [by_lines("r", ("gift", "1", "0"))],
        {"a": 60, "gift": 0},
        60,
        False,
    ),
    "returned quantities of a free line add up": (
        WITH_GIFT,
        [by_lines("r", ("gift", "1", "0")), by_lines("s", ("gift", "1", "0"))],
        {"a": 60},
        60,
        False,
    ),
    "a returned quantity above the bought quantity counts as all of it": (
        WITH_GIFT,
        [by_lines("r", ("gift", "9", "0"))],
        {"a": 60},
        60,
        False,
    ),
    "a free line of quantity 0 is kept until a refund names it": (
        order(("a", "1", "5.00"), ("gift", "0", "0.00")),
        [by_lines("r", ("a", "1", "5.00"))],
        {"gift": 0},
        0,
        False,
    ),
    "a free line of quantity 0 is gone when a refund names it": (
        order(("a", "1", "5.00"), ("gift", "0", "0.00")),
        [by_lines("r", ("gift", "0", "0"))],
        {"a": 5},
        5,
        False,
    ),
    "without lines, every line is lowered by the same fraction": (
        TWO,
        [refund("r", "25.00")],
        {"a": 45, "b": 30},
        75,
        False,
    ),
    "the fraction is of what is kept at that time": (
        TWO,
        [by_lines("r", ("a", "2", "60.00")), refund("s", "10.00", after=1)],
        {"b": 30},
        30,
        False,
    ),
    "fractions are exact": (
        order(("a", "1", "1.00"), ("b", "1", "1.00"), ("c", "1", "1.00")),
        [refund("r", "1.00")],
        {"a": Fraction(2, 3), "b": Fraction(2, 3), "c": Fraction(2, 3)},
        2,
        False,
    ),
    "a refund above what is kept takes what is kept": (TWO, [refund("r", "100.01")], {}, 0, True),
    "a refund above what is kept of a line takes what is kept of it": (
        TWO,
        [by_lines("r", ("a", "2", "75.00"))],
        {"b": 40},
        40,
        False,
    ),
    "a refund without lines that takes all the money takes the free lines too": (
        WITH_GIFT,
        [refund("r", "60.00")],
        {},
        0,
        True,
    ),
    "a refund with lines that takes all the money does not take the free lines": (
        WITH_GIFT,
        [by_lines("r", ("a", "2", "60.00"))],
        {"gift": 0},
        0,
        False,
    ),
    "a free line that was taken stays gone": (
        WITH_GIFT,
        [refund("r", "60.00"), by_lines("s", ("gift", "1", "0"), after=1)],
        {},
        0,
        True,
    ),
    "an order without lines is lowered by the amount": (order(total="100.00"), [refund("r", "30.00")], {}, 70, False),
    "an order without lines is lowered by the amount of a refund with lines": (
        order(total="100.00"),
        [by_lines("r", ("a", "1", "20.00"), ("b", "1", "10.00"))],
        {},
        70,
        False,
    ),
    "an order without lines that is refunded in full is gone": (
        order(total="100.00"),
        [refund("r", "60.00"), refund("s", "40.00")],
        {},
        0,
        True,
    ),
    "a refund of nothing takes nothing": (TWO, [refund("r", "0.00")], {"a": 60, "b": 40}, 100, False),
    "a free order is kept": (order(("gift", "1", "0.00")), [], {"gift": 0}, 0, False),
    "a free order is gone with a refund of all its money, which is 0": (
        order(("gift", "1", "0.00")),
        [refund("r", "0.00")],
        {},
        0,
        True,
    ),
    "an order is gone when each line is": (
        WITH_GIFT,
        [by_lines("r", ("a", "2", "60.00"), ("gift", "2", "0"))],
        {},
        0,
        True,
    ),
}


@pytest.mark.parametrize(("bought", "refunds", "lines", "total", "gone"), SENTENCES.values(), ids=SENTENCES.keys())
def test_sentences_of_the_contract(
    bought: Purchase, refunds: list[Refund], lines: dict[str, Fraction], total: Fraction, gone: bool
):
    kept = keep(bought, refunds)
    assert (amounts(kept), kept.total, kept.gone) == (lines, total, gone)


def test_each_refund_reports_the_requested_and_the_taken_amount():
    kept = keep(TWO, [by_lines("r", ("a", "2", "70.00")), refund("s", "50.00", after=1), refund("t", "1.00", after=2)])
    assert [(refund.refund_id, refund.asked, refund.taken) for refund in kept.refunds] == [
        ("r", 70, 60),
        ("s", 50, 40),
        ("t", 1, 0),
    ]


def test_refunds_are_applied_by_time_then_id():
    by_line, by_fraction = by_lines("r", ("a", "2", "60.00")), refund("s", "20.00")
    first_by_line = keep(TWO, [by_line, by_fraction])
    assert amounts(first_by_line) == {"b": 20}
    later = Refund("r", by_line.time + timedelta(microseconds=1), "USD", by_line.amount, by_line.lines)
    assert amounts(keep(TWO, [later, by_fraction])) == {"b": 32}
    assert [refund.taken for refund in keep(TWO, [later, by_fraction]).refunds] == [20, 48]


@pytest.mark.parametrize(
    ("bought", "back", "reason"),
    [
        (TWO, refund("r", "1.00"), None),
        (TWO, by_lines("r", ("a", "1", "1.00")), None),
        (TWO, by_lines("r", ("a", "1", "1.00"), ("z", "1", "0")), Reason.UNKNOWN_LINE),
        (TWO, Refund("r", DAY, "EUR", "1.00"), Reason.CURRENCY_MISMATCH),
        (TWO, Refund("r", DAY, "EUR", "1.00", (RefundLine("z", 1, "1.00"),)), Reason.CURRENCY_MISMATCH),
        (order(total="5.00"), by_lines("r", ("z", "1", "1.00")), None),
    ],
)
def test_refunds_that_do_not_fit_their_order(bought: Purchase, back: Refund, reason: Reason | None):
    mismatch = misfit(bought, back)
    assert (mismatch[0] if mismatch else None) is reason
