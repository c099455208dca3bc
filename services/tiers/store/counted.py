"""What counts besides orders: reviews, referrals, activities, and transactions of points with their reasons."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from services.tiers.rules.admission import Admission
from services.tiers.rules.counting import About, Counted, CountedKey, Kind
from services.tiers.rules.qualifying import Reason
from services.tiers.rules.reversing import Transaction
from shared.postgres.ids import joined
from shared.postgres.pool import Connection

_ENCODER: Final = msgspec.json.Encoder()

NAMED_SQL = """
SELECT counted.customer_id, counted.kind, counted.key, earned_at, amount, digest, name, about, taken_at
FROM unnest(string_to_array($1, chr(31)), string_to_array($2, chr(31)), string_to_array($3, chr(31)))
    AS wanted (customer_id, kind, key)
JOIN counted ON counted.customer_id = wanted.customer_id AND counted.kind = wanted.kind AND counted.key = wanted.key
"""


async def load_named(connection: Connection, keys: Collection[CountedKey]) -> dict[CountedKey, Counted]:
    """Those of the rows with these natural keys that are recorded."""
    if not keys:
        return {}
    rows: Sequence[Any] = await connection.fetch(NAMED_SQL, *map(joined, zip(*keys, strict=True)))
    return {
        (row["customer_id"], cast("Kind", row["kind"]), row["key"]): Counted(
            row["earned_at"], int(row["amount"]), row["digest"], row["name"], row["about"], row["taken_at"]
        )
        for row in rows
    }


# A reason without a stored state has a single transaction.
REASONS_SQL = """
SELECT wanted.customer_id, wanted.about, state, earned_at, key, amount
FROM unnest(string_to_array($1, chr(31)), string_to_array($2, chr(31))) AS wanted (customer_id, about)
LEFT JOIN reversing ON reversing.customer_id = wanted.customer_id AND reversing.about = wanted.about
CROSS JOIN LATERAL (
    SELECT earned_at, key, amount
    FROM counted
    WHERE counted.customer_id || '/' || counted.about = wanted.customer_id || '/' || wanted.about
    LIMIT 1
) AS first
"""


async def load_reasons(connection: Connection, abouts: Collection[About]) -> dict[About, Reason]:
    """The reasons for which points were earned before."""
    if not abouts:
        return {}
    rows: Sequence[Any] = await connection.fetch(REASONS_SQL, *map(joined, zip(*abouts, strict=True)))
    return {
        (row["customer_id"], row["about"]): Reason(
            row["state"], Transaction(row["earned_at"], row["key"], int(row["amount"]))
        )
        for row in rows
    }


TRANSACTIONS_SQL = """
SELECT wanted.customer_id, wanted.about, earned_at AS time, key AS id,
       CASE kind WHEN 'points' THEN amount ELSE -amount END AS points
FROM unnest($1::text[], $2::text[]) AS wanted (customer_id, about)
JOIN counted ON counted.customer_id || '/' || counted.about = wanted.customer_id || '/' || wanted.about
"""


async def load_transactions(connection: Connection, abouts: Collection[About]) -> dict[About, list[Transaction]]:
    """All transactions of reasons."""
    transactions: defaultdict[About, list[Transaction]] = defaultdict(list)
    if abouts:
        for row in await connection.fetch(TRANSACTIONS_SQL, *zip(*abouts, strict=True)):
            transaction = Transaction(row["time"], row["id"], int(row["points"]))
            transactions[row["customer_id"], row["about"]].append(transaction)
    return transactions


async def save(connection: Connection, admission: Admission) -> None:
    """Write what was admitted: new rows, those that were taken back, and changed states of reasons."""
    rows = admission.counted
    await _add(connection, [(key, rows[key]) for key in admission.new])
    await _take_back(connection, [(*key, rows[key].taken_at) for key in admission.taken_back])
    states = {about: state.to_json() for about, state in admission.reasons.items()}
    await _save_reasons(connection, states)


ADD_SQL = """
INSERT INTO counted (customer_id, kind, key, name, about, amount, earned_at, taken_at, digest)
SELECT customer_id, kind, key, coalesce(name, ''), nullif(about, ''), amount::numeric, earned_at, taken_at, digest
FROM unnest(string_to_array($1, chr(31)), string_to_array($2, chr(31)), string_to_array($3, chr(31)),
            string_to_array($4, chr(31)), string_to_array($5, chr(31)), string_to_array($6, chr(31)),
            $7::timestamptz[], $8::timestamptz[], $9::bigint[])
    AS new (customer_id, kind, key, name, about, amount, earned_at, taken_at, digest)
"""


async def _add(connection: Connection, rows: Sequence[tuple[CountedKey, Counted]]) -> None:
    if not rows:
        return
    values = [
        (*key, row.name, row.about or "", str(row.amount), row.earned_at, row.taken_at, row.digest) for key, row in rows
    ]
    columns: list[Any] = list(zip(*values, strict=True))
    await connection.execute(ADD_SQL, *map(joined, columns[:6]), *columns[6:])


TAKE_BACK_SQL = """
UPDATE counted
SET taken_at = new.taken_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) AS new (customer_id, kind, key, taken_at)
WHERE counted.customer_id = new.customer_id AND counted.kind = new.kind AND counted.key = new.key
"""


async def _take_back(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        await connection.execute(TAKE_BACK_SQL, *zip(*rows, strict=True))


SAVE_REASONS_SQL = """
INSERT INTO reversing (customer_id, about, state)
SELECT customer_id, about, state::json
FROM unnest($1::text[], $2::text[], $3::text[]) AS new (customer_id, about, state)
ON CONFLICT (customer_id, about) DO UPDATE SET state = excluded.state
"""


async def _save_reasons(connection: Connection, states: Mapping[About, Mapping[str, Any]]) -> None:
    if states:
        rows = [(*about, _ENCODER.encode(state).decode()) for about, state in states.items()]
        await connection.execute(SAVE_REASONS_SQL, *zip(*rows, strict=True))
