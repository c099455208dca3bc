"""Work of the processor in turns with what waits for the network, on one event loop."""

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, TypeVar

_AT_ONCE: Final = 8

A = TypeVar("A")
B = TypeVar("B")


async def map_in_turns(function: Callable[[A], B], items: Iterable[A]) -> list[B]:
    """`function` of every item, a few at a time: in between, an answer that came is taken up.

    While the database works on a statement, the processor is free; while a long list is made in one
    go, the database's answer waits. Smaller steps than these cost more than they win.
    """
    made: list[B] = []
    left = iter(items)
    while some := tuple(islice(left, _AT_ONCE)):
        await asyncio.sleep(0)
        made.extend(map(function, some))
    return made
