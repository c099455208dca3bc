"""A customer's statement: lines of the ledger, and lines of the replay to compare them with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from services.points.rules.ledger.transactions import Transaction


class Line(NamedTuple):
    """The effect of a transaction, and the balances after it."""

    kind: str
    points: int
    available: int
    pending: int
    held: int
    debt: int
    earned: int
    redeemed: int

    @classmethod
    def of(cls, transaction: Transaction) -> "Line":
        """The line of a transaction of the replay."""
        after = transaction.account
        balances = (after.available, after.pending, after.held, after.debt, after.earned, after.redeemed)
        return cls(transaction.kind, transaction.points, *balances)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the ledger, with the fields that identify its cause."""

    id: str
    sequence: int
    line: Line
    reason: Mapping[str, Any]
    inputs: Mapping[str, Any]
    occurred_at: datetime
    recorded_at: datetime
    cause: str | None
    """The id of the event or request that caused it; None where it was not published."""
