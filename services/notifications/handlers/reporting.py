"""What providers report: deliveries, bounces, complaints, and replies such as STOP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from services.notifications.handlers import marking
from services.notifications.handlers.marking import Marking
from services.notifications.rules import consent
from services.notifications.rules.consent import Action, Entry, How
from services.notifications.rules.gate import mailbox, phone_number
from services.notifications.rules.mark import Mark
from services.notifications.rules.message import Channel
from services.notifications.rules.profile import Profile
from services.notifications.rules.tokens import Keys
from services.notifications.store import customers, suppressions
from services.notifications.store import marks as stored
from services.notifications.store.marks import Sent
from services.notifications.store.suppressions import Cause
from shared.postgres.pool import Connection

MOST_OWNERS: Final = 1_000
"""Customers that a report about addresses alone concerns at most."""

_WITHDRAWING: Final = frozenset({Mark.COMPLAINED, Mark.UNSUBSCRIBED})
_CAUSES: Final = {Mark.BOUNCED: Cause.BOUNCED, Mark.COMPLAINED: Cause.COMPLAINED}


@dataclass(frozen=True, slots=True)
class Report:
    """What happened to a message, or at an address; `mark` says what."""

    mark: Mark
    address: str
    message_id: UUID | None
    at: datetime

    @property
    def channel(self) -> Channel:
        """The channel of the address."""
        return Channel.EMAIL if "@" in self.address else Channel.SMS

    def hash(self, keys: Keys) -> bytes:
        """The hash of the address, as the gate has it for the same address."""
        normal = mailbox(self.address) if self.channel is Channel.EMAIL else phone_number(self.address, None)
        return keys.hash_address(self.channel, normal or self.address)


async def handle(connection: Connection, keys: Keys, provider: str, reports: Sequence[Report], now: datetime) -> None:
    """Suppress addresses that bounced or complained, withdraw consents, and mark the messages.

    A report that names no message concerns the customers to whom something was sent at its address.
    """
    sent = await stored.find(connection, sorted({each.message_id for each in reports if each.message_id is not None}))
    owners = await suppressions.owners(
        connection, sorted({each.hash(keys) for each in reports if each.mark in _WITHDRAWING}), MOST_OWNERS
    )
    concerned = {message.customer_id for message in sent.values()} | {customer_id for _, customer_id in owners}
    profiles = await customers.lock(connection, concerned) if concerned else {}
    suppressed = [(each.hash(keys), _CAUSES[each.mark]) for each in reports if each.mark in _CAUSES]
    await suppressions.suppress(connection, [code for code, _ in suppressed], [cause for _, cause in suppressed], now)
    withdrawn = _withdrawn(keys, reports, sent, owners)
    changed = [
        _withdraw(profiles[customer_id], provider, entries)
        for customer_id, entries in withdrawn.items()
        if not profiles[customer_id].is_erased
    ]
    await customers.save(connection, [profile for profile in changed if profile.consents.new])
    markings = [
        Marking(sent[each.message_id], each.mark, min(each.at, now))
        for each in reports
        if each.message_id is not None and each.message_id in sent
    ]
    await marking.record(connection, markings)


def _withdraw(profile: Profile, provider: str, entries: Sequence[Entry]) -> Profile:
    consents = profile.consents
    for entry in entries:
        consents = consent.change(consents, replace(entry, actor=f"provider:{provider}"))
    return replace(profile, consents=consents)


def _withdrawn(
    keys: Keys, reports: Sequence[Report], sent: Mapping[UUID, Sent], owners: Sequence[tuple[bytes, str]]
) -> dict[str, list[Entry]]:
    """The consents that complaints and replies withdraw, by customer."""
    entries: dict[str, list[Entry]] = {}
    for report in reports:
        if report.mark not in _WITHDRAWING:
            continue
        code = report.hash(keys)
        message = None if report.message_id is None else sent.get(report.message_id)
        whose = {customer_id for known, customer_id in owners if known == code}
        if message is not None:
            whose = {message.customer_id}
        for customer_id in whose:
            entry = Entry(report.channel, Action.WITHDRAWN, How.EVENT, report.at, "")
            entries.setdefault(customer_id, []).append(entry)
    return entries
