"""A database of an earlier version after the migrations: reviews, points given, uses of limits."""

import asyncpg

from services.points.rules.program.limits import Use, UseKey
from services.points.store import accruals, limits, orders, rules
from shared.contracts.values import format_instant
from shared.postgres.migrate import migrations_of
from shared.postgres.pool import open_pool
from shared.programs import store
from shared.programs.kind import Key
from shared.programs.store import SINCE_EVER, Version
from tests.points.shop import hour
from tests.points.states import DEFAULT
from tests.support.postgres import make_database

REVIEWS_SQL = """
INSERT INTO review (customer_id, review_id, sku, occurred_at, verified, rules_version, awarded, withdrawn)
VALUES ('ann', 'paid', 's', $1, true, 1, 50, false), ('ann', 'cut', 's', $1, true, 1, 0, false),
       ('ann', 'unverified', 't', $1, false, 1, 0, false), ('ann', 'gone', 'u', $1, true, 1, 50, true)
"""

PURCHASE_SQL = """
INSERT INTO purchase (customer_id, order_id, source, occurred_at, ordinal, rules_version, body, given, multiplier,
                      transaction_ids)
VALUES ('ann', '1', '/shop', $1, 1, 1, '{"currency": "USD", "total": "100.00"}', '{"base": 100, "tier": 25}', '1.25',
        '{}')
"""


TIMELINES_SQL = """
INSERT INTO tier_entry (customer_id, effective_at, tier, multiplier)
VALUES ('ann', $1, 'silver', '1.25'), ('ann', $2, 'member', '1'), ('ann', $3, 'gold', '1.5'),
       ('bob', $1, 'silver', '1.25'), ('bob', $2, 'gold', '1.5'), ('bob', $3, 'gold', '1.5'),
       ('cat', $1, 'x2', '2'), ('cat', $2, 'x1.5', '1.5'), ('cat', $3, 'x2', '2')
"""

AWARDS_SQL = """
INSERT INTO accrual (customer_id, origin, event, occurred_at, rules_version, facts, given, tier, found, withdrawn)
SELECT customer_id, origin, 'tier_promotion', $1, 1, '{}', '{"climbed": 500}', split_part(origin, '/', 2), '{}', false
FROM unnest($2::text[], $3::text[]) AS award (customer_id, origin)
"""

TRANSACTIONS_SQL = """
INSERT INTO transaction (id, customer_id, sequence, kind, points, available_after, pending_after, held_after,
                         debt_after, earned_after, redeemed_after, occurred_at, recorded_at, reason, inputs,
                         receipt_digest)
SELECT gen_random_uuid(), customer_id, row_number() OVER (PARTITION BY customer_id), 'earned', 500, 0, 0, 0, 0, 0, 0,
       $1, $1, '{"kind": "tier"}', json_build_object('origin', origin, 'tier', 'silver'), ''
FROM unnest($2::text[], $3::text[]) AS award (customer_id, origin)
"""


async def test_awards_by_the_instants_of_promotions_become_those_of_rises(postgres_url: str):
    fresh = await make_database(postgres_url, "platform")
    first, third, never = (format_instant(hour(hours)) for hours in (0, 2, 9))
    renamed = {
        ("ann", f"tier/silver/{first}"): "tier/silver/1",
        ("ann", f"tier/gold/{third}"): "tier/gold/1",
        # Given for an instant that is no longer in the timeline: it stays as it was.
        ("ann", f"tier/gold/{never}"): f"tier/gold/{never}",
        # Gold was announced from the instant of silver on: it is gold's only rise.
        ("bob", f"tier/gold/{first}"): "tier/gold/1",
        ("cat", f"tier/x2/{third}"): "tier/x2/2",
    }
    connection = await asyncpg.connect(fresh)
    rises, *later = [migration for migration in migrations_of("services.points") if migration.name >= "0005"]
    for migration in migrations_of("services.points"):
        if migration.name < rises.name:
            await connection.execute(migration.sql)
    await connection.execute(TIMELINES_SQL, hour(0), hour(1), hour(2))
    customers, origins = [key[0] for key in renamed], [key[1] for key in renamed]
    await connection.execute(AWARDS_SQL, hour(0), customers, origins)
    await connection.execute(TRANSACTIONS_SQL, hour(0), customers, origins)
    async with connection.transaction():
        await connection.execute(rises.sql)
    for migration in later:
        await connection.execute(migration.sql)
    entries = await connection.fetch("SELECT rise FROM tier_entry ORDER BY customer_id, effective_at")
    assert [row["rise"] for row in entries] == [1, None, 1, 1, 1, None, 1, None, 2]
    stored = await connection.fetch("SELECT customer_id, origin FROM accrual ORDER BY customer_id, origin")
    expected = sorted((customer, name) for (customer, _), name in renamed.items())
    assert sorted(map(tuple, stored)) == expected
    shown = await connection.fetch("SELECT customer_id, inputs->>'origin', inputs->>'tier' FROM transaction")
    assert sorted(map(tuple, shown)) == [(*key, "silver") for key in expected]
    await connection.close()


async def test_a_database_of_the_first_version_is_upgraded(postgres_url: str):
    fresh = await make_database(postgres_url, "platform")
    ledger, *later = migrations_of("services.points")
    connection = await asyncpg.connect(fresh)
    await connection.execute(ledger.sql)
    await connection.execute(REVIEWS_SQL, hour(0))
    await connection.execute(PURCHASE_SQL, hour(0))
    for migration in later:
        await connection.execute(migration.sql)
    await connection.close()
    names = ("paid", "cut", "unverified", "gone")
    async with await open_pool(fresh, application="wafa-test") as pool, pool.acquire() as opened:
        stored = await accruals.accruals_by_key(opened, [("ann", f"review/{name}") for name in names])
        reviews = {name: stored["ann", f"review/{name}"] for name in names}
        assert [(review.given, review.withdrawn) for review in reviews.values()] == [
            ({"review": 50}, False),
            ({}, False),
            ({}, False),
            ({}, True),
        ]
        used = UseKey("ann", "review", "customer_sku/ever/s")
        spare = UseKey("ann", "review", "customer_sku/ever/u")
        assert await limits.load(opened, [used, spare]) == {used: Use(1, 50)}
        stored_orders = await orders.orders_by_key(opened, [("ann", "1")])
        assert stored_orders["ann", "1"].given == {"base": 100, "tier:extra": 25}


TRANSACTION_SQL = """
INSERT INTO transaction (id, customer_id, sequence, kind, points, available_after, pending_after, held_after,
                         debt_after, earned_after, redeemed_after, occurred_at, recorded_at, reason, inputs,
                         receipt_digest)
VALUES (gen_random_uuid(), 'ann', $1, 'adjusted', 5, 5, 0, 0, 0, 0, 0, $2, $2, $3, $4, '')
"""


async def test_notes_of_support_leave_the_statement(postgres_url: str):
    fresh = await make_database(postgres_url, "platform")
    migrations = list(migrations_of("services.points"))
    authors = next(index for index, migration in enumerate(migrations) if "authors" in migration.name)
    connection = await asyncpg.connect(fresh)
    for migration in migrations[:authors]:
        await connection.execute(migration.sql)
    noted = '{"kind": "adjustment", "note": "case 7"}', '{"reason": "goodwill", "note": "case 7"}'
    plain = '{"kind": "adjustment", "note": "late"}', '{"reason": "late", "note": null}'
    for number, (reason, inputs) in enumerate((noted, plain), 1):
        await connection.execute(TRANSACTION_SQL, number, hour(number), reason, inputs)
    for migration in migrations[authors:]:
        await connection.execute(migration.sql)
    rows = await connection.fetch("SELECT reason->>'note' AS note, inputs::text FROM transaction ORDER BY sequence")
    assert [row["note"] for row in rows] == ["goodwill", "late"]
    assert not [row for row in rows if "case 7" in row["inputs"]]
    kept = await connection.fetch("SELECT points, reason, note, principal, made_at FROM adjustment ORDER BY made_at")
    assert [tuple(row) for row in kept] == [
        (5, "goodwill", "case 7", None, hour(1)),
        (5, "late", None, None, hour(2)),
    ]
    await connection.close()


RULES_SQL = """
INSERT INTO earning_rules (version, document, revision, created_at, published_at, effective_at, created_by, changed_by,
                           published_by)
VALUES (2, '{"currency": "EUR", "rules": []}', 3, $1, $1, $2, 'key:a', 'key:b', 'key:c'),
       (3, '{"currency": "SAR", "rules": []}', 1, $1, NULL, NULL, 'key:a', NULL, NULL)
"""


async def test_earning_rules_move_into_the_table_of_all_programs(postgres_url: str):
    fresh = await make_database(postgres_url, "platform")
    migrations = list(migrations_of("services.points"))
    moved = next(index for index, migration in enumerate(migrations) if "programs" in migration.name and index > 2)
    connection = await asyncpg.connect(fresh)
    for migration in migrations[:moved]:
        await connection.execute(migration.sql)
    await connection.execute(RULES_SQL, hour(0), hour(9))
    for migration in migrations[moved:]:
        await connection.execute(migration.sql)
    await connection.close()
    async with await open_pool(fresh, application="wafa-test") as pool:
        versions = {version.version: version for version in await store.page(pool, Key("earning_rules"), 99, 9)}
        assert versions[2] == Version(
            "", 2, {"currency": "EUR", "rules": []}, 3, hour(0), hour(0), hour(9), "key:a", "key:b", "key:c", None
        )
        assert versions[3] == Version(
            "", 3, {"currency": "SAR", "rules": []}, 1, hour(0), None, None, "key:a", None, None, None
        )
        assert (versions[1].document, versions[1].effective_at) == (DEFAULT, SINCE_EVER)
        async with pool.acquire() as opened:
            assert [(await rules.in_force(opened, hour(at))).version for at in (8.9, 9)] == [1, 2]
