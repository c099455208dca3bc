"""A customer's date of birth, event by event."""

from datetime import date, datetime
from typing import NamedTuple

from shared.contracts.envelope import Event
from shared.contracts.shop import CustomerErased, CustomerProfile, CustomerRegistered


class Birth(NamedTuple):
    """A customer's date of birth, from the event of the time `told_at`; None where that event cleared it.

    `registered_at` is the time of the newest registration, `erased_at` that of the newest erasure: events up to the
    erasure never count again, also when they arrive later.
    """

    born: date | None
    told_at: datetime
    registered_at: datetime | None = None
    erased_at: datetime | None = None

    @property
    def is_erased(self) -> bool:
        """Whether the customer was erased and has not registered since; only a registration starts again."""
        return self.erased_at is not None and self.registered_at is None


def learn(birth: Birth | None, event: Event) -> Birth | None:
    """The date of birth after an event of `shop.customers`; None: no event has had one."""
    match event.data:
        case CustomerErased():
            return _erase(birth, event.time)
        case CustomerProfile() as data:
            return _learn(birth, data, event.time)
        case _:
            return birth


def _erase(birth: Birth | None, time: datetime) -> Birth:
    if birth is None or birth.registered_at is None or birth.registered_at <= time:
        return birth if birth is not None and (birth.erased_at or time) > time else Birth(None, time, erased_at=time)
    if birth.erased_at is not None and birth.erased_at >= time:
        return birth
    return birth._replace(born=birth.born if birth.told_at > time else None, erased_at=time)


def _learn(birth: Birth | None, data: CustomerProfile, time: datetime) -> Birth | None:
    registers = isinstance(data, CustomerRegistered)
    has_birth_date = data.sets("birth_date")
    if birth is None:
        return Birth(data.birth_date, time, time if registers else None) if has_birth_date else None
    if birth.erased_at is not None and time <= birth.erased_at:
        return birth
    if birth.is_erased and not registers:
        return birth
    if registers:
        birth = birth._replace(registered_at=max(birth.registered_at or time, time))
    return birth._replace(born=data.birth_date, told_at=time) if has_birth_date and time > birth.told_at else birth
