"""A correction by hand."""

from dataclasses import dataclass

from services.points.handlers.commands import Call, account_of, close_books, open_books, spendable
from services.points.rules import movements
from services.points.rules.ledger import Transaction
from shared.postgres.pool import Connection


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Points up or down (not 0), with the reason for the books and a note."""

    points: int
    reason: str
    note: str | None


async def adjust(connection: Connection, call: Call, adjustment: Adjustment) -> Transaction:
    """Correct a balance, and tell of it. It qualifies for no tier.

    Raises:
        InsufficientPointsError: more would be taken than is available.
    """
    books = await open_books(connection, call)
    lots = await spendable(connection, books, call, -adjustment.points) if adjustment.points < 0 else []
    occasion = call.occasion(
        f"adjustment/{call.request_id}",
        {"kind": "adjustment", "note": adjustment.note or adjustment.reason},
        {"reason": adjustment.reason, "note": adjustment.note},
    )
    movement = movements.adjust(account_of(books, call), adjustment.points, lots, occasion, books.ids)
    books.record(movement, call.cause)
    await close_books(connection, books)
    return movement.transaction
