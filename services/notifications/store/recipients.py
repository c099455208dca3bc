"""What the gate knows of customers, loaded for many at a time."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from services.notifications.rules.gate import COUNTED, Recipient, address_of
from services.notifications.rules.message import Channel, Reason
from services.notifications.rules.profile import Profile
from services.notifications.rules.tokens import Keys
from services.notifications.store import suppressions
from services.notifications.store.preferences import to_preferences
from shared.postgres.pool import Connection

_ADDRESSED = frozenset({Channel.EMAIL, Channel.SMS})

LOAD_SQL = """
SELECT wanted.customer_id, locale, time_zone, quiet_from, quiet_to, off, topics_off,
       EXISTS (SELECT FROM push_subscription AS browser WHERE browser.customer_id = wanted.customer_id) AS has_browser
FROM unnest($1::text[]) AS wanted (customer_id) LEFT JOIN preference USING (customer_id)
"""


async def load(
    connection: Connection, profiles: Mapping[str, Profile], capped: Collection[str], now: datetime
) -> dict[str, Recipient]:
    """What the gate knows of locked customers, without suppressions.

    `capped` are those whose marketing messages of the last days count, since there is one to send them.
    """
    if not profiles:
        return {}
    sent = await _load_sent(connection, sorted(capped), now)
    return {
        row["customer_id"]: Recipient(
            profiles[row["customer_id"]],
            to_preferences(row),
            has_browser=row["has_browser"],
            sent=sent.get(row["customer_id"], {}),
        )
        for row in await connection.fetch(LOAD_SQL, list(profiles))
    }


# The newest hundred are more than any cap lets through.
SENT_SQL = """
SELECT customer_id, channel, sent_at
FROM unnest($1::text[]) AS wanted (customer_id)
CROSS JOIN unnest(ARRAY['email', 'sms', 'push']) AS capped (channel)
CROSS JOIN LATERAL (
    SELECT sent_at
    FROM message
    WHERE message.customer_id = wanted.customer_id AND message.channel = capped.channel AND kind = 'marketing'
      AND sent_at > $2
    ORDER BY sent_at DESC
    LIMIT 100
) AS sent
"""


async def _load_sent(
    connection: Connection, customer_ids: Sequence[str], now: datetime
) -> dict[str, dict[Channel, list[datetime]]]:
    sent: dict[str, dict[Channel, list[datetime]]] = {}
    if customer_ids:
        for row in await connection.fetch(SENT_SQL, customer_ids, now - COUNTED):
            sent.setdefault(row["customer_id"], {}).setdefault(Channel(row["channel"]), []).append(row["sent_at"])
    return sent


async def with_suppressions(
    connection: Connection, keys: Keys, recipients: Mapping[str, Recipient], channels: Mapping[str, Collection[Channel]]
) -> dict[str, Recipient]:
    """The recipients with what is suppressed of the addresses on these channels, by customer."""
    hashes = {
        (customer_id, channel): keys.hash_address(channel, address)
        for customer_id, wanted in channels.items()
        for channel in _ADDRESSED.intersection(wanted)
        if not isinstance(address := address_of(recipients[customer_id], channel), Reason)
    }
    found = await suppressions.suppressed(connection, sorted(set(hashes.values())))
    after = dict(recipients)
    for (customer_id, channel), code in hashes.items():
        if code in found:
            recipient = after[customer_id]
            after[customer_id] = replace(recipient, suppressed=recipient.suppressed | {channel})
    return after
