"""What every request that moves a customer's points begins and ends with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.points.handlers.announcing import new_ids, write_command
from services.points.rules.books.books import Books, Trigger, plain_context
from services.points.rules.books.maturity import apply_due
from services.points.rules.books.state import State
from services.points.rules.ledger.accounts import Account
from services.points.rules.ledger.lots import Lot
from services.points.rules.ledger.transactions import TransactionContext
from services.points.rules.program.ruleset import RuleBook
from services.points.store import available, loading, rules
from services.points.store.redemptions import Redemption
from shared.contracts.envelope import Cause
from shared.postgres.pool import Connection


class InsufficientPointsError(Exception):
    """More was to be taken than is available; tells how much is missing."""

    def __init__(self, missing: int) -> None:
        super().__init__(f"{missing} points are missing")
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Call:
    """A request that moves points: of whom, which (its id is the cause of what is published), and when."""

    customer_id: str
    request_id: str
    now: datetime

    @property
    def cause(self) -> Cause:
        """The request is the root of what follows from it."""
        return Cause.of_request(self.request_id)

    @property
    def trigger(self) -> Trigger:
        """What the request makes happen, happens now."""
        return Trigger(self.now, self.now, self.cause)

    def context(
        self, origin: str, reason: Mapping[str, str], inputs: Mapping[str, Any] | None = None
    ) -> TransactionContext:
        """Why a transaction is made, that no earning rule decided."""
        return plain_context(self.trigger, origin, reason, inputs or {})


async def open_books(connection: Connection, call: Call) -> Books:
    """Lock a customer's account, and apply what has fallen due."""
    state = State(accounts=await loading.lock(connection, [call.customer_id], call.now))
    due_at = state.accounts[call.customer_id].due_at
    book = RuleBook(())
    if due_at is not None and due_at <= call.now:
        await loading.load_due(connection, state, [call.customer_id], call.now)
        versions = {order.rules_version for order in state.orders.values()}
        book = await rules.book(connection, call.now, call.now, versions)
    books = Books(state, book, call.now, new_ids())
    apply_due(books, [call.customer_id])
    return books


async def open_to_spend(connection: Connection, call: Call, points: int) -> tuple[Books, Sequence[Lot]]:
    """Lock a customer's account, and load the lots that so many points are taken from: mostly in one round trip.

    Raises:
        InsufficientPointsError: more is asked for than is available.
    """
    locked = await available.lock_and_read(connection, call.customer_id, points, call.now)
    is_due = locked is not None and locked.account.due_at is not None and locked.account.due_at <= call.now
    if locked is None or locked.lots is None or is_due:
        books = await open_books(connection, call)
        return books, await spendable(connection, books, call, points)
    books = Books(State(accounts={call.customer_id: locked.account}), RuleBook(()), call.now, new_ids())
    books.know(locked.lots)
    return books, locked.lots


async def spendable(connection: Connection, books: Books, call: Call, points: int) -> list[Lot]:
    """The lots that so many points are taken from.

    Raises:
        InsufficientPointsError: more is asked for than is available.
    """
    account = account_of(books, call)
    if points > account.available:
        raise InsufficientPointsError(points - account.available)
    # What was applied before may have taken from the lots as they are stored.
    moved = sum(abs(transaction.points) for transaction in books.changes.transactions)
    found = await available.read(connection, {call.customer_id: points + moved}, call.now)
    books.know(found[call.customer_id])
    return list(books.lots_of(call.customer_id).values())


def account_of(books: Books, call: Call) -> Account:
    """The customer's account as it is now."""
    return books.state.accounts[call.customer_id]


async def close_books(connection: Connection, books: Books, redemption: Redemption | None = None) -> bool:
    """Apply what fell due by what was just done, and write all of it, and the redemption that it was done for.

    False: nothing was written, since the redemption's reference is used.
    """
    apply_due(books, list(books.state.accounts))
    return await write_command(connection, books.state, books.changes, redemption)
