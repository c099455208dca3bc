"""The daily pipeline: what falls due by itself is swept up, customers are told what will end, birthdays are kept.

Every step is safe to run twice, and on two workers at once. In order: release holds, activate, give up what was
not delivered, expire (customer by customer, see rules/books/maturity.py), tell what will expire, birthdays.
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
"""How many customers one transaction sweeps."""
_AT_ONCE: Final = 2
"""How many transactions sweep at the same time."""
_MOST_DAYS_LATE: Final = 7

LEFT: Final = "customers left as they are"

Counts = Counter[str]
"""What a run did, by words."""


async def sweep_up(pool: Pool, now: datetime) -> None:
    """The job: sweep what is due, and do what is done once a day when a new day of the program has begun."""
    await sweep(pool, now)
    async with pool.acquire() as connection:
        today = dates.day_of(now, (await rules.in_force(connection, now)).zone)
        done = await notices.days_done(connection)
    if done.get("expiring", date.min) < today:
        await tell_endings(pool, now)
    if done.get("birthdays", date.min) < today:
        await keep_birthdays(pool, now)


async def run(pool: Pool, now: datetime) -> Counts:
    """The whole pipeline as of an instant."""
    counts = await sweep(pool, now)
    counts["endings told"] = await tell_endings(pool, now)
    counts["birthdays"] = await keep_birthdays(pool, now)
    return counts


async def sweep(pool: Pool, now: datetime) -> Counts:
    """Apply everything that has fallen due by now; a customer with whom that fails is logged and left as it is."""
    counts: Counts = Counter()
    broken: set[str] = set()

    async def work() -> None:
        while (found := await _sweep_some(pool, now, broken)) is not None:
            counts.update(found)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(work())
    return counts


async def _sweep_some(pool: Pool, now: datetime, broken: set[str]) -> Counts | None:
    async with pool.acquire() as connection, connection.transaction():
        due = await accounts.lock_due(connection, now, _CUSTOMERS, broken)
        if not due:
            return None
        # Whoever has very many is swept alone, after the others: a transaction stays bounded.
        if many := set(await lots.many_due(connection, due, now)):
            due = [customer for customer in due if customer not in many] or sorted(many)[:1]
        counts, left = await _apply_plainly(connection, due, now)
        if left:
            known = await accounts.read(connection, left)
            counts += await _apply(connection, list(known.values()), now, broken)
        return counts


async def _apply_plainly(connection: Connection, due: Sequence[str], now: datetime) -> tuple[Counts, Sequence[str]]:
    """Apply what is plainly due for locked customers, all at once; returns for whom it was not, or could not be."""
    try:
        async with connection.transaction():
            swept = await sweeping.sweep(connection, due, now)
    except Exception as error:
        if is_transient(error):
            raise
        # One customer's books are enough: who it is shows where they are swept by rules/books/maturity.py.
        _log.warning("sweep_at_once_refused", **telemetry.trace(error))
        return Counter(), due
    moved = {"points activated": swept.activated, "points expired": swept.expired}
    counts: Counts = Counter({name: points for name, points in moved.items() if points})
    counts["customers"] = len(due) - len(swept.left)
    return counts, swept.left


async def _apply(connection: Connection, due: Sequence[Account], now: datetime, broken: set[str]) -> Counts:
    """Apply what is due for locked accounts; where that fails, in halves, until the culprit stands alone."""
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
    await loading.load_due(connection, state, customers, now)
    book = await rules.book(connection, now, now, state.rules_versions)
    async with open_batch(connection, state, book, now) as books:
        apply_due(books, customers)
    counts: Counts = Counter(customers=len(customers))
    for transaction in books.changes.transactions:
        counts[f"points {transaction.kind}"] += abs(transaction.points)
    return counts


async def tell_endings(pool: Pool, now: datetime) -> int:
    """Tell customers what will expire within 30, 7 and 1 days, each once; returns how many were told."""
    told = 0
    after = ("", datetime.min.replace(tzinfo=now.tzinfo))
    async with pool.acquire() as connection:
        zone = (await rules.in_force(connection, now)).zone
        today = dates.day_of(now, zone)
        ends = tuple(dates.midnight(dates.after(today, days), zone) for days in notices.DAYS)
        while True:
            async with connection.transaction():
                found = await notices.endings(connection, now, ends, after)
                if found:
                    told += await _tell(connection, found, now)
            if len(found) < notices.MOST:
                break
            after = (found[-1].customer_id, found[-1].expires_at)
        await notices.done(connection, "expiring", today)
    return told


async def _tell(connection: Connection, found: Sequence[Ending], now: datetime) -> int:
    known = await accounts.lock(connection, {one.customer_id for one in found})
    new = await notices.keep(connection, found)
    told = [one for one in found if (one.customer_id, one.expires_at, one.days) in new]
    await outbox.announce(connection, [publications.of_ending(one, known[one.customer_id], now) for one in told])
    return len(told)


async def keep_birthdays(pool: Pool, now: datetime) -> int:
    """Award the birthdays of the days that were not done yet, at most a week late; returns how many were."""
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
            books.know_uses(await limits.load(connection, keys))
        apply_due(books, customers)
        new = [customer for customer in customers if (customer, origin) not in state.accruals]
        for customer in new:
            happening = Happening(customer, "birthday", origin, {}, starts)
            accruing.award(books, happening, Trigger(starts, now, Cause(origin, origin)))
    return len(new)
