"""Holds: points are reserved, then taken in whole or in part, or given back."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from services.points.handlers.commands import Call, account_of, close_books, open_books, spendable
from services.points.handlers.spending import NotFoundError, ReferenceUsedError, RefusedError
from services.points.rules.books import maturity
from services.points.rules.books.books import Books
from services.points.rules.books.state import Hold
from services.points.rules.ledger import postings
from services.points.rules.ledger.lots import Lot, Portion, earliest
from services.points.store import holds, lots, redemptions
from services.points.store.redemptions import Redemption
from shared.postgres.pool import Connection

CAPTURED = "captured"
RELEASED = "released"


class NotOpenError(Exception):
    """The hold was captured, released, or ran out; tells which."""

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
    """Hold points; the same reference again gives the first hold while that, or what was captured of it, stands.

    Raises:
        ReferenceUsedError: the first hold was released or ran out, or what was captured of it was cancelled.
        RefusedError: reference_conflict, it was used for other points.
        InsufficientPointsError: more is asked for than is available.
    """
    books = await open_books(connection, call)
    known = await holds.by_reference(connection, call.customer_id, wanted.reference)
    if known is not None:
        known = books.changes.holds.get(known.id, known)
        if not await _stands(connection, known):
            raise ReferenceUsedError(known)
        if known.points != wanted.points:
            raise RefusedError("reference_conflict", "The reference was used for other points.")
        await close_books(connection, books)
        return known
    found = await spendable(connection, books, call, wanted.points)
    hold_id = next(books.ids)
    context = call.context(f"hold/{hold_id}", {"kind": "hold", "hold_id": str(hold_id)})
    entry = postings.hold(account_of(books, call), wanted.points, found, context, books.ids)
    books.record(entry, call.cause)
    held = tuple((one.lot_id, one.points) for one in entry.transaction.postings if one.lot_id is not None)
    hold = Hold(
        id=hold_id,
        customer_id=call.customer_id,
        reference=wanted.reference,
        points=wanted.points,
        portions=held,
        state=maturity.OPEN,
        expires_at=call.now + wanted.expires_in,
        created_at=call.now,
    )
    maturity.keep_hold(books, hold)
    account = account_of(books, call)
    due_at = earliest(account.due_at, hold.expires_at)
    books.state.accounts[call.customer_id] = account._replace(due_at=due_at)
    await close_books(connection, books)
    return hold


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
    books, hold = await _open(connection, hold_id, call)
    if hold.state != maturity.OPEN:
        raise NotOpenError(hold.state)
    wanted = hold.points if points is None else points
    if wanted > hold.points:
        raise ExceedsHoldError
    taken, rest = _split(hold, books.lots_of(call.customer_id), wanted)
    redemption_id = next(books.ids)
    reason = {"kind": "hold", "hold_id": str(hold.id), "redemption_id": str(redemption_id)}
    entry = postings.capture(
        account_of(books, call), taken, call.context(f"redemption/{redemption_id}", reason), books.ids
    )
    transaction_id = books.record(entry, call.cause)
    left = tuple((portion.lot.id, portion.points) for portion in rest)
    hold = hold._replace(state=CAPTURED, portions=left, captured=wanted, redemption_id=redemption_id)
    if rest:
        maturity.release(books, hold, call.now, CAPTURED)
        maturity.expire_given_back(books, hold, call.now)
        hold = books.changes.holds[hold.id]
    else:
        maturity.keep_hold(books, hold)
    redemption = Redemption(
        id=redemption_id,
        customer_id=call.customer_id,
        points=wanted,
        reward_id=None,
        quantity=None,
        reference=None,
        hold_id=hold.id,
        transaction_id=transaction_id,
        created_at=call.now,
        cancelled_at=None,
    )
    await close_books(connection, books, redemption)
    return hold


async def release(connection: Connection, hold_id: UUID, call: Call) -> Hold:
    """Give back what is held; again it has no effect.

    Raises:
        NotFoundError: the customer of the call has no such hold.
        NotOpenError: it was captured.
    """
    books, hold = await _open(connection, hold_id, call)
    if hold.state == CAPTURED:
        raise NotOpenError(hold.state)
    if hold.state == maturity.OPEN:
        maturity.release(books, hold, call.now, RELEASED)
        maturity.expire_given_back(books, hold, call.now)
        hold = books.changes.holds[hold.id]
    await close_books(connection, books)
    return hold


async def _open(connection: Connection, hold_id: UUID, call: Call) -> tuple[Books, Hold]:
    """The books of the call's customer with the hold as it is now, and its lots."""
    books = await open_books(connection, call)
    hold = books.changes.holds.get(hold_id) or await holds.find(connection, hold_id)
    if hold is None or hold.customer_id != call.customer_id:
        raise NotFoundError
    known = books.lots_of(call.customer_id)
    if missing := [lot_id for lot_id, _ in hold.portions if lot_id not in known]:
        books.know(await lots.by_id(connection, missing))
    return books, hold


def _split(hold: Hold, known: dict[UUID, Lot], points: int) -> tuple[list[Portion], list[Portion]]:
    """What is taken of a hold, in its order, and the rest."""
    taken: list[Portion] = []
    rest: list[Portion] = []
    for lot_id, held in hold.portions:
        part = min(points, held)
        points -= part
        if part:
            taken.append(Portion(known[lot_id], part))
        if held > part:
            rest.append(Portion(known[lot_id], held - part))
    return taken, rest
