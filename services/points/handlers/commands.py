"""Opening the books for a request: they are locked and due points applied; closing writes and announces."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from services.points.handlers.announcing import write_command
from services.points.rules.books.books import Books
from services.points.rules.books.maturity import apply_due
from services.points.rules.books.state import State
from services.points.rules.books.trigger import Trigger
from services.points.rules.ledger.accounts import Account
from services.points.rules.ledger.lots import Lot
from services.points.rules.ledger.transactions import Entry, TransactionContext
from services.points.rules.program.earning import Origin
from services.points.rules.program.ruleset import RuleBook
from services.points.store import available, loading, lots, rules
from services.points.store.commands import Beside
from services.points.store.redemptions import Redemption
from shared.contracts.envelope import Cause
from shared.postgres.answers import Answer
from shared.postgres.ids import new_ids
from shared.postgres.pool import Connection

_NO_RULES: Final = RuleBook(())


class InsufficientPointsError(Exception):
    """More points are asked for than are available; `missing` is the difference."""

    def __init__(self, missing: int) -> None:
        super().__init__(f"{missing} points are missing")
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Call:
    """A request that moves points of a customer; its id is the cause of what is published."""

    customer_id: str
    request_id: str
    now: datetime
    answer: Callable[[Redemption], Answer | None] = lambda _: None
    """The response to a redemption that the request makes, which mostly is stored by the same statement."""

    @property
    def cause(self) -> Cause:
        """The request is the root of what follows from it."""
        return Cause.of_request(self.request_id)

    @property
    def trigger(self) -> Trigger:
        """What the request triggers happens now."""
        return Trigger(self.now, self.now, self.cause)

    def context(self, kind: str, id_: UUID | str, reason: Mapping[str, str]) -> TransactionContext:
        """The context of a transaction of this request, about a redemption, a hold or an adjustment."""
        return self.trigger.context(str(Origin(kind, str(id_))), reason)


@dataclass(slots=True)
class OpenBooks:
    """The books of a request's customer, from the lock on the account to the write."""

    connection: Connection
    call: Call
    books: Books
    lots: Sequence[Lot] | None = None
    """The lots to spend, where they were read together with the lock."""
    redemption: Redemption | None = None
    """The redemption that is written with the books."""
    version: int | None = None
    """The version of the account's row, where it is not locked."""
    is_written: bool = field(default=False, init=False)
    """Whether closing wrote the books.

    If not, nothing was changed, or the reference of the redemption was used before; of an account without a lock also
    if it has changed since it was read, or the request's key is used or claimed.
    """

    @property
    def account(self) -> Account:
        """The customer's account as it is now."""
        return self.books.state.accounts[self.call.customer_id]

    def record(self, entry: Entry) -> UUID:
        """Enter a transaction that the request causes; returns its id."""
        return self.books.record(entry, self.call.cause)

    async def spendable(self, points: int) -> Sequence[Lot]:
        """The lots that so many points can be taken from.

        Raises:
            InsufficientPointsError: more is asked for than is available.
        """
        if self.lots is not None:
            return self.lots
        books, customer = self.books, self.call.customer_id
        if points > self.account.available:
            raise InsufficientPointsError(points - self.account.available)
        # What was applied before may have taken points from lots that the store still has whole.
        moved = sum(abs(transaction.points) for transaction in books.changes.transactions)
        spendable = await available.read(self.connection, {customer: points + moved}, self.call.now)
        books.add_lots(spendable[customer])
        return list(books.lots_of(customer).values())

    async def load_lots(self, lot_ids: list[UUID]) -> dict[UUID, Lot]:
        """Load the lots with these ids; returns the customer's lots."""
        loaded = self.books.lots_of(self.call.customer_id)
        if missing := [lot_id for lot_id in lot_ids if lot_id not in loaded]:
            self.books.add_lots(await lots.by_id(self.connection, missing))
        return loaded


@asynccontextmanager
async def open_books(connection: Connection, call: Call, to_spend: int | None = None) -> AsyncGenerator[OpenBooks]:
    """Lock a customer's account, apply what has fallen due, and write everything when the block is left.

    With the points that the block is going `to_spend`, the account and the lots mostly take one round trip.
    What the block made fall due is applied before the write. Nothing is written where the block is left by an
    exception, or where the reference of its redemption was used before.
    """
    opened = (await _load_to_spend(connection, call, to_spend) if to_spend else None) or await _load(connection, call)
    apply_due(opened.books, [call.customer_id])
    yield opened
    apply_due(opened.books, [call.customer_id])
    await close_books(opened)


async def read_books(connection: Connection, call: Call, to_spend: int) -> OpenBooks | None:
    """Read a customer's books without a lock, for `close_books`; None where one round trip cannot read them."""
    read = await available.read_with_account(connection, call.customer_id, to_spend, call.now)
    if read is None:
        return None
    opened = _opened(connection, call, read.account, read.lots)
    if opened is not None:
        opened.version = read.version
    return opened


async def close_books(opened: OpenBooks) -> bool:
    """Write everything; returns whether it was written, see `OpenBooks.is_written`.

    Raises:
        StoredMeanwhileError: the request's key has a response; nothing is written, or the transaction must be rolled
            back.
    """
    books = opened.books
    if books.changes.accounts:
        answer = opened.redemption and opened.call.answer(opened.redemption)
        beside = Beside(opened.redemption, answer, opened.version)
        opened.is_written = await write_command(opened.connection, books.state, books.changes, beside)
    return opened.is_written


async def _load_to_spend(connection: Connection, call: Call, points: int) -> OpenBooks | None:
    """The books and the lots that so many points are taken from; None where one round trip cannot read them."""
    locked = await available.lock_and_read(connection, call.customer_id, points, call.now)
    if locked is None or locked.lots is None:
        return None
    return _opened(connection, call, locked.account, locked.lots)


def _opened(connection: Connection, call: Call, account: Account, lots: Sequence[Lot]) -> OpenBooks | None:
    """The books of an account with the lots to spend; None if something has fallen due."""
    if account.due_at is not None and account.due_at <= call.now:
        return None
    books = Books(State(accounts={call.customer_id: account}), _NO_RULES, call.now, new_ids())
    books.add_lots(lots)
    return OpenBooks(connection, call, books, lots)


async def _load(connection: Connection, call: Call) -> OpenBooks:
    state = State(accounts=await loading.lock(connection, [call.customer_id], call.now))
    due_at = state.accounts[call.customer_id].due_at
    book = _NO_RULES
    if due_at is not None and due_at <= call.now:
        await loading.load_matured(connection, state, [call.customer_id], call.now)
        book = await rules.book(connection, call.now, call.now, state.rules_versions)
    return OpenBooks(connection, call, Books(state, book, call.now, new_ids()))
