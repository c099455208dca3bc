"""Birthdays: awarded on their day by the daily pipeline, and to who becomes known on the day itself."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple

from services.points.rules.program import dates
from services.points.rules.program.ruleset import RuleSet


class Birthday(NamedTuple):
    """A birthday: what its award is booked under within the customer, once a year, and when its day begins."""

    origin: str
    starts: datetime

    @classmethod
    def on(cls, day: date, rules: RuleSet) -> "Birthday":
        """The birthday of whoever has it on a day of the program."""
        return cls(f"birthday/{day.year}", dates.midnight(day, rules.zone))


def birthday_at(born: date, rules: RuleSet, now: datetime) -> Birthday | None:
    """The birthday of today by the zone of the rules, for who was born on an earlier day; None where it is none."""
    day = dates.day_of(now, rules.zone)
    return Birthday.on(day, rules) if born < day and dates.birthday_in(day.year, born) == day else None


def origins_near(born: date, now: datetime) -> Iterator[str]:
    """What birthdays are booked under that may be today in some zone."""
    for days in (-1, 0, 1):
        day = (now + timedelta(days)).date()
        if dates.birthday_in(day.year, born) == day:
            yield f"birthday/{day.year}"
