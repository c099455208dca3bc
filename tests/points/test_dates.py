"""The calendar of points: when they become available and expire, the periods of limits, and birthdays.

Planted and caught here: points that expire at 00:00 of their last day; the 28th for every short month; days counted as
24 hours from the event; days of UTC; the second of two midnights; a birthday of 29 February in March.
"""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from services.points.rules.program import dates
from services.points.rules.program.document import Per
from services.points.rules.program.lifetimes import Activation, Expiry
from shared.contracts.values import format_instant, parse_instant
from tests.points.written import Json, after_days, after_months, end_of_year, on_delivery

_ACTIVATION: TypeAdapter[Activation] = TypeAdapter(Activation)
_EXPIRY: TypeAdapter[Expiry] = TypeAdapter(Expiry)
NEVER: Json = {"kind": "never"}


def shown(moment: datetime | None) -> str | None:
    return None if moment is None else format_instant(moment)


def activates(rule: Json, occurred_at: str, zone: str = "Asia/Riyadh") -> str | None:
    written = _ACTIVATION.validate_python(rule)
    return shown(dates.activates_at(written, parse_instant(occurred_at), ZoneInfo(zone)))


def cancels(rule: Json, occurred_at: str, zone: str = "Asia/Riyadh") -> str | None:
    written = _ACTIVATION.validate_python(rule)
    return shown(dates.cancels_at(written, parse_instant(occurred_at), ZoneInfo(zone)))


def expires(rule: Json, activated_at: str, zone: str = "UTC") -> str | None:
    return shown(dates.expires_at(_EXPIRY.validate_python(rule), parse_instant(activated_at), ZoneInfo(zone)))


@pytest.mark.parametrize(
    "day, zone, expected",
    [
        ("2026-03-01", "UTC", "2026-03-01T00:00:00Z"),
        ("2026-03-01", "Asia/Riyadh", "2026-02-28T21:00:00Z"),
        ("2028-02-29", "America/New_York", "2028-02-29T05:00:00Z"),
        ("2026-03-29", "Europe/Berlin", "2026-03-28T23:00:00Z"),
        ("2026-03-30", "Europe/Berlin", "2026-03-29T22:00:00Z"),
        ("2026-10-26", "Europe/Berlin", "2026-10-25T23:00:00Z"),
        # A midnight that does not exist: the clock goes from 23:59:59 on to 01:00.
        ("2026-09-06", "America/Santiago", "2026-09-06T04:00:00Z"),
        ("2026-09-07", "America/Santiago", "2026-09-07T03:00:00Z"),
        ("2026-03-29", "Asia/Beirut", "2026-03-28T22:00:00Z"),
        # A midnight that exists twice: the day begins at the first.
        ("2026-11-01", "America/Havana", "2026-11-01T04:00:00Z"),
        ("2026-11-02", "America/Havana", "2026-11-02T05:00:00Z"),
        # Back from midnight to 23:00: the day begins once.
        ("2026-10-25", "Asia/Beirut", "2026-10-24T22:00:00Z"),
        # A day that was skipped begins with the day after it.
        ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00:00Z"),
        ("2011-12-31", "Pacific/Apia", "2011-12-30T10:00:00Z"),
    ],
)
def test_a_day_begins_at_midnight_or_at_the_first_instant_after_it(day: str, zone: str, expected: str):
    assert shown(dates.midnight(date.fromisoformat(day), ZoneInfo(zone))) == expected


@pytest.mark.parametrize(
    "occurred_at, days, expected",
    [
        ("2026-03-01T12:00:00Z", 14, "2026-03-14T21:00:00Z"),
        # 21:00 UTC is the next day in Riyadh.
        ("2026-03-01T20:59:59.999999Z", 14, "2026-03-14T21:00:00Z"),
        ("2026-03-01T21:00:00Z", 14, "2026-03-15T21:00:00Z"),
        ("2026-03-01T12:00:00Z", 1, "2026-03-01T21:00:00Z"),
        # Not before they are earned.
        ("2026-03-01T12:00:00Z", 0, "2026-03-01T12:00:00Z"),
        ("2028-02-28T12:00:00Z", 1, "2028-02-28T21:00:00Z"),
        ("2028-02-28T12:00:00Z", 2, "2028-02-29T21:00:00Z"),
        ("2027-02-28T12:00:00Z", 1, "2027-02-28T21:00:00Z"),
        ("9998-12-01T00:00:00Z", 36_500, "9998-12-30T21:00:00Z"),
    ],
)
def test_points_become_available_at_midnight_of_a_later_day(occurred_at: str, days: int, expected: str):
    assert activates(after_days(days), occurred_at) == expected
    # Points that wait for a delivery are given up by the same count.
    assert cancels(on_delivery(days), occurred_at) == expected


def test_other_ways_to_become_available():
    at = "2026-03-01T12:00:00.123456Z"
    assert activates({"kind": "now"}, at) == at
    assert (activates(on_delivery(), at), cancels(on_delivery(), at)) == (None, None)
    assert (activates(on_delivery(5), at), cancels(after_days(5), at)) == (None, None)


@pytest.mark.parametrize(
    "occurred_at, zone, expected",
    [
        ("2026-03-28T12:00:00Z", "Europe/Berlin", "2026-03-28T23:00:00Z"),
        ("2026-03-29T12:00:00Z", "Europe/Berlin", "2026-03-29T22:00:00Z"),
        ("2026-10-25T12:00:00Z", "Europe/Berlin", "2026-10-25T23:00:00Z"),
        ("2026-09-05T12:00:00Z", "America/Santiago", "2026-09-06T04:00:00Z"),
        ("2026-10-31T12:00:00Z", "America/Havana", "2026-11-01T04:00:00Z"),
    ],
)
def test_the_next_day_begins_by_local_time(occurred_at: str, zone: str, expected: str):
    assert activates(after_days(1), occurred_at, zone) == expected
    # The last day is the day of activation.
    assert expires(after_days(0), occurred_at, zone) == expected


@pytest.mark.parametrize(
    "rule, activated_at, expected",
    [
        (NEVER, "2026-03-01T12:00:00Z", None),
        # Points whose last day is D expire at 00:00 of the day after D.
        (after_days(0), "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"),
        (after_days(0), "2026-03-01T23:59:59.999999Z", "2026-03-02T00:00:00Z"),
        (after_days(30), "2026-03-01T12:00:00Z", "2026-04-01T00:00:00Z"),
        (after_days(1), "2028-02-28T12:00:00Z", "2028-03-01T00:00:00Z"),
        (after_days(366), "2028-02-29T12:00:00Z", "2029-03-02T00:00:00Z"),
        (after_months(1), "2026-01-31T12:00:00Z", "2026-03-01T00:00:00Z"),
        (after_months(1), "2026-01-28T12:00:00Z", "2026-03-01T00:00:00Z"),
        (after_months(1), "2026-01-27T12:00:00Z", "2026-02-28T00:00:00Z"),
        (after_months(1), "2028-01-31T12:00:00Z", "2028-03-01T00:00:00Z"),
        (after_months(1), "2028-01-28T12:00:00Z", "2028-02-29T00:00:00Z"),
        (after_months(1), "2026-03-31T12:00:00Z", "2026-05-01T00:00:00Z"),
        (after_months(2), "2026-12-31T12:00:00Z", "2027-03-01T00:00:00Z"),
        (after_months(12), "2028-02-29T12:00:00Z", "2029-03-01T00:00:00Z"),
        (after_months(48), "2028-02-29T12:00:00Z", "2032-03-01T00:00:00Z"),
        (after_months(12), "2026-03-15T12:00:00Z", "2027-03-16T00:00:00Z"),
        (after_months(11), "2026-01-15T12:00:00Z", "2026-12-16T00:00:00Z"),
        (after_months(12), "2100-02-28T12:00:00Z", "2101-03-01T00:00:00Z"),
        (end_of_year(), "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        (end_of_year(), "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
        (end_of_year(1), "2026-12-31T23:59:59Z", "2028-01-01T00:00:00Z"),
        (end_of_year(1), "2027-01-01T00:00:00Z", "2029-01-01T00:00:00Z"),
        # The end of the calendar.
        (end_of_year(100), "9950-06-01T00:00:00Z", "9998-12-31T00:00:00Z"),
        (after_months(1200), "9950-06-01T00:00:00Z", "9998-12-31T00:00:00Z"),
        (after_days(36_500), "9950-06-01T00:00:00Z", "9998-12-31T00:00:00Z"),
    ],
)
def test_points_expire_after_their_last_day(rule: Json, activated_at: str, expected: str | None):
    assert expires(rule, activated_at) == expected


@pytest.mark.parametrize(
    "rule, activated_at, expected",
    [
        # 21:00 UTC is the next day in Riyadh, the next month, the next year.
        (after_days(0), "2026-03-01T20:59:59Z", "2026-03-01T21:00:00Z"),
        (after_days(0), "2026-03-01T21:00:00Z", "2026-03-02T21:00:00Z"),
        (after_months(1), "2026-01-30T21:00:00Z", "2026-02-28T21:00:00Z"),
        (after_months(1), "2026-01-31T21:00:00Z", "2026-03-01T21:00:00Z"),
        (end_of_year(), "2026-12-31T20:59:59Z", "2026-12-31T21:00:00Z"),
        (end_of_year(), "2026-12-31T21:00:00Z", "2027-12-31T21:00:00Z"),
    ],
)
def test_the_last_day_is_one_of_the_programs_time_zone(rule: Json, activated_at: str, expected: str):
    assert expires(rule, activated_at, "Asia/Riyadh") == expected


@pytest.mark.parametrize(
    "per, day, week_start, expected",
    [
        ("day", "2028-02-29", 0, "2028-02-29"),
        ("week", "2026-03-01", 0, "week/2026-02-23"),
        ("week", "2026-03-02", 0, "week/2026-03-02"),
        ("week", "2026-03-01", 6, "week/2026-03-01"),
        ("week", "2026-03-07", 6, "week/2026-03-01"),
        ("week", "2027-01-01", 0, "week/2026-12-28"),
        ("week", "2028-03-01", 2, "week/2028-03-01"),
        ("week", "2028-02-29", 2, "week/2028-02-23"),
        ("month", "2028-02-29", 0, "2028-02"),
        ("year", "2028-12-31", 0, "2028"),
        ("ever", "2028-12-31", 0, "ever"),
    ],
)
def test_the_name_of_a_period(per: Per, day: str, week_start: int, expected: str):
    assert dates.period(per, date.fromisoformat(day), week_start) == expected


@pytest.mark.parametrize(
    "born, year, expected",
    [
        ("1990-05-17", 2026, "2026-05-17"),
        ("2000-02-29", 2026, "2026-02-28"),
        ("2000-02-29", 2028, "2028-02-29"),
        ("2000-02-29", 2100, "2100-02-28"),
        ("2000-02-28", 2028, "2028-02-28"),
        ("1999-12-31", 2026, "2026-12-31"),
    ],
)
def test_a_customer_born_on_a_leap_day_has_a_birthday_every_year(born: str, year: int, expected: str):
    assert dates.birthday_in(year, date.fromisoformat(born)) == date.fromisoformat(expected)


_ZONES = st.sampled_from(["UTC", "Asia/Riyadh", "Europe/Berlin", "America/Santiago", "America/Havana", "Pacific/Apia"])
_MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 made aware


@given(moment=_MOMENTS, days=st.integers(0, 800), zone=_ZONES)
def test_days_are_calendar_days(moment: datetime, days: int, zone: str):
    here = ZoneInfo(zone)
    at = dates.activates_at(_ACTIVATION.validate_python(after_days(days)), moment, here)
    gone = dates.expires_at(_EXPIRY.validate_python(after_days(days)), moment, here)
    assert at is not None
    assert gone is not None
    last = moment.astimezone(here).date() + timedelta(days=days)
    # The instant before is on the day before; the instant itself is on that day (or a later one, if that was skipped).
    assert _day(gone - timedelta(microseconds=1), here) <= last < _day(gone, here)
    assert at == moment if days == 0 else _day(at - timedelta(microseconds=1), here) < last <= _day(at, here)


_ENDS = st.sampled_from([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])


@given(moment=_ENDS | st.datetimes(timezones=st.just(UTC)), zone=_ZONES, number=st.integers(0, 1200))
def test_every_instant_has_its_dates(moment: datetime, zone: str, number: int):
    here = ZoneInfo(zone)
    for rule in (after_days(number), on_delivery(number)):
        written = _ACTIVATION.validate_python(rule)
        for due in (dates.activates_at(written, moment, here), dates.cancels_at(written, moment, here)):
            assert due is None or due >= moment
    for rule in (after_days(number), after_months(number or 1), end_of_year(number % 100)):
        assert dates.expires_at(_EXPIRY.validate_python(rule), moment, here) is not None
    day = dates.day_of(moment, here)
    for per in ("day", "week", "month", "year", "ever"):
        assert dates.period(per, day, week_start=number % 7)


def _day(moment: datetime, zone: ZoneInfo) -> date:
    return moment.astimezone(zone).date()


@given(moment=_MOMENTS, months=st.integers(1, 60))
def test_months_end_on_the_same_day_or_at_the_end_of_a_shorter_month(moment: datetime, months: int):
    gone = dates.expires_at(_EXPIRY.validate_python(after_months(months)), moment, ZoneInfo("UTC"))
    assert gone is not None
    last = gone - timedelta(days=1)
    assert (last.year * 12 + last.month) - (moment.year * 12 + moment.month) == months
    assert last.day == moment.day or (gone.day == 1 and last.day < moment.day)
