"""The customer's profile: a merge of events that does not depend on the order of their arrival.

There is one exception: an update that arrives after an erasure and before the next registration is dropped, so that
nothing is stored about an erased customer who may never return.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from services.notifications.rules import consent
from services.notifications.rules.consent import Action, Consents, Entry, How
from services.notifications.rules.preferences import SWITCHED
from shared.contracts.envelope import Event
from shared.contracts.shop import CustomerErased, CustomerProfile, CustomerRegistered, CustomerUpdated
from shared.contracts.values import trim

TYPES: Final = frozenset({"shop.customer.registered.v1", "shop.customer.updated.v1", "shop.customer.erased.v1"})
"""The event types that change a profile."""

# Devices, IP addresses and payment data are evidence against fraud and are not stored here.
_DETAILS: Final = ("name", "email", "phone", "locale", "time_zone", "country", "birth_date")
# People paste these with white space around them.
_TRIMMED: Final = frozenset({"email", "phone"})

Value = str | None


@dataclass(frozen=True, slots=True)
class Detail:
    """A field of the profile and the time of the event that set it; None if it was cleared."""

    value: Value
    at: datetime


@dataclass(frozen=True, slots=True)
class Profile:
    """A customer's profile fields by name.

    `seen_at` is the time of the newest registration or update, `registered_at` of the newest registration,
    `erased_at` of the newest erasure: events up to that time never count again, even if they arrive later. `consents`
    are those to marketing.
    """

    customer_id: str
    details: Mapping[str, Detail] = field(default_factory=dict[str, Detail])
    seen_at: datetime | None = None
    registered_at: datetime | None = None
    erased_at: datetime | None = None
    consents: Consents = consent.NOTHING

    @property
    def is_known(self) -> bool:
        """Whether there is a profile: the customer registered or was updated, and was not erased since."""
        return self.seen_at is not None

    @property
    def is_erased(self) -> bool:
        """Whether the customer was erased and has not registered since."""
        return self.erased_at is not None and not self.is_known

    @property
    def name(self) -> str | None:
        """Full name."""
        return self._text("name")

    @property
    def email(self) -> str | None:
        """The e-mail address as the shop sent it, trimmed; not validated."""
        email = self._text("email")
        return None if email is None else trim(email)  # older releases stored it untrimmed

    @property
    def phone(self) -> str | None:
        """The phone number as the shop sent it, trimmed; not validated."""
        return self._text("phone")

    @property
    def country(self) -> str | None:
        """The country as the shop sent it."""
        return self._text("country")

    @property
    def locale(self) -> str | None:
        """BCP 47 tag."""
        return self._text("locale")

    @property
    def time_zone(self) -> str | None:
        """IANA name."""
        return self._text("time_zone")

    def _text(self, name: str) -> str | None:
        detail = self.details.get(name)
        return None if detail is None else detail.value


def learn(profile: Profile, event: Event) -> Profile:
    """The profile after an event of `shop.customers`; other events leave it unchanged."""
    if isinstance(event.data, CustomerErased):
        return _erase(profile, event.time)
    if not isinstance(event.data, CustomerProfile) or not is_after_erasure(profile, event.time):
        return profile
    registers = isinstance(event.data, CustomerRegistered)
    if profile.is_erased and not registers:
        return profile  # only a registration starts a new profile
    details = dict(profile.details)
    for name, value in _changes(event.data):
        new, old = Detail(value, event.time), details.get(name)
        if old is None or _precedence(new) > _precedence(old):
            details[name] = new
    seen_at = max(profile.seen_at or event.time, event.time)
    registered_at = max(profile.registered_at or event.time, event.time) if registers else profile.registered_at
    consents = _hear(replace(profile, details=details), event, event.data)
    return replace(profile, details=details, seen_at=seen_at, registered_at=registered_at, consents=consents)


def is_after_erasure(profile: Profile, time: datetime) -> bool:
    """Whether an event at `time` is not covered by the customer's erasure."""
    return profile.erased_at is None or time > profile.erased_at


def _erase(profile: Profile, time: datetime) -> Profile:
    if not is_after_erasure(profile, time):
        return profile
    if profile.registered_at is None or profile.registered_at <= time:
        return Profile(profile.customer_id, erased_at=time)
    later = {name: detail for name, detail in profile.details.items() if detail.at > time}
    consents = consent.after_erasure(profile.consents, time)
    return replace(profile, details=later, erased_at=time, consents=consents)


def _changes(data: CustomerProfile) -> Iterator[tuple[str, Value]]:
    """The fields that an event sets. Null clears a field in an update only."""
    for name in filter(data.sets, _DETAILS):
        value = getattr(data, name)
        if isinstance(value, str) and name in _TRIMMED:
            value = trim(value)
        yield name, None if value is None else str(value)


def _hear(profile: Profile, event: Event, data: CustomerProfile) -> Consents:
    """The consents after what an event says about them."""
    consents = profile.consents
    if not data.sets("marketing_consent"):
        return consents
    clears = isinstance(data, CustomerUpdated)
    said = data.marketing_consent
    for channel in SWITCHED:
        value: bool | None = None if said is None else getattr(said, channel)
        if value is None and not (clears and (said is None or channel in said.model_fields_set)):
            continue
        action = Action.GRANTED if value else Action.WITHDRAWN
        actor = f"{event.source}#{event.id}"
        entry = Entry(channel, action, How.EVENT, event.time, actor, profile.locale)
        consents = consent.hear(consents, entry)
    return consents


def _precedence(detail: Detail) -> tuple[datetime, bool, str]:
    """Order of precedence: the newer wins; at the same time the greater text wins."""
    return detail.at, detail.value is not None, str(detail.value)
