"""A filled database of a release that kept consents among the details of profiles goes on."""

import asyncpg

from services.notifications.handlers.verifying import verify
from services.notifications.rules.message import Channel
from services.notifications.store import customers
from shared.postgres.migrate import migrations_of
from shared.postgres.pool import Pool, open_pool
from tests.notifications.world import NOW, handle, library, updated
from tests.support.postgres import make_database

OLD_SQL = """
INSERT INTO customer (customer_id, details, seen_at, registered_at) VALUES
    ('mona', '{"email": {"value": "m@example.org", "at": "2026-02-01T10:00:00Z"},
               "consent.email": {"value": true, "at": "2026-02-01T10:00:00Z"},
               "consent.sms": {"value": false, "at": "2026-02-02T10:00:00Z"},
               "consent.push": {"value": null, "at": "2026-02-03T10:00:00Z"}}', '2026-02-03 10:00Z', now()),
    ('zoe', '{"consent.sms": {"value": true, "at": "2026-02-01T10:00:00Z"}}', '2026-02-01 10:00Z', '2026-02-01 10:00Z'),
    ('ben', '{"name": {"value": "Ben", "at": "2026-02-01T10:00:00Z"}}', '2026-02-01 10:00Z', '2026-02-01 10:00Z'),
    ('new', '{}', NULL, NULL);
INSERT INTO message (id, customer_id, channel, kind, trigger, occasion, state, reason, locale, template_version, facts,
                     occurred_at, created_at, attempts, correlation_id, causation_id)
VALUES (gen_random_uuid(), 'mona', 'email', 'transactional', 'welcome', 'registration', 'failed', 'template_failed',
        'en', 1, '{}', now(), now(), 1, '', '');
"""


async def test_consents_become_entries_of_the_ledger(postgres_url: str):
    url = await make_database(postgres_url, "platform")
    connection = await asyncpg.connect(url)
    for migration in migrations_of("services.notifications"):
        async with connection.transaction():
            if migration.name.endswith("_consent.sql"):
                await connection.execute(OLD_SQL)
            await connection.execute(migration.sql)
    await connection.close()
    async with await open_pool(url, application="wafa-test") as pool:
        await _check(pool)


async def _check(pool: Pool) -> None:
    rows = await pool.fetch("SELECT customer_id, channel, action, how FROM consent ORDER BY customer_id")
    assert [tuple(row) for row in rows] == [("mona", "email", "granted", "event"), ("zoe", "sms", "granted", "event")]
    async with pool.acquire() as connection, connection.transaction():
        known = await customers.lock(connection, ["mona", "zoe", "ben", "new"])
    granted = {name: [one for one in Channel if profile.consents.granted(one)] for name, profile in known.items()}
    assert granted == {"mona": [Channel.EMAIL], "zoe": [Channel.SMS], "ben": [], "new": []}
    assert {name: list(profile.details) for name, profile in known.items()} == {
        "mona": ["email"],
        "zoe": [],
        "ben": ["name"],
        "new": [],
    }
    assert await pool.fetchval("SELECT reason FROM message") == "template_error"
    # The shop's last words are known: one that is repeated is none, and a new one counts.
    await handle(pool, updated("mona", NOW, marketing_consent={"email": True, "sms": True}))
    rows = await pool.fetch("SELECT channel FROM consent WHERE customer_id = 'mona' ORDER BY number")
    assert [row["channel"] for row in rows] == ["email", "sms"]
    failed = {check.name: check.offenders async for check in verify(library(), pool, 10, NOW) if check.offenders}
    assert failed.keys() <= {"each notice is one message on each channel"}
