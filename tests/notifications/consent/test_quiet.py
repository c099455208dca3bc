"""Quiet hours over midnight and over changes of the clock, and local days."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifications.rules.quiet import QuietHours, count, end_of_quiet, local_day, zone_of

NIGHT = QuietHours(time(21), time(8))
NAP = QuietHours(time(13), time(15, 30))
TICK = timedelta(microseconds=1)
ZONES = ["UTC", "Asia/Riyadh", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    "hours, now, expected",
    [
        (NIGHT, "2026-03-01T20:59:59+03:00", None),
        (NIGHT, "2026-03-01T21:00:00+03:00", "2026-03-02T08:00:00+03:00"),
        (NIGHT, "2026-03-02T00:00:00+03:00", "2026-03-02T08:00:00+03:00"),
        (NIGHT, "2026-03-02T07:59:59+03:00", "2026-03-02T08:00:00+03:00"),
        (NIGHT, "2026-03-02T08:00:00+03:00", None),
        (NAP, "2026-03-02T12:59:59+03:00", None),
        (NAP, "2026-03-02T13:00:00+03:00", "2026-03-02T15:30:00+03:00"),
        (NAP, "2026-03-02T15:30:00+03:00", None),
        (QuietHours(time(9), time(9)), "2026-03-02T09:00:00+03:00", None),
        (QuietHours(time(0), time(0)), "2026-03-02T00:00:00+03:00", None),
        (QuietHours(time(0), time(23, 59)), "2026-03-02T23:58:59+03:00", "2026-03-02T23:59:00+03:00"),
        (QuietHours(time(22), time(0)), "2026-03-02T23:30:00+03:00", "2026-03-03T00:00:00+03:00"),
    ],
)
def test_quiet_hours_begin_with_their_start_and_end_before_their_end(hours: QuietHours, now: str, expected: str | None):
    assert end_of_quiet(at(now), hours, ZoneInfo("Asia/Riyadh")) == (None if expected is None else at(expected))


@pytest.mark.parametrize(
    "zone, hours, now, expected",
    [
        # New York, 8 March 2026: 02:00 becomes 03:00. An end that does not exist is the first instant after it.
        ("America/New_York", ("21:00", "02:30"), "2026-03-08T01:59:59-05:00", "2026-03-08T03:00:00-04:00"),
        ("America/New_York", ("21:00", "02:30"), "2026-03-08T03:00:00-04:00", None),
        ("America/New_York", ("02:30", "08:00"), "2026-03-08T01:59:59-05:00", None),
        ("America/New_York", ("02:30", "08:00"), "2026-03-08T03:00:00-04:00", "2026-03-08T08:00:00-04:00"),
        # 1 November: 02:00 becomes 01:00. The start is the first 01:30, the end the second.
        ("America/New_York", ("01:30", "08:00"), "2026-11-01T01:30:00-04:00", "2026-11-01T08:00:00-05:00"),
        ("America/New_York", ("01:30", "08:00"), "2026-11-01T01:00:00-05:00", "2026-11-01T08:00:00-05:00"),
        ("America/New_York", ("22:00", "01:30"), "2026-11-01T01:45:00-04:00", "2026-11-01T01:30:00-05:00"),
        ("America/New_York", ("22:00", "01:30"), "2026-11-01T01:30:00-05:00", None),
        # Southern hemisphere. Santiago, 6 September 2026: 00:00 becomes 01:00; 5 April: 24:00 becomes 23:00.
        ("America/Santiago", ("22:00", "00:30"), "2026-09-05T23:59:00-04:00", "2026-09-06T01:00:00-03:00"),
        ("America/Santiago", ("23:30", "06:00"), "2026-04-04T23:30:00-03:00", "2026-04-05T06:00:00-04:00"),
        ("America/Santiago", ("23:30", "06:00"), "2026-04-04T23:00:00-04:00", "2026-04-05T06:00:00-04:00"),
        # Lord Howe moves by half an hour: 4 October 2026, 02:00 becomes 02:30; 5 April, 02:00 becomes 01:30.
        ("Australia/Lord_Howe", ("21:00", "02:15"), "2026-10-04T01:59:00+10:30", "2026-10-04T02:30:00+11:00"),
        ("Australia/Lord_Howe", ("21:00", "01:45"), "2026-04-05T01:59:00+11:00", "2026-04-05T01:45:00+10:30"),
        # Samoa left out 30 December 2011.
        ("Pacific/Apia", ("21:00", "08:00"), "2011-12-29T23:00:00-10:00", "2011-12-31T00:00:00+14:00"),
    ],
)
def test_a_change_of_the_clock_never_makes_them_shorter(
    zone: str, hours: tuple[str, str], now: str, expected: str | None
):
    start, end = map(time.fromisoformat, hours)
    found = end_of_quiet(at(now), QuietHours(start, end), ZoneInfo(zone))
    assert found == (None if expected is None else at(expected))


TIMES = st.times().map(lambda clock: clock.replace(second=0, microsecond=0, fold=0))
SECONDS = st.integers(0, 10 * 365 * 86_400)
MOMENTS = SECONDS.map(lambda seconds: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))


@given(MOMENTS, TIMES, TIMES, st.sampled_from(ZONES))
def test_whoever_waits_until_the_end_is_out_of_them_unless_they_touch(now: datetime, start: time, end: time, zone: str):
    hours, local = QuietHours(start, end), ZoneInfo(zone)
    until = end_of_quiet(now, hours, local)
    if until is None:
        return
    assert now < until <= now + timedelta(hours=26)
    assert end_of_quiet(until - TICK, hours, local) is not None
    clock = until.astimezone(local).time()
    assert clock.replace(fold=0) == end or clock >= end  # the first instant after an end that does not exist


@given(MOMENTS, TIMES, TIMES)
def test_in_a_zone_whose_clock_never_changes_they_are_plain(now: datetime, start: time, end: time):
    zone = ZoneInfo("Asia/Riyadh")
    clock = now.astimezone(zone).time()
    is_quiet = start <= clock < end if start < end else start != end and (clock >= start or clock < end)
    assert (end_of_quiet(now, QuietHours(start, end), zone) is not None) is is_quiet


def test_days_are_those_of_the_zone():
    riyadh = ZoneInfo("Asia/Riyadh")
    assert local_day(at("2026-03-01T20:59:59Z"), riyadh) == date(2026, 3, 1)
    assert local_day(at("2026-03-01T21:00:00Z"), riyadh) == date(2026, 3, 2)


@pytest.mark.parametrize(
    "sent, expected",
    [
        ([], (0, 0)),
        (["2026-03-08T00:00:00+03:00"], (1, 1)),
        (["2026-03-07T23:59:59+03:00"], (0, 1)),
        (["2026-03-02T00:00:00+03:00"], (0, 1)),
        (["2026-03-01T23:59:59+03:00"], (0, 0)),
        (["2026-03-09T01:00:00+03:00"], (1, 1)),
    ],
    ids=["none", "today", "yesterday", "six days ago", "seven days ago", "a clock ahead"],
)
def test_days_of_a_frequency_cap(sent: list[str], expected: tuple[int, int]):
    assert count([at(text) for text in sent], at("2026-03-08T10:00:00+03:00"), ZoneInfo("Asia/Riyadh")) == expected


@pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_the_ends_of_time_have_no_overflow(moment: datetime):
    for zone in ("Pacific/Kiritimati", "Pacific/Niue"):
        end_of_quiet(moment, NIGHT, ZoneInfo(zone))


@pytest.mark.parametrize("name", [None, "", "Mars/Base", "../etc/passwd", "\x00"])
def test_what_is_no_zone(name: str | None):
    assert zone_of(name) is None
