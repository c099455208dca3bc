"""The exchange rates of documents."""

from collections.abc import Collection, Mapping
from typing import Final

from shared.programs.faults import Fault

_MOST_LISTED: Final = 10


def unpriced(priced: Collection[str], orders: Mapping[str, int], consequence: str) -> list[Fault]:
    """Warnings about currencies of orders that are not `priced`, the most frequent first.

    `orders` are numbers of orders by currency; `consequence` says in words what such orders are to the program.
    """
    total = sum(orders.values())
    missing = sorted((-count, currency) for currency, count in orders.items() if currency not in priced)
    return [
        Fault("/rates", f"{-count} of {total} orders looked at are in {currency}, which has no rate: {consequence}")
        for count, currency in missing[:_MOST_LISTED]
    ]
