"""What a judgement reads of large tables: by indexes only, and little of what a hostile customer told."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from services.referrals.handlers import evidence
from services.referrals.rules.evidence.kinds import Kind
from shared.messaging import erasure
from shared.postgres.pool import Connection, Pool
from tests.referrals.evidence.documents import every_signal
from tests.referrals.evidence.told import KEY, asked, registered, signed_up, store, updated
from tests.referrals.shop import START, event

EVERY = every_signal()
HOT = {"ip": "203.0.113.9", "email": "hot@example.org"}

# 20,000 customers with three values each and a sign-up. Hot is an advocate with 5,000 addresses, whose code brought
# 5,000 friends, all from one address, within an hour.
FILL_SQL = """
INSERT INTO evidence (customer_id, kind, hash, mark, until)
SELECT 'c' || n, kind, md5(n || '/' || kind)::uuid, n, $1::timestamptz - interval '1 minute' * (n % 500000)
FROM generate_series(1, 20000) AS n, unnest(ARRAY[1, 5, 6]::smallint[]) AS kind;
"""
HOT_VALUES_SQL = """
INSERT INTO evidence (customer_id, kind, hash, mark, until)
SELECT 'hot', $2, md5('hot' || n)::uuid, n, $1 FROM generate_series(1, 5000) AS n
"""
HOT_ADDRESS_SQL = """
INSERT INTO evidence (customer_id, kind, hash, mark, until)
SELECT 'h' || n, $2, $3, n, $1 FROM generate_series(1, 5000) AS n
"""
TRACES_SQL = """
INSERT INTO sign_up_trace
SELECT md5('t' || n)::uuid, n, 'c' || n, 'a' || n % 5000, 'A' || n % 5000,
       $1::timestamptz - interval '1 minute' * (n % 500000), md5(n || '/6')::uuid, md5(n || '/7')::uuid
FROM generate_series(1, 20000) AS n
UNION ALL
SELECT md5('h' || n)::uuid, n, 'h' || n, 'hot', 'HOT', $1::timestamptz - interval '0.1 second' * n, $2::uuid, $3::uuid
FROM generate_series(1, 5000) AS n
"""
REFERRALS_SQL = """
INSERT INTO referral (referral_id, advocate_id, friend_id, code, program_version, state, reason, signed_up_at,
                      closed_at, recorded_at, next_at)
SELECT md5('t' || n)::uuid, 'a' || n % 5000, 'c' || n, 'A' || n % 5000, 1, state, reason, $1::timestamptz,
       CASE WHEN state = 'rejected' THEN $1 END, $1, CASE WHEN state <> 'rejected' THEN $1 END
FROM generate_series(1, 20000) AS n,
     LATERAL (SELECT CASE WHEN n % 3 = 0 THEN 'rejected' ELSE 'signed_up' END AS state,
                     CASE WHEN n % 3 = 0 THEN 'decision' END AS reason) AS of_state
UNION ALL
SELECT md5('h' || n)::uuid, 'hot', 'h' || n, 'HOT', 1, 'rejected', 'fraud', $1, $1, $1, NULL
FROM generate_series(1, 5000) AS n
"""
REGISTERED_SQL = """
INSERT INTO customer_registered SELECT 'c' || n, $1, n FROM generate_series(1, 20000) AS n
"""

USE_SQL = """
SELECT sum(seq_scan)::int AS scans, sum(idx_tup_fetch)::int AS fetched,
       sum(heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read)::int AS pages
FROM pg_stat_user_tables JOIN pg_statio_user_tables USING (relid)
WHERE pg_stat_user_tables.relname IN ('evidence', 'sign_up_trace', 'customer_registered', 'referral')
"""


async def fill(pool: Pool) -> None:
    ip, network = KEY.hash(Kind.IP, "203.0.113.9"), KEY.hash(Kind.NETWORK, "203.0.113.0/24")
    await pool.execute(FILL_SQL, START)
    await pool.execute(HOT_VALUES_SQL, START, Kind.DEVICE)
    await pool.execute(HOT_ADDRESS_SQL, START, Kind.IP, ip.hex())
    await pool.execute(TRACES_SQL, START, ip.hex(), network.hex())
    await pool.execute(REFERRALS_SQL, START)
    await pool.execute(REGISTERED_SQL, START)
    await pool.execute("ALTER SEQUENCE evidence_mark RESTART 100000")
    await store(pool, registered("hot", device_id="d", **HOT))
    await pool.execute("VACUUM ANALYZE evidence, sign_up_trace, customer_registered, referral")


class Use(NamedTuple):
    """Sequential scans, rows that indexes led to, and pages of tables and indexes."""

    scans: int
    fetched: int
    pages: int


@asynccontextmanager
async def planned(pool: Pool, mode: str) -> AsyncIterator[Connection]:
    """A connection whose statements have plans of a mode: `force_custom_plan` or `force_generic_plan`."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
        yield connection


async def use(pool: Pool) -> Use:
    """What all transactions so far used."""
    async with pool.acquire() as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        await connection.execute("SELECT pg_stat_clear_snapshot()")
        row: Any = await connection.fetchrow(USE_SQL)
        return Use(*row)


async def judged(connection: Connection, friends: Sequence[str], code: str) -> None:
    """Everything that a batch of sign-ups does with evidence."""
    events = [signed_up(friend, 0, code, device_id="d", **HOT) for friend in friends]
    marks = await evidence.record(connection, events, START, KEY)
    wanted = [asked(each, marks.at(index)) for index, each in enumerate(events)]
    rows = [
        evidence.SignUpRow(each.referral_id, each.advocate_id, code, each.mark, events[index])
        for index, each in enumerate(wanted)
    ]
    await evidence.trace(connection, rows, KEY)
    assert len(await evidence.load_facts(connection, wanted, EVERY, START, KEY)) == len(friends)


async def test_no_table_is_scanned_and_little_of_a_hostile_history_is_read(referrals_pool: Pool):
    """Whether PostgreSQL plans a statement for its arguments or for all arguments."""
    await fill(referrals_pool)
    used = [await use(referrals_pool)]

    async def step(act: Callable[[Connection], Awaitable[object]]) -> Use:
        async with planned(referrals_pool, mode) as connection:
            await act(connection)
        used.append(await use(referrals_pool))
        return Use(*(now - before for now, before in zip(*used[:-3:-1], strict=True)))

    erased = event("shop.customer.erased.v1", 0, {"customer_id": "c5"})
    national = updated("c1", phone="0501234567")
    for mode in ("force_custom_plan", "force_generic_plan"):
        friends = [f"new{number}" for number in range(20)]
        assert (await step(lambda connection, own=friends: judged(connection, own, "A7"))).pages < 5_000
        assert (await step(lambda connection: evidence.record(connection, [national], START, KEY))).pages < 20
        # Three counts of at most 1,000 sign-ups each, 50 values of a kind, and 51 customers of a shared value.
        hostile = await step(lambda connection, own=f"new-{mode}": judged(connection, [own], "HOT"))
        assert hostile.fetched < 4_000
        assert hostile.pages < 600
        assert (await step(lambda connection: erasure.apply(connection, [erased], evidence.erase, START))).pages < 200
        assert (await step(lambda connection: evidence.forget(connection, START))).pages < 20  # pyright: ignore[reportArgumentType]
    assert used[-1].scans == used[0].scans
