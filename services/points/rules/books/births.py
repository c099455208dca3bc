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


def learn(known: Birth | None, event: Event) -> Birth | None:
    """The date of birth after an event of `shop.customers`; None: nothing is known."""
    match event.data:
        case CustomerErased():
            return _erase(known, event.time)
        case CustomerProfile() as data:
            return _learn(known, data, event.time)
        case _:
            return known


def _erase(known: Birth | None, time: datetime) -> Birth:
    if known is None or known.registered_at is None or known.registered_at <= time:
        return known if known is not None and (known.erased_at or time) > time else Birth(None, time, erased_at=time)
    if known.erased_at is not None and known.erased_at >= time:
        return known
    return known._replace(born=known.born if known.told_at > time else None, erased_at=time)


def _learn(known: Birth | None, data: CustomerProfile, time: datetime) -> Birth | None:
    registers = isinstance(data, CustomerRegistered)
    tells = data.tells("birth_date")
    if known is None:
        return Birth(data.birth_date, time, time if registers else None) if tells else None
    if known.erased_at is not None and time <= known.erased_at:
        return known
    if known.is_erased and not registers:
        return known
    if registers:
        known = known._replace(registered_at=max(known.registered_at or time, time))
    return known._replace(born=data.birth_date, told_at=time) if tells and time > known.told_at else known
