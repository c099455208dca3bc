"""Divides long computations, so that other tasks of the event loop run in between."""

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, TypeVar

_AT_ONCE: Final = 8

A = TypeVar("A")
B = TypeVar("B")


async def map_in_turns(function: Callable[[A], B], items: Iterable[A]) -> list[B]:
    """Apply `function` to every item, a few at a time; in between, other tasks can process answers of the database.

    A long computation without breaks would delay them. Steps smaller than these cost more than they save.
    """
    results: list[B] = []
    left = iter(items)
    while some := tuple(islice(left, _AT_ONCE)):
        await asyncio.sleep(0)
        results.extend(map(function, some))
    return results
