"""The daily pipeline: applies what has matured, sends notices of points that will expire, awards birthdays.

Every step may run twice, and on several workers at once. In order: release holds, activate, give up what was not
delivered, expire (these four customer by customer, see rules/books/maturity.py), notices, birthdays.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

import structlog

from services.points.handlers.opening import open_batch
from services.points.rules.books import accruals, accruing
from services.points.rules.books.accruals import AccrualCase
from services.points.rules.books.accruing import Happening
from services.points.rules.books.maturity import apply_due
from services.points.rules.books.state import State
from services.points.rules.books.trigger import Trigger
from services.points.rules.ledger.accounts import Account
from services.points.rules.program import dates
from services.points.rules.program.birthdays import Birthday
from services.points.rules.program.ruleset import RuleSet
from services.points.store import accounts, births, limits, loading, lots, notices, publications, rules, sweeping
from services.points.store.loading import Wanted
from services.points.store.notices import Ending
from shared import telemetry
from shared.contracts.envelope import Cause
from shared.messaging import outbox
from shared.postgres.pool import Connection, Pool, is_transient

_log = structlog.stdlib.get_logger(__name__)

_CUSTOMERS: Final = 1000
"""Number of customers that one transaction sweeps."""
_AT_ONCE: Final = 3
"""Number of transactions that sweep at the same time: the events of one are made while two are in the database."""
_MOST_DAYS_LATE: Final = 7

LEFT: Final = "customers left as they are"
"""The name of the number of customers for whom it failed."""

Counts = Counter[str]
"""What a run did: numbers by name."""


async def sweep_up(pool: Pool, now: datetime) -> None:
    """The job: sweep, and run the daily steps once a new day has begun in the program's time zone."""
    await sweep(pool, now)
    async with pool.acquire() as connection:
        today = dates.day_of(now, (await rules.in_force(connection, now)).zone)
        done = await notices.days_done(connection)
    if done.get("expiring", date.min) < today:
        await announce_endings(pool, now)
    if done.get("birthdays", date.min) < today:
        await keep_birthdays(pool, now)


async def run(pool: Pool, now: datetime) -> Counts:
    """The whole pipeline as of an instant."""
    counts = await sweep(pool, now)
    counts["endings announced"] = await announce_endings(pool, now)
    counts["birthdays"] = await keep_birthdays(pool, now)
    return counts


async def sweep(pool: Pool, now: datetime) -> Counts:
    """Apply everything that has matured by now; a customer for whom this fails is logged and not changed."""
    counts: Counts = Counter()
    broken: set[str] = set()

    async def work() -> None:
        while (swept := await _sweep_some(pool, now, broken)) is not None:
            counts.update(swept)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(work())
    return counts


async def _sweep_some(pool: Pool, now: datetime, broken: set[str]) -> Counts | None:
    async with pool.acquire() as connection, connection.transaction():
        due = await accounts.lock_matured(connection, now, _CUSTOMERS, broken)
        if not due:
            return None
        # A customer with very many lots is swept alone, after the others, which bounds the transaction.
        if many := set(await lots.customers_with_many_matured(connection, due, now)):
            due = [customer for customer in due if customer not in many] or sorted(many)[:1]
        counts, left = await _apply_plainly(connection, due, now)
        if left:
            rest = await accounts.read(connection, left)
            counts += await _apply(connection, list(rest.values()), now, broken)
        return counts


async def _apply_plainly(connection: Connection, due: Sequence[str], now: datetime) -> tuple[Counts, Sequence[str]]:
    """Apply what one statement can apply to locked customers; returns the customers that need the slow path."""
    try:
        async with connection.transaction():
            swept = await sweeping.sweep(connection, due, now)
    except Exception as error:
        if is_transient(error):
            raise
        # The broken books of a single customer fail the statement; the slow path isolates that customer.
        _log.warning("sweep_at_once_refused", **telemetry.trace(error))
        return Counter(), due
    moved = {"points activated": swept.activated, "points expired": swept.expired}
    counts: Counts = Counter({name: points for name, points in moved.items() if points})
    counts["customers"] = len(due) - len(swept.left)
    return counts, swept.left


async def _apply(connection: Connection, due: Sequence[Account], now: datetime, broken: set[str]) -> Counts:
    """Apply what has matured for locked accounts; after a failure in halves, until the broken account is isolated."""
    try:
        async with connection.transaction():
            return await _apply_together(connection, due, now)
    except Exception as error:
        if is_transient(error):
            raise
        if len(due) == 1:
            _log.error("sweep_refused", customer_id=due[0].customer_id, **telemetry.trace(error))
            broken.add(due[0].customer_id)
            return Counter({LEFT: 1})
    middle = len(due) // 2
    first = await _apply(connection, due[:middle], now, broken)
    return first + await _apply(connection, due[middle:], now, broken)


async def _apply_together(connection: Connection, due: Sequence[Account], now: datetime) -> Counts:
    state = State(accounts={account.customer_id: account for account in due})
    customers = list(state.accounts)
    await loading.load_matured(connection, state, customers, now)
    book = await rules.book(connection, now, now, state.rules_versions)
    async with open_batch(connection, state, book, now) as books:
        apply_due(books, customers)
    counts: Counts = Counter(customers=len(customers))
    for transaction in books.changes.transactions:
        counts[f"points {transaction.kind}"] += abs(transaction.points)
    return counts


async def announce_endings(pool: Pool, now: datetime) -> int:
    """Send notices of what will expire within 30, 7 and 1 days, each once; returns the number of notices."""
    notified = 0
    after = ("", datetime.min.replace(tzinfo=now.tzinfo))
    async with pool.acquire() as connection:
        zone = (await rules.in_force(connection, now)).zone
        today = dates.day_of(now, zone)
        ends = tuple(dates.midnight(dates.after(today, days), zone) for days in notices.DAYS)
        while True:
            async with connection.transaction():
                endings = await notices.endings(connection, now, ends, after)
                if endings:
                    notified += await _announce(connection, endings, now)
            if len(endings) < notices.MOST:
                break
            after = (endings[-1].customer_id, endings[-1].expires_at)
        await notices.done(connection, "expiring", today)
    return notified


async def _announce(connection: Connection, endings: Sequence[Ending], now: datetime) -> int:
    locked = await accounts.lock(connection, {ending.customer_id for ending in endings})
    new = await notices.keep(connection, endings)
    wanted = [ending for ending in endings if (ending.customer_id, ending.expires_at, ending.days) in new]
    events = [publications.of_ending(ending, locked[ending.customer_id], now) for ending in wanted]
    await outbox.announce(connection, events)
    return len(wanted)


async def keep_birthdays(pool: Pool, now: datetime) -> int:
    """Award the birthdays of all days not done yet, at most a week late; returns the number of awards."""
    kept = 0
    async with pool.acquire() as connection:
        in_force = await rules.in_force(connection, now)
        today = dates.day_of(now, in_force.zone)
        done = (await notices.days_done(connection)).get("birthdays", today - timedelta(days=1))
        first = min(today, max(done + timedelta(days=1), today - timedelta(days=_MOST_DAYS_LATE)))
        for count in range((today - first).days + 1):
            kept += await _keep_birthdays(connection, first + timedelta(days=count), in_force, now)
        await notices.done(connection, "birthdays", today)
    return kept


async def _keep_birthdays(connection: Connection, day: date, in_force: RuleSet, now: datetime) -> int:
    birthday = Birthday.on(day, in_force)
    if not (await rules.in_force(connection, birthday.starts)).on("birthday"):
        return 0
    kept, after = 0, ""
    born_on = [(day.month, day.day)]
    if dates.birthday_in(day.year, date(2024, 2, 29)) == day:
        born_on.append((2, 29))
    while True:
        async with connection.transaction():
            born = await births.born_on(connection, born_on, after, _CUSTOMERS)
            celebrating = sorted(name for name, birth in born.items() if birth < day)
            if celebrating:
                kept += await _award(connection, celebrating, birthday, now)
        if len(born) < _CUSTOMERS:
            return kept
        after = max(born)


async def _award(connection: Connection, customers: Sequence[str], birthday: Birthday, now: datetime) -> int:
    origin, starts = birthday
    wanted = Wanted(
        customers=set(customers),
        accruals={(customer, origin) for customer in customers},
        moments=lambda: ((customer, starts) for customer in customers),
    )
    state = await loading.load(connection, wanted, now)
    book = await rules.book_at(connection, [starts, now], state.rules_versions)
    cases = [AccrualCase(book.in_force(starts), customer, "birthday", starts, {}, None) for customer in customers]
    keys = {key for case in cases for key in accruals.use_keys(case)}
    async with open_batch(connection, state, book, now) as books:
        if keys:
            books.add_uses(await limits.load(connection, keys))
        apply_due(books, customers)
        new = [customer for customer in customers if (customer, origin) not in state.accruals]
        for customer in new:
            happening = Happening(customer, "birthday", origin, {}, starts)
            accruing.award(books, happening, Trigger(starts, now, Cause(origin, origin)))
    return len(new)
