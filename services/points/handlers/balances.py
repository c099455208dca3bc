"""A customer's balance: right to the second, and at any instant of the past."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from services.points.rules.books.books import Books
from services.points.rules.books.maturity import apply_due
from services.points.rules.books.state import State
from services.points.rules.ledger.accounts import Account
from services.points.rules.program.ruleset import RuleBook
from services.points.store import accounts, loading, rules, statement
from services.points.store.statement import Maturity
from shared.postgres.ids import new_ids
from shared.postgres.pool import Connection, Pool


class Balance(NamedTuple):
    """An account, and what falls due next: points that become available, and points that expire."""

    account: Account
    next_activation: Maturity | None = None
    next_expiry: Maturity | None = None


async def balance(pool: Pool, customer: str, now: datetime) -> Balance:
    """A customer's balance with everything that has fallen due by now; zeros for an unknown customer."""
    account = await accounts.find(pool, customer)
    if account is None or account.due_at is None:
        return Balance(account or accounts.unknown(customer))
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        account = await accounts.find(connection, customer) or account
        if account.due_at is not None and account.due_at <= now:
            return await _with_matured(connection, account, now)
        return Balance(account, *await statement.next_maturities(connection, customer, now))


async def balance_as_of(pool: Pool, customer: str, moment: datetime) -> Balance:
    """A customer's balance as recorded by an instant, with everything that had fallen due by then."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        account = await accounts.find(connection, customer)
        if account is None:
            return Balance(accounts.unknown(customer))
        if account.recorded_at > moment:
            return Balance(await statement.account_as_of(connection, customer, moment))
        if account.due_at is not None and account.due_at <= moment:
            return Balance((await _with_matured(connection, account, moment)).account)
        return Balance(account)


async def _with_matured(connection: Connection, account: Account, now: datetime) -> Balance:
    """The balance after everything that has matured; the next write or sweep stores it."""
    customer = account.customer_id
    plain = await statement.with_plainly_matured(connection, account, now)
    if plain is not None:
        return Balance(plain, *await statement.next_maturities(connection, customer, now))
    state = State(accounts={customer: account})
    await loading.load_matured(connection, state, [customer], now)
    versions = state.rules_versions
    book = await rules.book(connection, now, now, versions) if versions else RuleBook(())
    books = Books(state, book, now, new_ids())
    apply_due(books, [customer])
    loaded = [lot for lot in books.lots_of(customer).values() if lot.remaining]
    rest = await statement.next_maturities(connection, customer, now, tuple(state.lots.get(customer, ())))
    return Balance(
        books.state.accounts[customer],
        _next([(lot.activates_at, lot.remaining) for lot in loaded if lot.pending], rest[0]),
        _next([(lot.expires_at, lot.remaining) for lot in loaded if not lot.pending], rest[1]),
    )


def _next(maturities: Iterable[tuple[datetime | None, int]], rest: Maturity | None) -> Maturity | None:
    """The first to mature of the loaded lots and of `rest`, the first of the others."""
    dated = [(at, points) for at, points in maturities if at is not None]
    if rest is not None:
        dated.append((rest.at, rest.points))
    if not dated:
        return None
    first = min(at for at, _ in dated)
    return Maturity(sum(points for at, points in dated if at == first), first)
