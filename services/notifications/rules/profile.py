"""What is known of a customer: a merge of events that gives the same profile in whatever order they arrive.

There is one exception, which keeps nothing of a customer who was erased and may never come back: an update that
arrives after the erasure and before the registration that follows it is not kept.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from shared.contracts.envelope import Event
from shared.contracts.shop import CustomerErased, CustomerProfile, CustomerRegistered, CustomerUpdated
from shared.contracts.values import trim

# Where a customer comes from (devices, addresses, payments) is evidence against fraud and not kept here.
_DETAILS: Final = ("name", "email", "phone", "locale", "time_zone", "country", "birth_date")
# People paste these with blanks around them.
_TRIMMED: Final = frozenset({"email", "phone"})
_CONSENTS: Final = ("email", "sms", "push")

Value = str | bool | None


@dataclass(frozen=True, slots=True)
class Detail:
    """A detail of a customer, and the time of the event that told it; a value of None was cleared."""

    value: Value
    at: datetime


@dataclass(frozen=True, slots=True)
class Profile:
    """A customer's details by name.

    `seen_at` is the time of the newest registration or update, `registered_at` of the newest registration,
    `erased_at` of the newest erasure: what was told up to then never counts again, also when it arrives later.
    """

    customer_id: str
    details: Mapping[str, Detail] = field(default_factory=dict[str, Detail])
    seen_at: datetime | None = None
    registered_at: datetime | None = None
    erased_at: datetime | None = None

    @property
    def is_known(self) -> bool:
        """Whether the customer registered (or was updated) and was not erased since."""
        return self.seen_at is not None

    @property
    def is_erased(self) -> bool:
        """Whether the customer was erased and has not registered since."""
        return self.erased_at is not None and not self.is_known

    @property
    def name(self) -> str | None:
        """How the customer is called."""
        return self._text("name")

    @property
    def email(self) -> str | None:
        """The e-mail address as it was told, trimmed: it may not be one."""
        told = self._text("email")
        return None if told is None else trim(told)  # profiles that were learned before this are not trimmed

    @property
    def locale(self) -> str | None:
        """BCP 47."""
        return self._text("locale")

    @property
    def time_zone(self) -> str | None:
        """IANA name."""
        return self._text("time_zone")

    def consents(self, channel: str) -> bool:
        """Whether marketing may reach the customer on the channel: only when the customer said so."""
        told = self.details.get(_consent(channel))
        return told is not None and told.value is True

    def _text(self, name: str) -> str | None:
        told = self.details.get(name)
        return told.value if told is not None and isinstance(told.value, str) else None


def learn(profile: Profile, event: Event) -> Profile:
    """The profile after an event of `shop.customers`; events of other topics change nothing."""
    if isinstance(event.data, CustomerErased):
        return _erase(profile, event.time)
    if not isinstance(event.data, CustomerProfile) or not is_after_erasure(profile, event.time):
        return profile
    registers = isinstance(event.data, CustomerRegistered)
    if profile.is_erased and not registers:
        return profile  # only a registration begins anew
    details = dict(profile.details)
    for name, value in _told(event.data):
        new, old = Detail(value, event.time), details.get(name)
        if old is None or _precedence(name, new) > _precedence(name, old):
            details[name] = new
    seen_at = max(profile.seen_at or event.time, event.time)
    registered_at = max(profile.registered_at or event.time, event.time) if registers else profile.registered_at
    return replace(profile, details=details, seen_at=seen_at, registered_at=registered_at)


def is_after_erasure(profile: Profile, time: datetime) -> bool:
    """Whether what happened at `time` is not covered by the customer's erasure."""
    return profile.erased_at is None or time > profile.erased_at


def _erase(profile: Profile, time: datetime) -> Profile:
    if not is_after_erasure(profile, time):
        return profile
    if profile.registered_at is None or profile.registered_at <= time:
        return Profile(profile.customer_id, erased_at=time)
    later = {name: detail for name, detail in profile.details.items() if detail.at > time}
    return replace(profile, details=later, erased_at=time)


def _told(data: CustomerProfile) -> Iterator[tuple[str, Value]]:
    """What an event says: an absent field nothing, and null clears in an update only."""
    for name in filter(data.tells, _DETAILS):
        value = getattr(data, name)
        if isinstance(value, str) and name in _TRIMMED:
            value = trim(value)
        yield name, None if value is None else str(value)
    if not data.tells("marketing_consent"):
        return
    clears = isinstance(data, CustomerUpdated)
    consent = data.marketing_consent
    for channel in _CONSENTS:
        value = None if consent is None else getattr(consent, channel)
        if value is not None or (clears and (consent is None or channel in consent.model_fields_set)):
            yield _consent(channel), value


def _precedence(name: str, detail: Detail) -> tuple[datetime, bool, str]:
    """The higher one stands: the newer; of two at one time the greater text, and no consent before consent."""
    if name.startswith(_CONSENT):
        return detail.at, detail.value is not True, str(detail.value)
    return detail.at, detail.value is not None, str(detail.value)


_CONSENT: Final = "consent."


def _consent(channel: str) -> str:
    return _CONSENT + channel
