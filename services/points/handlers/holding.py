"""Holds: points are reserved, then captured in whole or in part, or given back."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from services.points.handlers.commands import Call, OpenBooks, open_books
from services.points.handlers.spending import NotFoundError, ReferenceUsedError, RefusedError
from services.points.rules.books import holds as rules
from services.points.rules.books import maturity
from services.points.rules.books.holds import CAPTURED, RELEASED, Reserved
from services.points.rules.books.state import Hold
from services.points.store import holds, redemptions
from services.points.store.redemptions import Redemption
from shared.postgres.pool import Connection


class NotOpenError(Exception):
    """The hold is not open: `state` is captured, released or expired."""

    def __init__(self, state: str) -> None:
        super().__init__(f"the hold is {state}")
        self.state = state


class ExceedsHoldError(Exception):
    """More was to be captured than is held."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Points to be held for a time; the reference is unique among the customer's holds."""

    points: int
    reference: str
    expires_in: timedelta


async def reserve(connection: Connection, call: Call, wanted: Reservation) -> Hold:
    """Hold points; the same reference again returns the first hold while that, or its redemption, stands.

    Raises:
        ReferenceUsedError: the first hold was released or ran out, or its redemption was cancelled.
        RefusedError: reference_conflict, the reference was used for other points.
        InsufficientPointsError: more is asked for than is available.
    """
    async with open_books(connection, call) as opened:
        first = await holds.by_reference(connection, call.customer_id, wanted.reference)
        if first is not None:
            first = opened.books.changes.holds.get(first.id, first)
            if not await _stands(connection, first):
                raise ReferenceUsedError(first)
            if first.points != wanted.points:
                raise RefusedError("reference_conflict", "The reference was used for other points.")
            return first
        lots = await opened.spendable(wanted.points)
        reserved = Reserved(call.customer_id, wanted.points, wanted.reference, call.now + wanted.expires_in)
        return rules.reserve(opened.books, reserved, lots, call.trigger)


async def _stands(connection: Connection, hold: Hold) -> bool:
    """Whether the points of a hold are still reserved, or were spent and not given back since."""
    if hold.redemption_id is None:
        return hold.state == maturity.OPEN
    redemption = await redemptions.find(connection, hold.redemption_id)
    return redemption is not None and redemption.cancelled_at is None


async def capture(connection: Connection, hold_id: UUID, call: Call, points: int | None) -> Hold:
    """Take what is held, or a part of it, which gives the rest back.

    Raises:
        NotFoundError: the customer of the call has no such hold.
        NotOpenError: it is not open any more.
        ExceedsHoldError: more is asked for than is held.
    """
    async with open_books(connection, call) as opened:
        hold = await _find(opened, hold_id)
        if hold.state != maturity.OPEN:
            raise NotOpenError(hold.state)
        wanted = hold.points if points is None else points
        if wanted > hold.points:
            raise ExceedsHoldError
        captured = rules.capture(opened.books, hold, wanted, call.trigger)
        opened.redemption = Redemption(
            id=captured.redemption_id,
            customer_id=call.customer_id,
            points=wanted,
            reward_id=None,
            quantity=None,
            reference=None,
            hold_id=hold.id,
            transaction_id=captured.transaction_id,
            created_at=call.now,
            cancelled_at=None,
        )
        return captured.hold


async def release(connection: Connection, hold_id: UUID, call: Call) -> Hold:
    """Give back what is held; releasing it again has no effect.

    Raises:
        NotFoundError: the customer of the call has no such hold.
        NotOpenError: it was captured.
    """
    async with open_books(connection, call) as opened:
        hold = await _find(opened, hold_id)
        if hold.state == CAPTURED:
            raise NotOpenError(hold.state)
        if hold.state == maturity.OPEN:
            hold = rules.release(opened.books, hold, call.now, RELEASED)
        return hold


async def _find(opened: OpenBooks, hold_id: UUID) -> Hold:
    """A hold of the call's customer as it is now; its lots are loaded."""
    hold = opened.books.changes.holds.get(hold_id) or await holds.find(opened.connection, hold_id)
    if hold is None or hold.customer_id != opened.call.customer_id:
        raise NotFoundError
    await opened.load_lots([lot_id for lot_id, _ in hold.portions])
    return hold
