"""Consent to marketing, per channel: entries of an append-only ledger, and what is in force after them.

In force is the newest entry by its time; of entries with one time, a withdrawal. A withdrawal by the customer is always
the newest: it is dated after a grant that a shop dated ahead.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from services.notifications.rules.message import Channel

_LEAST: Final = timedelta(microseconds=1)


class How(StrEnum):
    """How a consent was given or withdrawn."""

    EVENT = "event"
    """An event of the shop, or of a provider that got a complaint or a reply such as STOP."""
    API = "api"
    """The preferences were stored over HTTP."""
    ONE_CLICK = "one_click"
    """The customer's mail program unsubscribed (RFC 8058)."""
    PAGE = "page"
    """The customer used the page behind the link in a message."""


class Action(StrEnum):
    """What an entry does."""

    GRANTED = "granted"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the ledger. `locale` is the language in which the customer was asked, if it is known.

    `actor` is who called the API, the source and id of the event, or the message.
    """

    channel: Channel
    action: Action
    how: How
    at: datetime
    actor: str
    locale: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is in force on a channel since `at` (None: there is no entry), and the newest word of the shop's events.

    The shop's word is kept apart, since it grants once only: a nightly synchronization repeats a consent that the
    customer withdrew elsewhere.
    """

    granted: bool = False
    at: datetime | None = None
    word: bool | None = None
    word_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Consents:
    """A customer's consents by channel; `new` are the entries that are not stored yet, in their order."""

    standings: Mapping[Channel, Standing]
    new: tuple[Entry, ...] = ()

    def on(self, channel: Channel) -> Standing:
        """The standing on a channel."""
        return self.standings.get(channel, _NONE)

    def granted(self, channel: Channel) -> bool:
        """Whether the customer consents to marketing on the channel."""
        return self.on(channel).granted


_NONE: Final = Standing()
NOTHING: Final = Consents({})
"""The consents of a customer who was never asked."""


def add(consents: Consents, entry: Entry) -> Consents:
    """The consents after a new entry."""
    standing = consents.on(entry.channel)
    is_grant = entry.action is Action.GRANTED
    if standing.at is None or (entry.at, not is_grant) > (standing.at, not standing.granted):
        standing = replace(standing, granted=is_grant, at=entry.at)
    return Consents({**consents.standings, entry.channel: standing}, (*consents.new, entry))


def change(consents: Consents, wanted: Entry) -> Consents:
    """The consents after the customer, or somebody for the customer, grants or withdraws one.

    What is in force already changes nothing. The entry is dated after what it changes, also if that is dated ahead.
    """
    standing = consents.on(wanted.channel)
    if standing.granted is (wanted.action is Action.GRANTED):
        return consents
    at = wanted.at if standing.at is None else max(wanted.at, standing.at + _LEAST)
    return add(consents, replace(wanted, at=at))


def hear(consents: Consents, entry: Entry) -> Consents:
    """The consents after an event of the shop: a word on a channel, in any order of arrival.

    A grant counts where the word before it was not a grant already; a refusal always withdraws. A refusal that arrives
    late ends the grants before it only: a word after it grants anew.
    """
    is_grant = entry.action is Action.GRANTED
    before = consents.on(entry.channel)
    is_newest = before.word_at is None or (entry.at, not is_grant) > (before.word_at, not before.word)
    if is_newest:
        word = replace(before, word=is_grant, word_at=entry.at)
        consents = replace(consents, standings={**consents.standings, entry.channel: word})
    if is_grant:
        return add(consents, entry) if is_newest and before.word is not True else consents
    if not before.granted or before.at is None or before.at > entry.at:
        return consents
    consents = add(consents, entry)
    if not is_newest and before.word and before.word_at is not None:
        consents = add(consents, replace(entry, action=Action.GRANTED, at=before.word_at))
    return consents


def after_erasure(consents: Consents, erased_at: datetime) -> Consents:
    """What is left of consents after an erasure: what was said later."""
    standings = {
        channel: kept
        for channel, standing in consents.standings.items()
        if (kept := _after(standing, erased_at)) != _NONE
    }
    return Consents(standings, tuple(entry for entry in consents.new if entry.at > erased_at))


def _after(standing: Standing, erased_at: datetime) -> Standing:
    if standing.at is not None and standing.at <= erased_at:
        standing = replace(standing, granted=False, at=None)
    if standing.word_at is not None and standing.word_at <= erased_at:
        standing = replace(standing, word=None, word_at=None)
    return standing


def in_force(entries: Iterable[Entry]) -> dict[Channel, bool]:
    """What is in force after all entries of a ledger, by the definition: the newest, of equal times a withdrawal."""
    newest: dict[Channel, Entry] = {}
    for entry in entries:
        other = newest.get(entry.channel)
        if other is None or _place(entry) >= _place(other):
            newest[entry.channel] = entry
    return {channel: entry.action is Action.GRANTED for channel, entry in newest.items()}


def _place(entry: Entry) -> tuple[datetime, bool]:
    return entry.at, entry.action is Action.WITHDRAWN
