"""Lots: points that one rule gave for one thing, and the order in which they are spent and fall due."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class Lot(NamedTuple):
    """Points that one rule gave for one origin: what remains of them, and where the rest went; as its row.

    A pending lot becomes available at `activates_at`; if that is None, when its order is delivered, or else it is given
    up at `cancels_at`.
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
    """A number of points of a lot."""

    lot: Lot
    points: int


def spending_order(lot: Lot) -> tuple[datetime, datetime, UUID]:
    """The sort key in which lots are spent: soonest expiry (never comes last), then time of occurrence, then id."""
    return lot.expires_at or _NEVER, lot.occurred_at, lot.id


def next_due(lot: Lot) -> datetime | None:
    """The next instant at which a lot falls due: activation, giving up or expiry; None: never."""
    if not lot.remaining:
        return None
    if lot.pending:
        return lot.activates_at or lot.cancels_at
    return lot.expires_at


def earliest(first_at: datetime | None, second_at: datetime | None) -> datetime | None:
    """The earlier of two instants; None is never."""
    if first_at is None or second_at is None:
        return second_at if first_at is None else first_at
    return min(first_at, second_at)


def first(moments: Iterable[datetime | None]) -> datetime | None:
    """The earliest of some instants; None is never."""
    return min((moment for moment in moments if moment is not None), default=None)
