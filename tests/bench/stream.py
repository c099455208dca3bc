"""What the workers are fed: the grocer's purchases as they were, and streams made of them."""

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
    """All households, in the order of time."""
    return Year.read(datetime.now(UTC).date()).everything()


def purchases(year: Sample, count: int, start: int = 0) -> Iterator[CloudEvent]:
    """So many of the year's purchases, from the one at place `start` on."""
    return map(purchase, islice(year.baskets(), start, start + count))


def scattered(year: Sample, count: int, start: int, customer: Callable[[Random], str]) -> Iterator[CloudEvent]:
    """Such purchases, each by a customer that is drawn for it; always the same ones."""
    chance = Random(f"{_SEED}/{start}")
    for event in purchases(year, count, start):
        yield replace(event, data={**event.data, "customer_id": customer(chance)})
