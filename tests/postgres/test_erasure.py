"""Upgrading an older database: dead letters get the customers that they name, as far as SQL can read them."""

from datetime import UTC, datetime

import asyncpg

from shared.messaging import dead_letters
from shared.messaging.dead_letters import Filter
from shared.postgres.migrate import CREATE_HISTORY_SQL, RECORD_SQL, migrate, migrations_of
from shared.postgres.pool import open_pool
from tests.support.postgres import empty_database

LETTER_SQL = """
INSERT INTO dead_letter
    (topic, partition, "offset", key, value, header_names, header_values, "timestamp", reason, error)
VALUES ('shop.purchases', 0, $1, $2, $3, $4, $5, $6, 'not_json', 'broken')
"""
ANSWER_SQL = (
    "INSERT INTO idempotency_key (principal, key, fingerprint, status, body) VALUES ('p', $1, '', 200, $2::json)"
)

ARRIVED = datetime(2026, 6, 1, tzinfo=UTC)
BINARY = ([b"ce_id", b"ce_subject", b"ce_time"], [b"1", b"omar", b"2026-05-01T00:00:00Z"])
DATED = b'{"time": "2026-05-01T02:00:00+02:00", "subject": "omar", "data": {"customer_id": "mona", "friend_id": "zoe"}}'
MAY = datetime(2026, 5, 1, tzinfo=UTC)

# Key, value, headers; the customers that the record names, and its time.
LETTERS = [
    (b"mona", b"{", ([], []), {"mona"}, None),
    (b"mona", b"\xff", ([], []), {"mona"}, None),
    (b"\xff", b"\x00", ([], []), set(), None),
    (None, None, ([], []), set(), None),
    (b"", b"", ([], []), set(), None),
    ("زبون".encode(), b"[]", ([], []), {"زبون"}, None),
    (b"m" * 200, b"7", ([], []), set(), None),
    (b"ann", DATED, ([], []), {"ann", "omar", "mona", "zoe"}, MAY),
    (b"ann", b'{"customer_id": "mona"}', BINARY, {"ann", "mona", "omar"}, MAY),
    (b"ann", b'{"time": "2099-01-01T00:00:00Z"}', ([], []), {"ann"}, None),
    (b"ann", b'{"time": "soon", "data": {"customer_id": "\\u0000"}}', ([], []), {"ann"}, None),
    (
        b"ann",
        b'{"time": ["x"], "data": {"customer_id": {"a": 1}}}',
        ([b"ce_subject"], [None]),
        {"ann", '{"a": 1}'},
        None,
    ),
]


async def test_letters_and_answers_find_their_customers(postgres_url: str):
    url = await empty_database(postgres_url)
    before = [item for item in migrations_of("shared.postgres") if item.name < "0003"]
    connection = await asyncpg.connect(url)
    await connection.execute(CREATE_HISTORY_SQL)
    for migration in before:
        await connection.execute(migration.sql)
        await connection.execute(RECORD_SQL, migration.package, migration.name, migration.checksum)
    for number, (key, value, headers, _, _) in enumerate(LETTERS):
        await connection.execute(LETTER_SQL, number, key, value, *headers, ARRIVED)
    for key, body in (("a", '{"customer_id": "mona"}'), ("b", "[1]"), ("c", '{"id": 7}')):
        await connection.execute(ANSWER_SQL, key, body)
    await connection.close()
    await migrate(url)
    async with await open_pool(url, application="wafa-test") as pool:
        rows = await pool.fetch('SELECT customer_ids, occurred_at FROM dead_letter ORDER BY "offset"')
        assert [(set(row["customer_ids"]), row["occurred_at"]) for row in rows] == [item[3:] for item in LETTERS]
        answers = await pool.fetch("SELECT customer_id FROM idempotency_key ORDER BY key")
        assert [row["customer_id"] for row in answers] == ["mona", None, None]
        async with pool.acquire() as opened:
            letters = await dead_letters.page(opened, Filter(customer_id="mona"), None, 10)
            assert [letter.record.offset for letter in letters] == [8, 7, 1, 0]
