"""Profiles of customers, and the lock on everything about a customer."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from services.notifications.rules.profile import Detail, Profile
from services.notifications.store import consents, searching
from shared.postgres.pool import Connection

MEET_SQL = """
INSERT INTO customer (customer_id)
SELECT * FROM unnest($1::text[])
ON CONFLICT (customer_id) DO NOTHING
"""

LOCK_SQL = """
SELECT customer_id, details, seen_at, registered_at, erased_at, consents
FROM customer
WHERE customer_id = ANY($1::text[])
ORDER BY customer_id
FOR UPDATE
"""


async def lock(connection: Connection, customer_ids: Collection[str]) -> dict[str, Profile]:
    """The profiles of customers, locked until the transaction ends; a new customer gets an empty one."""
    # Sorted, so that two transactions wait for each other instead of deadlocking. New rows first, before any lock: a
    # transaction that held locks and then waited for a row inserted by another would wait out of order.
    wanted = sorted(set(customer_ids))
    await connection.execute(MEET_SQL, wanted)
    return {row["customer_id"]: to_profile(row) for row in await connection.fetch(LOCK_SQL, wanted)}


LOAD_SQL = """
SELECT customer_id, details, seen_at, registered_at, erased_at, consents FROM customer WHERE customer_id = $1
"""


async def load(connection: Connection, customer_id: str) -> Profile:
    """The profile of a customer, without a lock; an empty one if nobody has heard of the customer."""
    row = await connection.fetchrow(LOAD_SQL, customer_id)
    return Profile(customer_id) if row is None else to_profile(row)


SAVE_SQL = """
UPDATE customer
SET details = new.details, seen_at = new.seen_at, registered_at = new.registered_at, erased_at = new.erased_at,
    consents = new.consents
FROM unnest($1::text[], $2::json[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::json[])
     AS new (customer_id, details, seen_at, registered_at, erased_at, consents)
WHERE customer.customer_id = new.customer_id
"""


async def save(connection: Connection, profiles: Sequence[Profile]) -> None:
    """Store the profiles of locked customers, append to the ledger of consent, and let them be found."""
    if profiles:
        await consents.append(connection, profiles)
        await connection.execute(
            SAVE_SQL,
            [profile.customer_id for profile in profiles],
            [_to_json(profile.details) for profile in profiles],
            [profile.seen_at for profile in profiles],
            [profile.registered_at for profile in profiles],
            [profile.erased_at for profile in profiles],
            [consents.to_json(profile.consents) for profile in profiles],
        )
        await searching.save(connection, profiles)


def to_profile(row: Mapping[str, Any]) -> Profile:
    """The profile in a row that has customer_id, details, seen_at, registered_at, erased_at and consents."""
    details: Mapping[str, Mapping[str, Any]] = row["details"]
    return Profile(
        customer_id=row["customer_id"],
        details={
            name: Detail(detail["value"], datetime.fromisoformat(detail["at"])) for name, detail in details.items()
        },
        seen_at=row["seen_at"],
        registered_at=row["registered_at"],
        erased_at=row["erased_at"],
        consents=consents.from_json(row["consents"]),
    )


def _to_json(details: Mapping[str, Detail]) -> dict[str, dict[str, Any]]:
    return {name: {"value": detail.value, "at": detail.at} for name, detail in details.items()}
