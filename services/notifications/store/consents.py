"""The ledger of consent to marketing: append-only but for erasures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.notifications.rules.consent import Consents, Standing
from services.notifications.rules.message import Channel
from services.notifications.rules.profile import Profile
from shared.postgres.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class Row:
    """An entry of the ledger as it was recorded; `number` is the order of recording."""

    number: int
    channel: str
    action: str
    how: str
    at: datetime
    recorded_at: datetime
    actor: str
    locale: str | None


APPEND_SQL = """
INSERT INTO consent (customer_id, channel, action, how, at, actor, locale)
SELECT customer_id, channel, action, how, at, actor, locale
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[])
     WITH ORDINALITY AS new (customer_id, channel, action, how, at, actor, locale, place)
ORDER BY place
"""


async def append(connection: Connection, profiles: Sequence[Profile]) -> None:
    """Append the new entries of locked customers."""
    new = [(profile.customer_id, entry) for profile in profiles for entry in profile.consents.new]
    if new:
        await connection.execute(
            APPEND_SQL,
            [customer_id for customer_id, _ in new],
            [entry.channel for _, entry in new],
            [entry.action for _, entry in new],
            [entry.how for _, entry in new],
            [entry.at for _, entry in new],
            [entry.actor for _, entry in new],
            [entry.locale for _, entry in new],
        )


LIST_SQL = """
SELECT number, channel, action, how, at, recorded_at, actor, locale
FROM consent
WHERE customer_id = $1 AND number < $2
ORDER BY number DESC
LIMIT $3
"""


async def listed(pool: Pool, customer_id: str, before: int, limit: int) -> list[Row]:
    """A customer's ledger, newest first: up to `limit` entries with numbers below `before`."""
    return [Row(**row) for row in await pool.fetch(LIST_SQL, customer_id, before, limit)]


def to_json(consents: Consents) -> dict[str, dict[str, Any]]:
    """What is in force, as it is stored."""
    return {
        channel: {"granted": one.granted, "at": one.at, "word": one.word, "word_at": one.word_at}
        for channel, one in consents.standings.items()
    }


def from_json(stored: Mapping[str, Mapping[str, Any]]) -> Consents:
    """What is in force, from how it is stored."""
    standings = {
        Channel(channel): Standing(one["granted"], _instant(one["at"]), one["word"], _instant(one["word_at"]))
        for channel, one in stored.items()
    }
    return Consents(standings)


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
