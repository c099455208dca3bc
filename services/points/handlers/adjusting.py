"""A correction by hand."""

from dataclasses import dataclass

from services.points.handlers.commands import Call, open_books
from services.points.rules.ledger import postings
from services.points.rules.ledger.accounts import ADJUSTMENT
from services.points.rules.ledger.transactions import Transaction
from services.points.store import adjustments
from services.points.store.adjustments import Made
from shared.postgres.pool import Connection


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Points up or down (not 0), made by `principal`: customers see the reason, only support sees the note."""

    points: int
    reason: str
    note: str | None
    principal: str


async def adjust(connection: Connection, call: Call, adjustment: Adjustment) -> Transaction:
    """Correct a balance, and publish the correction. It qualifies for no tier.

    Raises:
        InsufficientPointsError: it takes more than is available.
    """
    async with open_books(connection, call) as opened:
        lots = await opened.spendable(-adjustment.points) if adjustment.points < 0 else []
        context = call.context(ADJUSTMENT, call.request_id, {"kind": ADJUSTMENT, "note": adjustment.reason})
        entry = postings.adjust(opened.account, adjustment.points, lots, context, opened.books.ids)
        opened.record(entry)
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
