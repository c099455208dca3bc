"""The rules by tables: amounts, the window, the program, and what replaces a timeline."""

from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import pytest

from services.tiers.rules import by_spend
from services.tiers.rules.amount import missing_text, reached_text
from services.tiers.rules.spend import changes_of, kept_of
from services.tiers.rules.timeline import Entry, Timeline, difference, tier_at
from services.tiers.rules.window import Window, first_day, start_of
from services.tiers.store.fractions import from_columns, to_columns
from shared.contracts.orders import Order
from shared.contracts.refunds import Refund
from tests.tiers.programs import program
from tests.tiers.shop import day, purchase, refund

PROGRAM = program()


def timeline(*entries: tuple[float, str]) -> Timeline:
    return tuple(Entry(day(days), tier) for days, tier in entries)


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


@pytest.mark.parametrize("amount", ["0", "0.0001", "12.5", "4/3", "999999999999.9999", "1/100000", "123456789/7"])
def test_an_amount_comes_back_from_its_columns(amount: str):
    columns = to_columns(Fraction(amount))
    assert from_columns(*columns) == Fraction(amount)
    assert (columns[1] == 1) == (10_000 % Fraction(amount).denominator == 0)


@pytest.mark.parametrize(
    ("spend", "tier"), [("0", "member"), ("499.9999", "member"), ("500", "silver"), ("1500", "gold"), ("9e9", "gold")]
)
def test_the_highest_tier_that_spend_reaches(spend: str, tier: str):
    assert by_spend.reached(PROGRAM, Fraction(spend)).id == tier


def test_a_tier_that_the_program_does_not_have():
    with pytest.raises(KeyError, match="bronze"):
        PROGRAM.tier("bronze")


@pytest.mark.parametrize(
    ("old", "new", "replaced"),
    [
        ((), (), ()),
        (((1, "silver"),), ((1, "silver"),), ()),
        ((), ((1, "silver"),), ((1, "silver"),)),
        (((1, "silver"),), ((1, "silver"), (2, "gold")), ((2, "gold"),)),
        (((2, "silver"),), ((1, "silver"),), ((1, "silver"),)),
        (((1, "silver"),), ((1, "gold"),), ((1, "gold"),)),
        (((1, "silver"), (3, "gold")), ((2, "silver"), (4, "gold")), ((1, "member"), (2, "silver"), (4, "gold"))),
        (((1, "silver"), (2, "gold")), ((1, "silver"),), ((2, "silver"),)),
        (((1, "silver"), (2, "gold")), (), ((1, "member"),)),
        (((1, "silver"), (2, "gold")), ((1, "silver"), (3, "gold")), ((2, "silver"), (3, "gold"))),
        (((1, "silver"), (2, "gold")), ((2, "gold"),), ((1, "member"), (2, "gold"))),
    ],
)
def test_what_replaces_a_timeline(
    old: tuple[tuple[float, str], ...], new: tuple[tuple[float, str], ...], replaced: tuple[tuple[float, str], ...]
):
    assert difference(PROGRAM, timeline(*old), timeline(*new)) == timeline(*replaced)


@pytest.mark.parametrize(
    ("days", "tier", "since"), [(0.9, "member", None), (1, "silver", 1), (1.9, "silver", 1), (2, "gold", 2)]
)
def test_the_tier_at_an_instant(days: float, tier: str, since: float | None):
    current, current_since = tier_at(PROGRAM, timeline((1, "silver"), (2, "gold")), day(days))
    assert (current.id, current_since) == (tier, since and day(since))


class TestWindow:
    def test_it_forgets_what_is_behind_it(self):
        window = Window()
        window.move(1000)
        for amount, at in ((1, 1000), (10, 900), (100, 636), (1000, 635)):
            window.add(at, Fraction(amount))
        assert window.spend == 111
        window.move(1001)
        assert window.spend == 11
        window.add(636, Fraction(-100))
        assert window.spend == 11
        window.move(1300)
        assert window.spend == 1

    def test_it_never_moves_back(self):
        window = Window()
        window.move(1000)
        window.move(900)
        window.add(600, Fraction(1))
        assert window.spend == 0

    def test_its_first_day_can_lie_before_the_calendar(self):
        assert start_of(first_day(1)) == datetime(1, 1, 1, tzinfo=UTC)


def test_refunds_move_spend_on_the_day_of_their_order():
    refunds = [
        Refund.of(event.data, event.time)
        for event in (refund("1", "b", "9.00", day(3)), refund("1", "a", "2.00", day(0)))
    ]
    order = replace(Order.of(purchase("1", "10.00", day(1))), refunds=tuple(refunds))
    bought = day(1).toordinal()
    assert [(change.at, change.day, change.amount) for change in changes_of(order)] == [
        (day(1), bought, 10),
        (day(1), bought, -2),  # its clock was behind: it counts with the order
        (day(3), bought, -8),
    ]
    assert kept_of(order) == 0
