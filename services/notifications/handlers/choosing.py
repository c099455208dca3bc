"""What customers choose: preferences, consent to marketing, and their browsers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from services.notifications.rules import consent
from services.notifications.rules.consent import Action, Consents, Entry, How
from services.notifications.rules.gate import Recipient, address_of
from services.notifications.rules.message import Channel, Reason
from services.notifications.rules.preferences import SWITCHED, Preferences
from services.notifications.rules.profile import Profile
from services.notifications.rules.tokens import Keys
from services.notifications.store import customers, preferences, subscriptions, suppressions
from services.notifications.store.subscriptions import Browser
from shared.postgres.pool import Connection


class ErasedCustomerError(Exception):
    """The customer was erased, and nothing is stored before the next registration."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a customer chose, with the consents in force."""

    preferences: Preferences
    consents: Consents


@dataclass(frozen=True, slots=True)
class Choice:
    """What is chosen, and by whom: a channel without a consent here keeps its own.

    `is_own`: the customer does it, so that an address of theirs that bounced is tried again.
    """

    preferences: Preferences
    consents: Mapping[Channel, bool]
    actor: str
    is_own: bool


async def load(connection: Connection, customer_id: str) -> Chosen:
    """What a customer chose; a customer who is unknown has the defaults."""
    profile = await customers.load(connection, customer_id)
    return Chosen(await preferences.load(connection, customer_id), profile.consents)


async def choose(connection: Connection, keys: Keys, customer_id: str, choice: Choice, now: datetime) -> Chosen:
    """Replace a customer's preferences, and change the consents that are given.

    Raises:
        ErasedCustomerError: the customer was erased.
    """
    profile = await _lock(connection, customer_id)
    wanted = choice.preferences
    locale = wanted.locale or profile.locale
    consents = profile.consents
    for channel, is_granted in choice.consents.items():
        action = Action.GRANTED if is_granted else Action.WITHDRAWN
        consents = consent.change(consents, Entry(channel, action, How.API, now, choice.actor, locale))
    await save_consents(connection, profile, consents)
    await preferences.save(connection, customer_id, wanted, now)
    if choice.is_own:
        await _forgive(connection, keys, Recipient(profile, wanted))
    return Chosen(wanted, consents)


async def save_consents(connection: Connection, profile: Profile, consents: Consents) -> None:
    """Store the consents of a locked customer, if they changed."""
    if consents.new:
        await customers.save(connection, [replace(profile, consents=consents)])


async def register(connection: Connection, browser: Browser) -> Browser:
    """Register a customer's browser for pushed messages; beyond ten, the one registered first is dropped.

    Raises:
        ErasedCustomerError: the customer was erased.
    """
    await _lock(connection, browser.customer_id)
    registered = await subscriptions.register(connection, browser)
    await subscriptions.trim(connection, browser.customer_id)
    return registered


async def _lock(connection: Connection, customer_id: str) -> Profile:
    profile = (await customers.lock(connection, [customer_id]))[customer_id]
    if profile.is_erased:
        raise ErasedCustomerError
    return profile


async def _forgive(connection: Connection, keys: Keys, recipient: Recipient) -> None:
    hashes = [
        keys.hash_address(channel, address)
        for channel in SWITCHED
        if recipient.preferences.wants(channel)
        and not isinstance(address := address_of(recipient, channel), Reason)
        and address
    ]
    await suppressions.forgive(connection, hashes)
