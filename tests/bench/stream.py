"""The input of workers: the grocer's purchases, and streams made of them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from random import Random
from typing import Final

from deploy.sample.cloudevent import CloudEvent
from deploy.sample.grocer import Sample, Year, purchase

_SEED: Final = 5


def read_year() -> Sample:
    """The year of all households, in the order of time."""
    return Year.read(datetime.now(UTC).date()).everything()


def purchases(year: Sample, count: int, start: int = 0) -> Iterator[CloudEvent]:
    """`count` purchases of the year from index `start` on."""
    return map(purchase, islice(year.baskets(), start, start + count))


def scattered(year: Sample, count: int, start: int, customer: Callable[[Random], str]) -> Iterator[CloudEvent]:
    """The same purchases with random customers, the same in every run."""
    chance = Random(f"{_SEED}/{start}")
    for event in purchases(year, count, start):
        yield replace(event, data={**event.data, "customer_id": customer(chance)})
