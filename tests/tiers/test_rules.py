"""The rules by tables: amounts, the program, and what an order changes."""

from dataclasses import replace
from fractions import Fraction

import pytest

from services.tiers.rules.amount import missing_text, reached_text
from services.tiers.rules.metrics import Amount
from services.tiers.rules.orders import bought, takings_of
from services.tiers.store.fractions import from_columns, to_columns
from shared.contracts.orders import Order
from shared.contracts.refunds import Refund
from tests.tiers.programs import program
from tests.tiers.shop import day, purchase


@pytest.mark.parametrize(
    ("amount", "reached", "missing"),
    [
        ("0", "0.00", "0.00"),
        ("500", "500.00", "500.00"),
        ("0.5", "0.50", "0.50"),
        ("12.3456", "12.3456", "12.3456"),
        ("12.345", "12.345", "12.345"),
        ("4/3", "1.3333", "1.3334"),
        ("1/100000", "0.00", "0.0001"),
        ("1499999/3000", "499.9996", "499.9997"),
    ],
)
def test_amounts_as_text(amount: str, reached: str, missing: str):
    assert (reached_text(Fraction(amount)), missing_text(Fraction(amount))) == (reached, missing)


@pytest.mark.parametrize("amount", ["0", "1", "125000", "40000/3", "9999999999999999", "1/10", "123456789/7"])
def test_money_comes_back_from_its_columns(amount: str):
    columns = to_columns("spend", simplest(Fraction(amount)))
    assert from_columns("spend", *columns) == Fraction(amount)
    assert (columns[1] == 1) == (Fraction(amount).denominator == 1)


def simplest(amount: Fraction) -> Amount:
    return amount.numerator if amount.denominator == 1 else amount


def test_a_tier_that_the_program_does_not_have():
    with pytest.raises(KeyError, match="bronze"):
        program().tier("bronze")


def test_refunds_move_spend_on_the_day_of_their_order():
    refunds = [Refund("b", day(3), "USD", "9.00"), Refund("a", day(0), "USD", "2.00")]
    order = replace(Order.of(purchase("1", "10.00", day(1))), refunds=tuple(refunds))
    assert [(change.at, change.metric, change.amount) for change in (*bought(order), *takings_of(order))] == [
        (day(1), "spend", 100_000),
        (day(1), "orders", 1),
        (day(1), "spend", -20_000),  # its clock was behind: it counts with the order
        (day(3), "spend", -80_000),
        (day(3), "orders", -1),
    ]
    assert {change.earned_at for change in takings_of(order)} == {day(1)}
