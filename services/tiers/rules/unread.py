"""Refunds of an order that have to be read before another refund can be judged."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.contracts.refunds import Place, Refund

Pool = str | None
"""What refunds take money from: a line, by its id, or all the money of an order (None)."""


@dataclass(frozen=True, slots=True)
class RefundQuery:
    """Asks for the last `count` refunds of an order that take from a pool, up to and including a place."""

    pool: Pool
    until: Place
    count: int


@dataclass(frozen=True, slots=True)
class QueriedRefunds:
    """The result of a query, the latest refund first."""

    query: RefundQuery
    refunds: Sequence[Refund]

    def reaches(self, place: Place) -> bool:
        """Whether it has all refunds of the pool that count after a place."""
        return len(self.refunds) < self.query.count or self.refunds[-1].place <= place


class UnreadRefundsError(LookupError):
    """The effect of a refund depends on other refunds of its order, which were not read."""

    def __init__(self, queries: Sequence[RefundQuery] | None) -> None:
        """`queries` ask for the missing refunds; None: all refunds of the order have to be read."""
        super().__init__()
        self.queries = queries
