"""Verify the books: checks of the ledger against itself, and a sample of decisions against what they were made from."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from services.points.rules.books import accruals, rebuilding
from services.points.rules.books.books import is_full
from services.points.rules.books.differences import lost_of
from services.points.rules.books.rebuilding import Basis
from services.points.rules.books.settling import due_for
from services.points.rules.books.state import Key
from services.points.rules.books.tiers import FOR_EVER, SINCE_EVER, Span
from services.points.rules.ledger.accounts import Account
from services.points.rules.ledger.lots import Lot
from services.points.rules.program.earning import PURCHASE
from services.points.rules.program.ruleset import RuleBook
from services.points.store import accounts, auditing, lots, orders, refunds, rejudging, rules, statement, timelines
from services.points.store import accruals as accruals_
from services.points.store.statement import Entry
from shared.contracts.kept import keep
from shared.contracts.refunds import Purchase
from shared.postgres import checks
from shared.postgres.checks import MOST_SHOWN, Check
from shared.postgres.pool import Connection, Pool


async def verify(pool: Pool, sample: int) -> AsyncIterator[Check]:
    """Check the books in one snapshot; `sample` orders, as many accruals and as many receipts are judged again."""
    async with checks.snapshot(pool) as connection:
        balance = await accounts.trial_balance(connection)
        yield Check(
            "trial balance 0", [f"{kind} {points}" for kind, points in balance.items()] if sum(balance.values()) else []
        )
        async for check in checks.ask(connection, auditing.CHECKS):
            yield check
        wrong = [*await _wrongly_given(connection, sample), *await _wrongly_accrued(connection, sample)]
        yield Check("given = due", wrong[:MOST_SHOWN])
        yield Check("receipts rebuild to their digest", await _broken_receipts(connection, sample))


async def _wrongly_given(connection: Connection, sample: int) -> list[str]:
    """Of a sample of orders: those that were not given what they are due."""
    keys = await auditing.sample_orders(connection, sample)
    sampled = await orders.orders_by_key(connection, keys)
    back = await refunds.all_of(connection, keys)
    # All refunds are folded here, whatever fold of them is stored.
    kept = {key: keep(Purchase.of(order.bought), back[key]) for key, order in sampled.items() if key in back}
    customers = {key[0] for key in keys}
    tiers = await timelines.load(connection, customers, _whole)
    unsettled = await rejudging.left(connection, customers)
    balances = await accounts.read(connection, customers)
    book = await _book(connection, (order.rules_version for order in sampled.values()))
    own = await _lots_by_origin(connection, [(key[0], PURCHASE.origin_of(key[1])) for key in keys])
    wrong: list[str] = []
    for key, order in sampled.items():
        customer, order_id = key
        if customer in unsettled and order.occurred_at >= unsettled[customer].since:
            continue
        account, own_lots = balances[customer], own.get((customer, PURCHASE.origin_of(order_id)), [])
        due_by_engine = due_for(order, kept.get(key), tiers.get(customer, ()), book, _applied_by(account))
        if not any(_is_settled(order.given, due, own_lots, account) for due in due_by_engine):
            wrong.append(f"{customer}/{order_id}")
    return wrong[:MOST_SHOWN]


async def _wrongly_accrued(connection: Connection, sample: int) -> list[str]:
    """Of a sample of accruals (reviews, promotions, birthdays …): those that were not given what they are due."""
    sampled = await accruals_.accruals_by_key(connection, await auditing.sample_accruals(connection, sample))
    customers = {key[0] for key in sampled}
    tiers = await timelines.load(connection, customers, _whole)
    unsettled = await rejudging.left(connection, customers)
    balances = await accounts.read(connection, customers)
    book = await _book(connection, (accrual.rules_version for accrual in sampled.values()))
    own = await _lots_by_origin(connection, list(sampled))
    wrong: list[str] = []
    for (customer, origin), accrual in sampled.items():
        if customer in unsettled and accrual.occurred_at >= unsettled[customer].since:
            continue
        version = book.version(accrual.rules_version)
        due = accruals.due_for(accrual, customer, version, tiers.get(customer, ()))
        account = balances.get(customer) or accounts.unknown(customer)
        if due is not None and not _is_settled(accrual.given, due, own.get((customer, origin), []), account):
            wrong.append(f"{customer}/{origin}")
    return wrong[:MOST_SHOWN]


def _whole(_: str) -> Span:
    return Span(SINCE_EVER, FOR_EVER)


async def _lots_by_origin(connection: Connection, keys: Sequence[Key]) -> dict[Key, list[Lot]]:
    by_origin: dict[Key, list[Lot]] = {}
    for lot in await lots.of_origins(connection, keys):
        by_origin.setdefault((lot.customer_id, lot.origin), []).append(lot)
    return by_origin


def _applied_by(account: Account) -> datetime:
    """The instant up to which everything that fell due for a customer has been applied."""
    now = datetime.now(UTC)
    if account.due_at is not None and account.due_at <= now:
        return account.due_at - timedelta.resolution
    return max(now, account.recorded_at)


def _is_settled(given: Mapping[str, int], due: Mapping[str, int], own: Sequence[Lot], account: Account) -> bool:
    """Whether the points given are the points due.

    What a rule's own lots lost to expiry counts as taken back; what did not fit the account was not given.
    """
    lost = lost_of(own)
    for rule in {*due, *given}:
        over = given.get(rule, 0) - due.get(rule, 0)
        if over > lost.get(rule, 0) or (over < 0 and not is_full(account)):
            return False
    return True


async def _broken_receipts(connection: Connection, sample: int) -> list[str]:
    """Of a sample of transactions: those whose receipt does not rebuild to its digest."""
    entries = await statement.entries(connection, await auditing.sample_transactions(connection, sample))
    book = await _book(connection, (entry.rules_version for entry in entries))
    bases = await statement.bases(connection, entries, book)
    broken = [str(entry.line.id) for entry, basis in zip(entries, bases, strict=True) if not _rebuilds(entry, basis)]
    return broken[:MOST_SHOWN]


class Rebuilt(NamedTuple):
    """A receipt rebuilt from what is stored, and whether its digest is the stored one.

    `unlisted_tier` is the customer's tier of then, where the rules of the receipt do not list it.
    """

    receipt: dict[str, Any]
    is_proved: bool
    unlisted_tier: str | None


async def rebuilt(connection: Connection, entry: Entry) -> Rebuilt:
    """A transaction's receipt, rebuilt.

    Raises:
        LookupError: the order or accrual of the transaction is not stored any more.
    """
    book = await _book(connection, [entry.rules_version])
    [basis] = await statement.bases(connection, [entry], book)
    return Rebuilt(*rebuilding.prove(basis, entry.receipt_digest), rebuilding.unlisted_tier(basis))


def _rebuilds(entry: Entry, basis: Basis) -> bool:
    try:
        return rebuilding.prove(basis, entry.receipt_digest)[1]
    except LookupError:
        return False


async def _book(connection: Connection, versions: Iterable[int | None]) -> RuleBook:
    since = datetime(1, 1, 1, tzinfo=UTC)
    return await rules.book(connection, since, since, {version for version in versions if version is not None})
