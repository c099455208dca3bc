"""Who customers are to journeys: where they stand, and their dates."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from services.notifications.rules.journey.conditions import Standing
from services.notifications.rules.journey.timing import Person
from services.notifications.rules.profile import Profile
from services.notifications.store import standings
from services.notifications.store.standings import Row
from shared.postgres.pool import Connection

_NOBODY = Row()


@dataclass(frozen=True, slots=True)
class People:
    """What journeys know of customers."""

    standings: Mapping[str, Standing]
    dates: Mapping[str, Person]


async def who(connection: Connection, profiles: Mapping[str, Profile], zone: ZoneInfo) -> People:
    """What is known of locked customers; `zone` is that of those whose profile has none."""
    rows = await standings.load(connection, profiles)
    return People(
        {id_: standing(profile, rows.get(id_, _NOBODY), zone) for id_, profile in profiles.items()},
        {id_: person(profile, rows.get(id_, _NOBODY), zone) for id_, profile in profiles.items()},
    )


def plain(profiles: Iterable[Profile], zone: ZoneInfo) -> dict[str, Standing]:
    """Where customers stand by their profiles alone, for journeys that ask for no more."""
    return {profile.customer_id: standing(profile, _NOBODY, zone) for profile in profiles}


def standing(profile: Profile, row: Row, zone: ZoneInfo) -> Standing:
    """Where a customer stands."""
    return Standing(
        profile.customer_id,
        _zone(profile, row, zone),
        row.locale or profile.locale,
        _text(profile, "country"),
        row.tier,
        row.available,
        row.spent,
    )


def person(profile: Profile, row: Row, zone: ZoneInfo) -> Person:
    """The dates of a customer."""
    birth_date = _text(profile, "birth_date")
    born = None if birth_date is None else date.fromisoformat(birth_date)
    return Person(profile.customer_id, _zone(profile, row, zone), born, profile.registered_at, row.first_purchase_at)


def _zone(profile: Profile, row: Row, zone: ZoneInfo) -> ZoneInfo:
    name = row.time_zone or profile.time_zone
    return zone if name is None else ZoneInfo(name)


def _text(profile: Profile, name: str) -> str | None:
    detail = profile.details.get(name)
    return detail.value if detail is not None and isinstance(detail.value, str) else None
