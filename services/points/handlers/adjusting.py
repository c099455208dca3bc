"""A correction by hand."""

from dataclasses import dataclass

from services.points.handlers.commands import Call, account_of, close_books, open_books, spendable
from services.points.rules.ledger import postings
from services.points.rules.ledger.accounts import ADJUSTMENT
from services.points.rules.ledger.transactions import Transaction
from services.points.store import adjustments
from services.points.store.adjustments import Made
from shared.postgres.pool import Connection


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Points up or down (not 0): the reason is told to the customer, the note to support; `principal` makes it."""

    points: int
    reason: str
    note: str | None
    principal: str


async def adjust(connection: Connection, call: Call, adjustment: Adjustment) -> Transaction:
    """Correct a balance, and publish it. It qualifies for no tier.

    Raises:
        InsufficientPointsError: more would be taken than is available.
    """
    books = await open_books(connection, call)
    lots = await spendable(connection, books, call, -adjustment.points) if adjustment.points < 0 else []
    reason = {"kind": ADJUSTMENT, "note": adjustment.reason}
    context = call.context(f"adjustment/{call.request_id}", reason)
    entry = postings.adjust(account_of(books, call), adjustment.points, lots, context, books.ids)
    books.record(entry, call.cause)
    await close_books(connection, books)
    transaction = entry.transaction
    made = Made(
        call.customer_id,
        transaction.id,
        adjustment.points,
        adjustment.reason,
        adjustment.note,
        adjustment.principal,
        call.now,
    )
    await adjustments.insert(connection, made)
    return transaction
