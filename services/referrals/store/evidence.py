"""Evidence: what customers told, as keyed hashes."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from services.referrals.rules.evidence.kinds import KEPT_FOR, MOST_SHARING, MOST_VALUES, Kind
from shared.messaging import erasure
from shared.messaging.erasure import Erasure
from shared.postgres.ids import id_of, joined
from shared.postgres.pool import Connection, Pool

MOST_ABOVE: Final = 10
"""How many advocates of one customer are followed in the search for circles."""

LATEST: Final = 2**63 - 1
"""The mark of a judgement that no event of a batch causes: everything that is stored counts."""

_AT_ONCE: Final = 10_000
"""Maximum number of values that a transaction forgets."""


class Told(NamedTuple):
    """A value that a batch told: `place` is the place in the batch of the event that told it first."""

    customer_id: str
    kind: Kind
    hash: bytes
    place: int
    until: datetime
    payload: bytes | None


class Registered(NamedTuple):
    """The registration of a customer, by the event at a place in the batch."""

    customer_id: str
    registered_at: datetime
    place: int


# Sorted, so that two transactions that tell of the same customer wait for each other instead of deadlocking.
ADD_SQL = """
WITH batch AS MATERIALIZED (SELECT nextval('evidence_mark') AS mark), told AS (
    INSERT INTO evidence (customer_id, kind, hash, mark, until, payload)
    SELECT customer_id, kind, hash, batch.mark + place, until, payload
    FROM unnest(string_to_array($1, chr(31)), $2::smallint[], $3::uuid[], $4::int[], $5::timestamptz[], $6::bytea[])
         AS new (customer_id, kind, hash, place, until, payload), batch
    ORDER BY customer_id, kind, hash
    ON CONFLICT (customer_id, kind, hash) DO UPDATE
    SET until = greatest(evidence.until, excluded.until),
        mark = CASE WHEN evidence.until < $7 THEN excluded.mark ELSE evidence.mark END
    WHERE evidence.until < excluded.until
), registered AS (
    INSERT INTO customer_registered (customer_id, registered_at, mark)
    SELECT customer_id, registered_at, batch.mark + place
    FROM unnest(string_to_array($8, chr(31)), $9::timestamptz[], $10::int[]) AS new (customer_id, registered_at, place),
         batch
    WHERE NOT EXISTS (
        SELECT FROM customer_registered AS earlier
        WHERE earlier.customer_id = new.customer_id AND earlier.registered_at <= new.registered_at
    )
    ORDER BY customer_id, registered_at
    ON CONFLICT (customer_id, registered_at) DO NOTHING
)
SELECT mark FROM batch
"""


async def add(connection: Connection, told: Sequence[Told], registered: Sequence[Registered], now: datetime) -> int:
    """Store what a batch told, each value of a customer once; returns the mark of the batch's first event."""
    customers, kinds, hashes, places, until, payloads = _columns(told, 6)
    names, times, at = _columns(registered, 3)
    mark = await connection.fetchval(
        ADD_SQL,
        *(joined(customers), kinds, list(map(id_of, hashes)), places, until, payloads, now - KEPT_FOR),
        *(joined(names), times, at),
    )
    assert isinstance(mark, int)
    return mark


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(count)]


COUNTRIES_SQL = """
SELECT customer_id, hash
FROM unnest(string_to_array($1, chr(31))) AS asked (customer_id)
CROSS JOIN LATERAL (
    SELECT hash FROM evidence
    WHERE evidence.customer_id = asked.customer_id AND kind = $2 AND until >= $3
    ORDER BY until DESC, mark DESC
    LIMIT 1
) AS newest
"""


async def load_countries(connection: Connection, customers: Collection[str], now: datetime) -> dict[str, bytes]:
    """The hashes of the countries that customers told last, by customer, of those who told one."""
    rows = await connection.fetch(COUNTRIES_SQL, joined(customers), Kind.COUNTRY, now - KEPT_FOR)
    return {row["customer_id"]: row["hash"].bytes for row in rows}


class Span(NamedTuple):
    """Asks for the values of a customer that count at any mark from `low` to `high`."""

    customer_id: str
    low: int
    high: int


class Row(NamedTuple):
    """A stored value of a customer."""

    customer_id: str
    kind: int
    mark: int
    hash: bytes
    payload: bytes | None


# As of a mark the newest values count, so those up to `low` suffice, and all that came between. The limit bounds what a
# customer with very many values costs.
VALUES_SQL = """
SELECT asked.customer_id, asked.kind, found.mark, found.hash, found.payload
FROM (
    SELECT customer_id, low, high, kind
    FROM unnest(string_to_array($1, chr(31)), $2::bigint[], $3::bigint[]) AS span (customer_id, low, high),
         unnest($4::smallint[]) AS kinds (kind)
) AS asked
CROSS JOIN LATERAL (
    (SELECT mark, hash, payload
     FROM evidence
     WHERE evidence.customer_id = asked.customer_id AND evidence.kind = asked.kind
       AND mark <= low AND until >= $5
     ORDER BY mark DESC
     LIMIT $6)
    UNION ALL
    SELECT mark, hash, payload
    FROM evidence
    WHERE low < high AND evidence.customer_id = asked.customer_id AND evidence.kind = asked.kind
      AND mark > low AND mark <= high AND until >= $5
) AS found
"""


async def load_values(
    connection: Connection, spans: Collection[Span], kinds: Sequence[Kind], now: datetime
) -> list[Row]:
    """The values of some kinds that customers told within the last 400 days, up to 50 of a kind and those of a span."""
    if not spans or not kinds:
        return []
    customers, low, high = zip(*spans, strict=True)
    rows = await connection.fetch(VALUES_SQL, joined(customers), low, high, kinds, now - KEPT_FOR, MOST_VALUES)
    return [Row(customer, kind, mark, hash_.bytes, payload) for customer, kind, mark, hash_, payload in rows]


SHARED_SQL = """
SELECT hash, mark
FROM unnest($1::uuid[], $2::bigint[]) AS asked (hash, mark)
WHERE (
    SELECT count(*)
    FROM (
        SELECT FROM evidence
        WHERE evidence.hash = asked.hash AND evidence.mark <= asked.mark AND until >= $3
        LIMIT $4 + 1
    ) AS customers
) > $4
"""


async def load_shared(
    connection: Connection, asked: Collection[tuple[bytes, int]], now: datetime
) -> set[tuple[bytes, int]]:
    """Those of the values that more than 50 customers have as of a mark."""
    if not asked:
        return set()
    hashes, marks = zip(*asked, strict=True)
    rows = await connection.fetch(SHARED_SQL, list(map(id_of, hashes)), marks, now - KEPT_FOR, MOST_SHARING)
    return {(row["hash"].bytes, row["mark"]) for row in rows}


# Referrals that were recorded later close no circle of this one: the sign-up that would close it is the one stopped.
EDGES_SQL = """
WITH RECURSIVE edge (place, before, friend_id, advocate_id, depth) AS (
    SELECT place, coalesce(own.number, $4), NULL, asked.advocate_id, 0
    FROM unnest($1::uuid[], string_to_array($2, chr(31))) WITH ORDINALITY AS asked (referral_id, advocate_id, place)
    LEFT JOIN referral AS own USING (referral_id)
    UNION
    SELECT place, before, edge.advocate_id, above.advocate_id, depth + 1
    FROM edge CROSS JOIN LATERAL (
        SELECT referral.advocate_id
        FROM referral
        WHERE referral.friend_id = edge.advocate_id AND state <> 'rejected' AND referral.advocate_id <> friend_id
          AND number < before
        ORDER BY number DESC
        LIMIT $3
    ) AS above
    WHERE depth < $5
)
SELECT DISTINCT place, friend_id, advocate_id FROM edge WHERE depth > 0
"""


async def load_edges(
    connection: Connection, referrals: Sequence[tuple[UUID, str]], levels: int
) -> list[dict[str, list[str]]]:
    """For referrals and their advocates: the advocates of customers some levels above, by customer.

    They are of referrals that were recorded before, or are all, where a referral is not recorded yet, and that were not
    rejected. Of a customer whom many brought (all but one of these expired), the newest.
    """
    ids, advocates = zip(*referrals, strict=True)
    edges: list[dict[str, list[str]]] = [{} for _ in referrals]
    for row in await connection.fetch(EDGES_SQL, ids, joined(advocates), MOST_ABOVE, LATEST, levels):
        edges[row["place"] - 1].setdefault(row["friend_id"], []).append(row["advocate_id"])
    return edges


FORGET_SQL = """
DELETE FROM evidence
WHERE ctid = ANY(ARRAY(SELECT ctid FROM evidence WHERE until < $1 ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED))
RETURNING kind
"""


async def forget(pool: Pool, now: datetime) -> None:
    """Job: delete what was last told more than 400 days ago, a bounded number of values in each transaction."""
    deleted = _AT_ONCE
    while deleted == _AT_ONCE:
        deleted = len(await pool.fetch(FORGET_SQL, now - KEPT_FOR, _AT_ONCE))


ERASE_SQL = """
WITH covered AS (
    SELECT own.customer_id, own.kind, own.hash
    FROM unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, at)
    CROSS JOIN LATERAL (
        SELECT customer_id, kind, hash
        FROM evidence
        WHERE evidence.customer_id = erased.customer_id AND until <= erased.at
        LIMIT $3
        FOR UPDATE SKIP LOCKED
    ) AS own
    LIMIT $3
)
DELETE FROM evidence
USING covered
WHERE evidence.customer_id = covered.customer_id AND evidence.kind = covered.kind AND evidence.hash = covered.hash
RETURNING evidence.kind
"""

FORGET_REGISTRATION_SQL = """
DELETE FROM customer_registered
USING unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, at)
WHERE customer_registered.customer_id = erased.customer_id AND registered_at <= erased.at
RETURNING customer_registered.customer_id
"""


async def erase(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Erase what customers told before their erasure; see `erasure.EraseOwn`."""
    customers, erased_at, _, _ = erasure.columns(erasures)
    erased = len(await connection.fetch(ERASE_SQL, customers, erased_at, most))
    return erased + len(await connection.fetch(FORGET_REGISTRATION_SQL, customers, erased_at))
