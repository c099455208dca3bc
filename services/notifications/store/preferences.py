"""What customers want to get: a row per customer who chose something."""

from collections.abc import Mapping
from datetime import datetime, time
from typing import Any

from services.notifications.rules import preferences as rules
from services.notifications.rules.message import Channel
from services.notifications.rules.preferences import Preferences
from services.notifications.rules.quiet import QuietHours
from shared.postgres.pool import Connection

LOAD_SQL = """
SELECT locale, time_zone, quiet_from, quiet_to, off, topics_off FROM preference WHERE customer_id = $1
"""


async def load(connection: Connection, customer_id: str) -> Preferences:
    """A customer's preferences."""
    row = await connection.fetchrow(LOAD_SQL, customer_id)
    return rules.DEFAULT if row is None else to_preferences(row)


SAVE_SQL = """
INSERT INTO preference (customer_id, locale, time_zone, quiet_from, quiet_to, off, topics_off, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (customer_id) DO UPDATE
SET locale = excluded.locale, time_zone = excluded.time_zone, quiet_from = excluded.quiet_from,
    quiet_to = excluded.quiet_to, off = excluded.off, topics_off = excluded.topics_off,
    updated_at = excluded.updated_at
"""


async def save(connection: Connection, customer_id: str, preferences: Preferences, now: datetime) -> None:
    """Store the preferences of a locked customer."""
    hours = preferences.quiet_hours
    await connection.execute(
        SAVE_SQL,
        customer_id,
        preferences.locale,
        preferences.time_zone,
        hours and hours.start,
        hours and hours.end,
        sorted(preferences.off),
        rules.to_words(preferences.topics_off),
        now,
    )


def to_preferences(row: Mapping[str, Any]) -> Preferences:
    """The preferences in a row that has locale, time_zone, quiet_from, quiet_to, off and topics_off, or nulls."""
    start: time | None = row["quiet_from"]
    return Preferences(
        locale=row["locale"],
        time_zone=row["time_zone"],
        quiet_hours=None if start is None else QuietHours(start, row["quiet_to"]),
        off=frozenset(Channel(word) for word in row["off"] or ()),
        topics_off=rules.from_words(row["topics_off"] or ()),
    )
