"""What is known of customers, and the lock on everything about them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from services.notifications.rules.profile import Detail, Profile
from shared.postgres.pool import Connection

MEET_SQL = """
INSERT INTO customer (customer_id)
SELECT * FROM unnest($1::text[])
ON CONFLICT (customer_id) DO NOTHING
"""

LOCK_SQL = """
SELECT customer_id, details, seen_at, registered_at, erased_at
FROM customer
WHERE customer_id = ANY($1::text[])
ORDER BY customer_id
FOR UPDATE
"""


async def lock(connection: Connection, customer_ids: Collection[str]) -> dict[str, Profile]:
    """The profiles of customers, locked until the transaction ends; whoever is new gets an empty one."""
    # In one order everywhere, so that two transactions wait for each other instead of deadlocking; and the new ones
    # ahead of all locks: whoever held some, and then waited for one just met by another, would wait out of order.
    wanted = sorted(set(customer_ids))
    await connection.execute(MEET_SQL, wanted)
    return {row["customer_id"]: to_profile(row) for row in await connection.fetch(LOCK_SQL, wanted)}


SAVE_SQL = """
UPDATE customer
SET details = new.details, seen_at = new.seen_at, registered_at = new.registered_at, erased_at = new.erased_at
FROM unnest($1::text[], $2::json[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[])
     AS new (customer_id, details, seen_at, registered_at, erased_at)
WHERE customer.customer_id = new.customer_id
"""


async def save(connection: Connection, profiles: Sequence[Profile]) -> None:
    """Store profiles of customers that are locked."""
    if profiles:
        await connection.execute(
            SAVE_SQL,
            [one.customer_id for one in profiles],
            [_to_json(one.details) for one in profiles],
            [one.seen_at for one in profiles],
            [one.registered_at for one in profiles],
            [one.erased_at for one in profiles],
        )


def to_profile(row: Mapping[str, Any]) -> Profile:
    """The profile in a row that has customer_id, details, seen_at, registered_at and erased_at."""
    details: Mapping[str, Mapping[str, Any]] = row["details"]
    return Profile(
        customer_id=row["customer_id"],
        details={name: Detail(one["value"], datetime.fromisoformat(one["at"])) for name, one in details.items()},
        seen_at=row["seen_at"],
        registered_at=row["registered_at"],
        erased_at=row["erased_at"],
    )


def _to_json(details: Mapping[str, Detail]) -> dict[str, dict[str, Any]]:
    return {name: {"value": one.value, "at": one.at} for name, one in details.items()}
