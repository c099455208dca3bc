"""Upgrading an older database: the names of headers become bytes instead of text; nothing else changes."""

from datetime import UTC, datetime

import asyncpg

from shared.messaging import dead_letters, waiting
from shared.postgres.migrate import CREATE_HISTORY_SQL, RECORD_SQL, migrate, migrations_of
from shared.postgres.pool import open_pool
from tests.contracts.records import REFUND, data, envelope, structured
from tests.support.postgres import empty_database

DEAD_LETTER_SQL = """
INSERT INTO dead_letter
    (topic, partition, "offset", key, value, header_names, header_values, "timestamp", reason, error)
SELECT 'shop.purchases', 1, number, '\\x00ff', '\\x7b', $1, $2, $3, 'not_json', 'broken'
FROM generate_series(1, $4) AS number
"""

WAITING_SQL = """
INSERT INTO waiting (customer_id, about, natural_id, topic, partition, "offset", key, value, header_names,
                     header_values, "timestamp")
VALUES ('c-1042', 'order/A-1', 'refund/R-1', 'shop.purchases', 1, 2, $1, $2, '{content-type}', $3, $4)
"""

NAMES = ["ce_type", "اسم", "", "twice", "twice"]
CONTENTS = [b"a", b"\xff", None, b"", b"b"]
THEN = datetime(2026, 6, 1, tzinfo=UTC)


async def test_names_become_bytes(postgres_url: str):
    url = await empty_database(postgres_url)
    first, *_ = migrations_of("shared.postgres")
    refund = structured(envelope(REFUND, data=data(REFUND)))
    connection = await asyncpg.connect(url)
    await connection.execute(first.sql)
    await connection.execute(DEAD_LETTER_SQL, NAMES, CONTENTS, THEN, 3)
    await connection.execute(DEAD_LETTER_SQL, [], [], THEN, 1)
    contents = [content for _, content in refund.headers]
    await connection.execute(WAITING_SQL, refund.key, refund.value, contents, THEN)
    await connection.execute(CREATE_HISTORY_SQL)
    await connection.execute(RECORD_SQL, first.package, first.name, first.checksum)
    await connection.close()
    await migrate(url)
    async with await open_pool(url, application="wafa-test") as pool, pool.acquire() as opened:
        ids = await dead_letters.ids_of(opened, dead_letters.Filter())
        letters = await dead_letters.claim(opened, ids[::-1])
        expected = tuple((name.encode(), content) for name, content in zip(NAMES, CONTENTS, strict=True))
        assert [letter.record.headers for letter in letters] == [expected, expected, expected, ()]
        assert {(letter.record.key, letter.record.value) for letter in letters} == {(b"\x00\xff", b"{")}
        (waited,) = await waiting.take(opened, [("c-1042", "order/A-1")])
        assert waited.event.record.headers == refund.headers
