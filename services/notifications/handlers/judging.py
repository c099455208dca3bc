"""Asks the gate about messages to many customers at a time, with what it has to know of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.notifications.rules import gate
from services.notifications.rules.gate import Candidate, Limits, Recipient, Send, Verdict
from services.notifications.rules.message import Channel, Kind
from services.notifications.rules.profile import Profile
from services.notifications.rules.tokens import Keys
from services.notifications.store import recipients, suppressions
from shared.postgres.pool import Connection

Addressed = tuple[str, Candidate]
"""A message, and the customer to whom it goes."""


@dataclass(frozen=True, slots=True)
class Judge:
    """The gate with the settings: `keys` hash addresses."""

    limits: Limits
    keys: Keys

    async def recipients(
        self, connection: Connection, profiles: Mapping[str, Profile], messages: Sequence[Addressed], now: datetime
    ) -> dict[str, Recipient]:
        """What the gate has to know of locked customers to judge these messages."""
        capped = {customer_id for customer_id, message in messages if message.kind is Kind.MARKETING}
        channels: dict[str, set[Channel]] = {}
        for customer_id, message in messages:
            channels.setdefault(customer_id, set()).add(message.channel)
        wanted = {customer_id: profiles[customer_id] for customer_id in channels}
        found = await recipients.load(connection, wanted, capped, now)
        return await recipients.with_suppressions(connection, self.keys, found, channels)

    async def judge(
        self, connection: Connection, profiles: Mapping[str, Profile], messages: Sequence[Addressed], now: datetime
    ) -> list[tuple[Verdict, Recipient]]:
        """The verdict on each message, in their order: those that are sent count for the caps of the later ones.

        The addresses of those that are sent are remembered, for what a provider says of an address later.
        """
        known = await self.recipients(connection, profiles, messages, now)
        judged: list[tuple[Verdict, Recipient]] = []
        for customer_id, message in messages:
            recipient = known[customer_id]
            verdict = gate.judge(message, recipient, now, self.limits)
            if isinstance(verdict, Send):
                known[customer_id] = gate.counting(recipient, message, now)
            judged.append((verdict, recipient))
        verdicts = (verdict for verdict, _ in judged)
        await self._remember(connection, zip(messages, verdicts, strict=True), now)
        return judged

    async def _remember(
        self, connection: Connection, judged: Iterable[tuple[Addressed, Verdict]], now: datetime
    ) -> None:
        reached = [
            (self.keys.hash_address(message.channel, verdict.address), customer_id)
            for (customer_id, message), verdict in judged
            if isinstance(verdict, Send) and verdict.address
        ]
        hashes, customer_ids = [code for code, _ in reached], [customer_id for _, customer_id in reached]
        await suppressions.reach(connection, hashes, customer_ids, now)
