"""Lots: points that one rule gave for one thing, and the order in which they are spent and fall due."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class Lot(NamedTuple):
    """Points that one rule gave for one thing: what remains of them, and where the rest went; as its row.

    A pending one becomes available at `activates_at`; where that is None, when its order is delivered,
    and it is given up at `cancels_at`.
    """

    id: UUID
    customer_id: str
    transaction_id: UUID
    origin: str
    rule: str
    granted: int
    remaining: int
    held: int
    spent: int
    reversed: int
    expired: int
    pending: bool
    occurred_at: datetime
    activates_at: datetime | None
    cancels_at: datetime | None
    expires_at: datetime | None


class Grant(msgspec.Struct, frozen=True, gc=False):
    """Points that a rule gives; pending ones become available later."""

    rule: str
    points: int
    pending: bool = False
    activates_at: datetime | None = None
    cancels_at: datetime | None = None
    expires_at: datetime | None = None


class Portion(NamedTuple):
    """So many points of a lot."""

    lot: Lot
    points: int


def spending_order(lot: Lot) -> tuple[datetime, datetime, UUID]:
    """Lots go in the order: expiry soonest (never last), age by occurrence, id."""
    return lot.expires_at or _NEVER, lot.occurred_at, lot.id


def next_due(lot: Lot) -> datetime | None:
    """The next instant at which something falls due for a lot: activation, giving up, expiry."""
    if not lot.remaining:
        return None
    if lot.pending:
        return lot.activates_at or lot.cancels_at
    return lot.expires_at


def earliest(one: datetime | None, other: datetime | None) -> datetime | None:
    """The earlier of two instants; None is never."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def first(moments: Iterable[datetime | None]) -> datetime | None:
    """The first of some instants; None is never."""
    return min((moment for moment in moments if moment is not None), default=None)
