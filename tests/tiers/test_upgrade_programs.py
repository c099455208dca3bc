"""A database from before versioned programs goes on: its versions are converted, and nobody's tier changes."""

import json
from datetime import UTC, datetime, timedelta

import asyncpg

from services.tiers.rules.program.kind import KIND
from services.tiers.store.programs import load_program, load_versions
from shared.postgres.migrate import migrations_of
from shared.postgres.pool import Pool, open_pool
from shared.programs.kind import Key, dump
from shared.programs.store import SINCE_EVER, find
from tests.support.postgres import make_database
from tests.tiers.applied import read_status
from tests.tiers.programs import DEFAULT, parse
from tests.tiers.shop import NOON

LATER = datetime(2099, 1, 1, tzinfo=UTC)

OTHERS_SQL = """
INSERT INTO tier_program (version, state, effective_at, published_at, document)
VALUES (2, 'published', $1, $1, $2), (3, 'draft', $1, NULL, $2)
"""

OTHER = {
    "currency": "SAR",
    "tiers": [
        {"id": "bronze", "points_multiplier": "1", "needs": []},
        {
            "id": "silver",
            "points_multiplier": "1.05",
            "needs": [{"metric": "spend", "at_least": "0020.50"}, {"metric": "spend", "at_least": "9.00"}],
        },
        {"id": "p", "points_multiplier": "2", "needs": []},
    ],
}

CUSTOMER_SQL = (
    """INSERT INTO purchase (customer_id, order_id, source, purchased_at, currency, total, kept)
       VALUES ('ann', '1', '/shop/web', $1, 'USD', 700.00, 700.00)""",
    """INSERT INTO customer (customer_id, judged_at, purchased_at, spend, loose, tier, since)
       VALUES ('ann', $1, $1, 700, 1, 'silver', $1)""",
    "INSERT INTO timeline (customer_id, effective_at, tier) VALUES ('ann', $1, 'silver')",
)


async def test_version_1_is_that_of_the_documentation(tiers_pool: Pool):
    stored = await find(tiers_pool, Key(KIND.name), 1)
    assert stored is not None
    assert (stored.document, stored.effective_at, stored.created_by) == (DEFAULT, SINCE_EVER, None)
    # It has every default spelled out, as documents that are sent have.
    assert dump(parse(stored.document)) == stored.document


async def test_a_filled_database_goes_on(postgres_url: str):
    url = await make_database(postgres_url, "platform")
    migrations = list(migrations_of("services.tiers"))
    [number] = [place for place, migration in enumerate(migrations) if migration.name == "0004_programs.sql"]
    connection = await asyncpg.connect(url)
    for migration in migrations[:number]:
        await connection.execute(migration.sql)
    await connection.execute(OTHERS_SQL, LATER, json.dumps(OTHER))
    for statement in CUSTOMER_SQL:
        await connection.execute(statement, NOON)
    for migration in migrations[number:]:
        async with connection.transaction():
            await connection.execute(migration.sql)
    await connection.close()
    async with await open_pool(url, application="wafa-test") as pool:
        await _check_versions(pool)
        status = await read_status(pool, "ann", NOON)
        assert (status.tier.id, status.since) == ("silver", NOON)


async def _check_versions(pool: Pool) -> None:
    second, draft = [await find(pool, Key(KIND.name), version) for version in (2, 3)]
    assert second is not None
    assert draft is not None
    assert (second.effective_at, draft.effective_at) == (LATER, None)
    assert draft.document == second.document == dump(parse(second.document))
    assert second.document["currency"] == "SAR"
    assert [(tier["id"], tier["name"], tier["enter"]) for tier in second.document["tiers"]] == [
        ("bronze", {"en": "bronze"}, None),
        ("silver", {"en": "Silver", "ar": "فضي"}, [[{"metric": "spend", "at_least": "20.5"}]]),
        ("p", {"en": "p"}, [[{"metric": "spend", "at_least": "0.0001"}]]),
    ]
    rest = {name: value for name, value in second.document.items() if name not in {"currency", "tiers"}}
    assert rest == {name: value for name, value in DEFAULT.items() if name not in {"currency", "tiers"}}
    async with pool.acquire() as connection:
        assert (await load_program(connection, NOON)).version == 1
        versions = await load_versions(connection, NOON, LATER)
        following = versions.after(NOON)
        assert following is not None
        assert (following[0], following[1].version) == (LATER, 2)
        assert versions.in_force(LATER - timedelta(days=1)).version == 1
        assert versions.after(LATER) is None
