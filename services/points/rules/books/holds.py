"""Holds that a request makes or captures (see maturity.py for their end)."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from services.points.rules.books import maturity
from services.points.rules.books.books import Books
from services.points.rules.books.state import Hold
from services.points.rules.books.trigger import Trigger
from services.points.rules.ledger import postings
from services.points.rules.ledger.lots import Lot, Portion, earliest
from services.points.rules.program.earning import Origin

CAPTURED: Final = "captured"
RELEASED: Final = "released"


class Reserved(NamedTuple):
    """What a request reserves: the points, the shop's reference, and until when."""

    customer_id: str
    points: int
    reference: str
    expires_at: datetime


class Captured(NamedTuple):
    """A hold after it was captured, and the redemption that it became."""

    hold: Hold
    redemption_id: UUID
    transaction_id: UUID


def reserve(books: Books, reserved: Reserved, lots: Iterable[Lot], trigger: Trigger) -> Hold:
    """Hold points; `lots` are open lots of the customer that suffice."""
    customer, points, reference, expires_at = reserved
    hold_id = next(books.ids)
    context = trigger.context(maturity.origin_of(hold_id), maturity.reason_of(hold_id))
    entry = postings.hold(books.state.accounts[customer], points, lots, context, books.ids)
    books.record(entry, trigger.cause)
    portions = tuple(
        (posting.lot_id, posting.points) for posting in entry.transaction.postings if posting.lot_id is not None
    )
    hold = Hold(
        hold_id, customer, reference, points, portions, maturity.OPEN, expires_at, created_at=trigger.recorded_at
    )
    books.keep_hold(hold)
    books.set_next_due(customer, earliest(books.state.accounts[customer].due_at, expires_at))
    return hold


def capture(books: Books, hold: Hold, points: int, trigger: Trigger) -> Captured:
    """Take points of an open hold for a redemption, and give the rest of the hold back; its lots are loaded."""
    customer = hold.customer_id
    taken, rest = _split(hold, books.lots_of(customer), points)
    redemption_id = next(books.ids)
    reason = maturity.reason_of(hold.id) | {"redemption_id": str(redemption_id)}
    context = trigger.context(str(Origin("redemption", str(redemption_id))), reason)
    entry = postings.capture(books.state.accounts[customer], taken, context, books.ids)
    transaction_id = books.record(entry, trigger.cause)
    left = tuple((portion.lot.id, portion.points) for portion in rest)
    hold = hold._replace(state=CAPTURED, portions=left, captured=points, redemption_id=redemption_id)
    if rest:
        hold = release(books, hold, trigger.recorded_at, CAPTURED)
    else:
        books.keep_hold(hold)
    return Captured(hold, redemption_id, transaction_id)


def release(books: Books, hold: Hold, at: datetime, state: str) -> Hold:
    """Give back what is held before it runs out; what expired meanwhile expires now. Returns the hold after it."""
    maturity.release(books, hold, at, state)
    maturity.expire_given_back(books, hold, at)
    return books.state.holds[hold.customer_id][hold.id]


def _split(hold: Hold, lots: Mapping[UUID, Lot], points: int) -> tuple[list[Portion], list[Portion]]:
    """The portions of a hold that are taken, in its order, and the rest."""
    taken: list[Portion] = []
    rest: list[Portion] = []
    for lot_id, held in hold.portions:
        part = min(points, held)
        points -= part
        if part:
            taken.append(Portion(lots[lot_id], part))
        if held > part:
            rest.append(Portion(lots[lot_id], held - part))
    return taken, rest
