"""Birthdays: the daily job awards them on their day, and customers who become known on the day are awarded at once."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple

from services.points.rules.program import dates
from services.points.rules.program.earning import BIRTHDAY
from services.points.rules.program.ruleset import RuleSet


class Birthday(NamedTuple):
    """A birthday: the origin of its award, which is unique to a customer and year, and the start of the day."""

    origin: str
    starts: datetime

    @classmethod
    def on(cls, day: date, rules: RuleSet) -> "Birthday":
        """The birthday of the customers who have it on a day of the program."""
        return cls(BIRTHDAY.origin_of(str(day.year)), dates.midnight(day, rules.zone))


def birthday_at(born: date, rules: RuleSet, now: datetime) -> Birthday | None:
    """The birthday if it is today, in the time zone of the rules; the day of birth itself is none."""
    day = dates.day_of(now, rules.zone)
    return Birthday.on(day, rules) if born < day and dates.birthday_in(day.year, born) == day else None


def origins_near(born: date, now: datetime) -> Iterator[str]:
    """The origins of the birthdays that may be today in some time zone."""
    for days in (-1, 0, 1):
        day = (now + timedelta(days)).date()
        if dates.birthday_in(day.year, born) == day:
            yield BIRTHDAY.origin_of(str(day.year))
