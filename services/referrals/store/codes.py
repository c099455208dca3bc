"""Referral codes, and the visits of their links.

Keys are those of `rules.codes.code`; a code that was given out is its own key.
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import NamedTuple

from shared.messaging import erasure
from shared.messaging.erasure import Erasure
from shared.postgres.pool import Connection, Pool

ADD_CODE_SQL = """
INSERT INTO referral_code (customer_id, code, created_at)
SELECT $1, $2, $3 WHERE NOT EXISTS (SELECT FROM retired_code WHERE code = $2)
ON CONFLICT DO NOTHING
"""


async def add_code(connection: Connection, customer_id: str, code: str, now: datetime) -> None:
    """Give a customer a code, unless one was given to the customer, or the code is or was another customer's."""
    await connection.execute(ADD_CODE_SQL, customer_id, code, now)


FIND_CODE_SQL = """
SELECT code FROM referral_code WHERE customer_id = $1 ORDER BY chosen_at DESC NULLS LAST, code LIMIT 1
"""


async def find_code(connection: Connection, customer_id: str) -> str | None:
    """The code that the customer chose last, else the one that was given out; None where there is none."""
    return await connection.fetchval(FIND_CODE_SQL, customer_id)


class Chosen(NamedTuple):
    """A code that a customer chooses, with its key."""

    customer_id: str
    code: str
    key: str


CHOOSE_OWN_SQL = """
UPDATE referral_code SET chosen_at = $3 WHERE customer_id = $1 AND key = $2 RETURNING code
"""


async def choose_own(connection: Connection, chosen: Chosen, now: datetime) -> str | None:
    """Make a code that the customer chose before the newest one; returns it as it is spelled, None if there is none."""
    return await connection.fetchval(CHOOSE_OWN_SQL, chosen.customer_id, chosen.key, now)


COUNT_CHOSEN_SQL = "SELECT count(*) FROM referral_code WHERE customer_id = $1 AND key IS NOT NULL"


async def count_chosen(connection: Connection, customer_id: str) -> int:
    """The number of codes that the customer chose."""
    return int(await connection.fetchval(COUNT_CHOSEN_SQL, customer_id) or 0)


ADD_CHOSEN_SQL = """
INSERT INTO referral_code (customer_id, code, key, created_at, chosen_at) VALUES ($1, $2, $3, $4, $4)
ON CONFLICT (coalesce(key, code)) DO NOTHING
RETURNING code
"""


async def add_chosen(connection: Connection, chosen: Chosen, now: datetime) -> bool:
    """Give the customer the chosen code; returns False if somebody has it. The caller asks `is_retired` afterwards."""
    return await connection.fetchval(ADD_CHOSEN_SQL, *chosen, now) is not None


IS_RETIRED_SQL = "SELECT EXISTS (SELECT FROM retired_code WHERE code = $1)"


async def is_retired(connection: Connection, key: str) -> bool:
    """Whether a code was that of a customer who was erased."""
    return bool(await connection.fetchval(IS_RETIRED_SQL, key))


SPELLED_SQL = "SELECT key, code FROM referral_code WHERE key IS NOT NULL AND coalesce(key, code) = ANY($1::text[])"


async def spelled(connection: Pool | Connection, keys: Collection[str]) -> dict[str, str]:
    """Codes as they are shown, by the keys that referrals keep; a code of an erased customer is its key."""
    found = {row["key"]: row["code"] for row in await connection.fetch(SPELLED_SQL, list(keys))} if keys else {}
    return {key: found.get(key, key) for key in keys}


COUNT_CLICK_SQL = """
WITH owned AS (
    SELECT code, coalesce(key, code) AS key FROM referral_code WHERE coalesce(key, code) = $1
), counted AS (
    INSERT INTO referral_click (code, day, shard, clicks)
    SELECT key, $2, $3, 1 FROM owned
    ON CONFLICT (code, day, shard) DO UPDATE SET clicks = referral_click.clicks + 1
)
SELECT code FROM owned
"""


async def count_click(connection: Connection, key: str, day: date, shard: int) -> str | None:
    """Count a visit; returns the code as it is spelled, None where no customer has it."""
    return await connection.fetchval(COUNT_CLICK_SQL, key, day, shard)


FIND_OWNED_SQL = "SELECT code FROM referral_code WHERE coalesce(key, code) = $1"


async def find_owned(connection: Connection, key: str) -> str | None:
    """The code with a key as it is spelled, None where no customer has it."""
    return await connection.fetchval(FIND_OWNED_SQL, key)


RETIRE_SQL = """
WITH retired AS (
    DELETE FROM referral_code
    USING (
        SELECT code
        FROM referral_code JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, at) USING (customer_id)
        WHERE created_at <= erased.at
        LIMIT $3
        FOR UPDATE OF referral_code SKIP LOCKED
    ) AS covered
    WHERE referral_code.code = covered.code
    RETURNING coalesce(key, referral_code.code) AS key
)
INSERT INTO retired_code (code) SELECT key FROM retired
RETURNING code
"""


async def retire(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Retire the codes of erased customers, so that they are never valid again; see `erasure.EraseOwn`."""
    customers, _, _, recorded_at = erasure.columns(erasures)
    return len(await connection.fetch(RETIRE_SQL, customers, recorded_at, most))
