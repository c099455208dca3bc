"""What customers are found by."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from services.notifications.rules.profile import Profile
from services.notifications.rules.searching import VERSION, Keys, Wanted, keys_of
from shared.postgres.checks import Query
from shared.postgres.pool import Connection, Pool

# Words and numbers have letters and digits only, so blanks part them.
SAVE_SQL = """
INSERT INTO customer_search AS stored (customer_id, email, phones, words, version)
SELECT customer_id, email, string_to_array(phones, ' '), array_to_tsvector(string_to_array(words, ' ')), $5
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS new (customer_id, email, phones, words)
ON CONFLICT (customer_id) DO UPDATE
SET email = excluded.email, phones = excluded.phones, words = excluded.words, version = excluded.version
WHERE (stored.email, stored.phones, stored.words, stored.version)
      IS DISTINCT FROM (excluded.email, excluded.phones, excluded.words, excluded.version)
"""

DROP_SQL = """
DELETE FROM customer_search WHERE customer_id = ANY($1::text[])
"""


async def save(connection: Connection, profiles: Sequence[Profile]) -> None:
    """Store what locked customers are found by; those without a profile are not found any more."""
    keys: list[Keys] = []
    gone: list[str] = []
    for profile in profiles:
        found_by = keys_of(profile)
        if found_by is None:
            gone.append(profile.customer_id)
        else:
            keys.append(found_by)
    if keys:
        await connection.execute(
            SAVE_SQL,
            [each.customer_id for each in keys],
            [each.email for each in keys],
            [" ".join(each.phones) for each in keys],
            [" ".join(each.words) for each in keys],
            VERSION,
        )
    if gone:
        await connection.execute(DROP_SQL, gone)


OUTDATED_SQL = """
SELECT customer_id FROM customer_search WHERE version < $1 ORDER BY version, customer_id LIMIT $2
"""


async def outdated(connection: Connection, most: int) -> list[str]:
    """Customers whose row another version made, or none yet."""
    return [row["customer_id"] for row in await connection.fetch(OUTDATED_SQL, VERSION, most)]


@dataclass(frozen=True, slots=True)
class Found:
    """A customer that was found; `rank` says by what: 1 the id, 2 the address, 3 the phone number, 4 the name."""

    customer_id: str
    rank: int
    details: Any
    registered_at: datetime | None


UNFOUND_SQL = """
SELECT customer_id AS id
FROM (SELECT customer_id FROM customer WHERE seen_at IS NOT NULL) AS known
FULL JOIN customer_search USING (customer_id)
WHERE known.customer_id IS NULL OR customer_search.customer_id IS NULL
LIMIT $1
"""

QUERY: Final = Query("customers with a profile are found, and no others", UNFOUND_SQL)
"""A check of all rows."""

# At most 10,000 customers of a name are sorted: whoever finds more searches for more of the name.
FIND_SQL = """
WITH found AS (
    SELECT customer_id, 1 AS rank FROM customer WHERE customer_id = $1
    UNION ALL
    (SELECT customer_id, 2 FROM customer_search WHERE email = $2 LIMIT 10000)
    UNION ALL
    (SELECT customer_id, 3 FROM customer_search WHERE phones && $3::text[] LIMIT 10000)
    UNION ALL
    (SELECT customer_id, 4 FROM customer_search WHERE words @@ $4::text::tsquery LIMIT 10000)
), best AS (
    SELECT customer_id, min(rank) AS rank FROM found GROUP BY customer_id
)
SELECT customer_id, rank, details, registered_at
FROM best JOIN customer USING (customer_id)
WHERE (rank, customer_id) > ($5::bigint, $6::text) AND NOT (erased_at IS NOT NULL AND seen_at IS NULL)
ORDER BY rank, customer_id
LIMIT $7
"""


async def find(pool: Pool, wanted: Wanted, after: tuple[int, str], limit: int) -> list[Found]:
    """Customers that are found, best first: up to `limit` after a rank and an id."""
    words = " & ".join(f"'{word}':*" for word in wanted.words) or None
    rows = await pool.fetch(FIND_SQL, wanted.customer_id, wanted.email, list(wanted.phones), words, *after, limit)
    return [Found(**row) for row in rows]
