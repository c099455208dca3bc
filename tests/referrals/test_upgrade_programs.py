"""A database from before versioned referral programs goes on: its versions are converted, and pay what they paid."""

import json
from datetime import UTC, datetime, timedelta

import asyncpg

from services.referrals.rules.program.kind import KIND
from services.referrals.store.programs import load_published
from shared.postgres.migrate import migrations_of
from shared.postgres.pool import Pool, open_pool
from shared.programs.kind import Key, dump
from shared.programs.store import SINCE_EVER, find
from tests.referrals.programs import DEFAULT, parse
from tests.support.postgres import make_database

LATER = datetime(2099, 1, 1, tzinfo=UTC)

OTHERS_SQL = """
INSERT INTO referral_program (version, state, effective_at, published_at, document)
VALUES (2, 'published', $1, $1, $2), (3, 'draft', $1, NULL, $2)
"""

OTHER = {"currency": "SAR", "minimum": "0075.50", "within_hours": 25, "advocate_points": 9, "friend_points": 2**40}


async def test_version_1_is_that_of_the_product(referrals_pool: Pool):
    stored = await find(referrals_pool, Key(KIND.name), 1)
    assert stored is not None
    assert (stored.document, stored.effective_at, stored.created_by) == (DEFAULT, SINCE_EVER, None)
    # It has every default spelled out, as documents that are sent have.
    assert dump(parse(stored.document)) == stored.document
    assert list(dump(parse(stored.document))) == list(stored.document)


async def test_a_filled_database_goes_on(postgres_url: str):
    url = await make_database(postgres_url, "platform")
    migrations = list(migrations_of("services.referrals"))
    [number] = [place for place, migration in enumerate(migrations) if migration.name == "0005_programs.sql"]
    connection = await asyncpg.connect(url)
    for migration in migrations[:number]:
        await connection.execute(migration.sql)
    await connection.execute(OTHERS_SQL, LATER, json.dumps(OTHER))
    for migration in migrations[number:]:
        async with connection.transaction():
            await connection.execute(migration.sql)
    await connection.close()
    async with await open_pool(url, application="wafa-test") as pool:
        await _check_versions(pool)


async def _check_versions(pool: Pool) -> None:
    second, draft = [await find(pool, Key(KIND.name), version) for version in (2, 3)]
    assert second is not None
    assert draft is not None
    assert (second.effective_at, draft.effective_at) == (LATER, None)
    assert draft.document == second.document == dump(parse(second.document))
    assert second.document == DEFAULT | {
        "currency": "SAR",
        "advocate_points": 9,
        "friend_points": 10**9,
        # A part of a day is a day: nobody's window becomes shorter.
        "qualifies": {"nth_order": 1, "amount_at_least": "75.50", "within_days": 2},
    }
    async with pool.acquire() as connection:
        book = await load_published(connection)
    assert [(start, program.version) for start, program in book] == [(SINCE_EVER, 1), (LATER, 2)]
    assert book.in_force(LATER - timedelta(days=1)).version == 1
