"""The sweep by one statement has the result of rules/books/maturity.py.

Planted and caught here: a lot that is not due at its very instant; a hold or a delivery overlooked; a debt not paid;
expired points that stay; no expiry, or the last one, for activated points; lots by id, or by the
letters of a language; a sequence with gaps; a statement that runs back; instants cut to seconds; ids that are not
escaped; the granted points of a spent lot; orders without their transactions; program accounts left out;
events in another order.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from services.points.handlers import day
from services.points.store import accounts, sweeping
from shared.postgres.pool import Connection, Pool
from tests.points import books
from tests.points.oracles.stories import NAMES, Stories, stories, write_books
from tests.points.shop import NOON
from tests.support.depth import examples

DAY = timedelta(1)
NOW = timedelta()

Way = Callable[[Connection, Sequence[str], datetime], Awaitable[Sequence[str]]]


async def one_by_one(connection: Connection, due: Sequence[str], now: datetime) -> Sequence[str]:
    await day._apply_together(connection, list((await accounts.read(connection, due)).values()), now)
    return due


async def at_once(connection: Connection, due: Sequence[str], now: datetime) -> Sequence[str]:
    swept = await sweeping.sweep(connection, due, now)
    await one_by_one(connection, swept.left, now)
    return swept.left


async def outcome(pool: Pool, now: datetime, way: Way) -> tuple[Sequence[str], dict[str, list[str]]]:
    """The customers swept one by one, and all rows of all tables after it; rolled back at the end."""
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            left = await way(connection, await accounts.lock_matured(connection, now, books.MANY, ()), now)
            return sorted(left), await rows(connection)
        finally:
            await transaction.rollback()


_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
TABLES_SQL = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'outbox'"
OUTBOX_SQL = "SELECT topic, key, value FROM outbox ORDER BY key, id"


async def rows(connection: Connection) -> dict[str, list[str]]:
    """By table: its rows as text, with names for the ids of transactions and of events; each outbox in its order."""
    names: dict[str, str] = {}
    for row in await connection.fetch("SELECT id, customer_id, sequence FROM transaction"):
        names[str(row["id"])] = f"{row['customer_id']} {row['sequence']}"
    by_table: dict[str, list[str]] = {"outbox": []}
    for topic, key, value in await connection.fetch(OUTBOX_SQL):
        names[json.loads(value)["id"]] = "an event"
        by_table["outbox"].append(f"{topic} {key.decode()} {value.decode()}")
    for (table,) in await connection.fetch(TABLES_SQL):
        by_table[table] = [row[0] for row in await connection.fetch(f"SELECT stored::text FROM {table} AS stored")]
    assert {UUID(id_).version for id_ in names} <= {7}
    named = {
        table: [_ID.sub(lambda id_: names.get(id_[0], id_[0]), line) for line in lines]
        for table, lines in by_table.items()
    }
    return {table: lines if table == "outbox" else sorted(lines) for table, lines in named.items()}


NOT_PLAIN_SQL = """
SELECT DISTINCT customer_id FROM account LEFT JOIN lot USING (customer_id) LEFT JOIN hold USING (customer_id)
WHERE due_at <= $1 AND (
    (state = 'held' AND hold.expires_at <= $1)
    OR (lot.pending AND activates_at IS NULL AND cancels_at <= $1)
    OR (lot.pending AND remaining > 0 AND activates_at <= $1 AND (debt > 0 OR lot.expires_at <= $1)))
"""


async def check(pool: Pool, now: datetime) -> None:
    """Both ways lead to the same, correct books; a second sweep has nothing to do."""
    left, made = await outcome(pool, now, at_once)
    assert left == sorted(row["customer_id"] for row in await pool.fetch(NOT_PLAIN_SQL, now))
    _, expected = await outcome(pool, now, one_by_one)
    assert made == expected
    await day.sweep(pool, now)
    assert await day.sweep(pool, now) == {}
    await books.check_books(pool)


_MIDNIGHT = timedelta(hours=9)
"""From noon to midnight in Riyadh, when points fall due."""
_LATER = st.sampled_from([hours + days * DAY for hours in (NOW, _MIDNIGHT) for days in (0.5, 1, 2, 3, 4, 5, 7, 12, 35)])
_FRACTION = st.sampled_from([NOW, NOW, timedelta(milliseconds=250), timedelta(microseconds=1)])


# A failure is worth the minutes that it takes to make its example small.
@pytest.mark.timeout(400)
@given(events=stories, later=_LATER, fraction=_FRACTION)
@examples(15, deep=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_sweeping_at_once_equals_sweeping_one_by_one(
    points_pool: Pool, events: Stories, later: timedelta, fraction: timedelta
):
    await write_books(points_pool, events, fraction)
    await check(points_pool, NOON + later)


CHEAP = [("buy", NOW, number, total) for number, total in enumerate(("7.77", "8.50", "9.00", "10.00"))]
BRIEF, DEAR = ("buy", NOW, 1, "20.00"), ("buy", NOW, 1, "45.00")
WAITS = [(name, NOW, number) for number in range(4) for name in ("review", "activity", "survey", "register")]
# The events, the time of the sweep, and the customers left to be swept one by one.
CASES: dict[str, tuple[Stories, timedelta, Sequence[str]]] = {
    "lots of one instant are one transaction": (dict.fromkeys(NAMES, CHEAP), 7 * DAY, ()),
    "of several instants, one each": (
        {name: [("buy", days * DAY, days, "7.77") for days in range(4)] for name in NAMES},
        7 * DAY,
        (),
    ),
    "activated origin by origin": ({name: [*WAITS, *CHEAP] for name in NAMES}, 4.5 * DAY, ()),
    "activated, with its expiry": ({"ann": [BRIEF]}, 3.5 * DAY, ()),
    "activated when others expire": ({"ann": [CHEAP[0], ("buy", 2 * DAY, 1, "9.00")]}, 4 * DAY, ()),
    "at the instant": ({"ann": [CHEAP[0], *WAITS]}, _MIDNIGHT + 2 * DAY, ()),
    "nothing yet": ({"ann": CHEAP}, DAY / 2, ()),
    "what is left of lots": ({"ann": [CHEAP[0], ("redeem", 2)], "bob": [CHEAP[0], ("hold", 2, 60 * DAY)]}, 7 * DAY, ()),
    "all was spent": ({"ann": [CHEAP[0], ("redeem", 4)]}, 7 * DAY, ()),
    "a hold that ran out": ({"ann": [CHEAP[0], ("hold", 2, DAY)], "bob": CHEAP}, 7 * DAY, ["ann"]),
    "over when it is activated": ({"ann": [BRIEF], "bob": CHEAP}, 9 * DAY, ["ann"]),
    "a delivery": ({"ann": [DEAR, ("deliver", NOW, 1)]}, 3 * DAY, ()),
    "no delivery": ({"ann": [DEAR, ("redeem", 4)], "bob": CHEAP}, 7 * DAY, ["ann"]),
    "no delivery, and nothing left": ({"ann": [DEAR, ("refund", NOW, 1, "45.00")], "bob": CHEAP}, 7 * DAY, ["ann"]),
    "a debt that is paid": ({"ann": [BRIEF, ("redeem", 4), ("refund", NOW, 1, "20.00"), WAITS[0]]}, 7 * DAY, ["ann"]),
}


@pytest.mark.parametrize("name", CASES)
async def test_cases_of_the_sweep(points_pool: Pool, name: str):
    events, later, expected = CASES[name]
    await write_books(points_pool, events)
    left, _ = await outcome(points_pool, NOON + later, at_once)
    assert left == sorted(expected)
    await check(points_pool, NOON + later)


async def test_fractions_of_a_second_are_published(points_pool: Pool):
    await write_books(points_pool, {"ann": [*CHEAP, *WAITS]}, timedelta(microseconds=120))
    await check(points_pool, NOON + 7 * DAY)


async def test_recorded_times_do_not_go_back_when_the_clock_did(points_pool: Pool):
    await write_books(points_pool, {"ann": [*CHEAP, *WAITS]})
    await points_pool.execute("UPDATE account SET recorded_at = $1", NOON + 4 * DAY)
    await check(points_pool, NOON + 7 * DAY)


async def test_concurrent_sweeps_apply_each_customer_once(points_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(day, "_CUSTOMERS", 3)
    events = {
        f"customer-{number}": [CHEAP[0], WAITS[0], *([("hold", 2, DAY)] * (number % 4 == 0))] for number in range(20)
    }
    await write_books(points_pool, events)
    counts = await asyncio.gather(*(day.sweep(points_pool, NOON + 7 * DAY) for _ in range(3)))
    points = {"points released": 5 * 3, "points expired": 20 * 7, "points activated": 20 * (7 + 6 + 50)}
    assert sum(counts, start=day.Counts()) == {"customers": 20} | points
    await books.check_books(points_pool)
