"""Referral codes, and the visits of their links."""

from collections.abc import Collection, Sequence
from datetime import date, datetime

from shared.messaging import erasure
from shared.messaging.erasure import Erasure
from shared.postgres.pool import Connection, Pool

ADD_CODE_SQL = """
INSERT INTO referral_code (customer_id, code, created_at)
SELECT $1, $2, $3 WHERE NOT EXISTS (SELECT FROM retired_code WHERE code = $2)
ON CONFLICT DO NOTHING
"""


async def add_code(connection: Connection, customer_id: str, code: str, now: datetime) -> None:
    """Give a customer a code, unless the customer has one, or the code is or was another customer's."""
    await connection.execute(ADD_CODE_SQL, customer_id, code, now)


FIND_CODE_SQL = "SELECT code FROM referral_code WHERE customer_id = $1"


async def find_code(connection: Connection, customer_id: str) -> str | None:
    """The customer's code; None where there is none."""
    return await connection.fetchval(FIND_CODE_SQL, customer_id)


LOAD_ADVOCATES_SQL = "SELECT code, customer_id FROM referral_code WHERE code = ANY($1::text[])"


async def load_advocates(connection: Connection, codes: Collection[str]) -> dict[str, str]:
    """The owners of codes, by code, without codes that no customer has."""
    if not codes:
        return {}
    return {row["code"]: row["customer_id"] for row in await connection.fetch(LOAD_ADVOCATES_SQL, codes)}


COUNT_CLICK_SQL = """
INSERT INTO referral_click (code, day, shard, clicks)
SELECT code, $2, $3, 1 FROM referral_code WHERE code = $1
ON CONFLICT (code, day, shard) DO UPDATE SET clicks = referral_click.clicks + 1
RETURNING code
"""


async def count_click(pool: Pool, code: str, day: date, shard: int) -> bool:
    """Count a visit; returns False where no customer has the code."""
    return await pool.fetchval(COUNT_CLICK_SQL, code, day, shard) is not None


RETIRE_SQL = """
WITH retired AS (
    DELETE FROM referral_code
    USING (
        SELECT customer_id
        FROM referral_code JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, at) USING (customer_id)
        WHERE created_at <= erased.at
        LIMIT $3
        FOR UPDATE OF referral_code SKIP LOCKED
    ) AS covered
    WHERE referral_code.customer_id = covered.customer_id
    RETURNING code
)
INSERT INTO retired_code (code) SELECT code FROM retired
RETURNING code
"""


async def retire(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Retire the codes of erased customers, so that they are never valid again; see `erasure.EraseOwn`."""
    customers, _, _, recorded_at = erasure.columns(erasures)
    return len(await connection.fetch(RETIRE_SQL, customers, recorded_at, most))
