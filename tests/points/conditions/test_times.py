"""Conditions on time at their edges: windows, weekdays and hours in the program's time zone, across midnights and DST.

Planted and caught here: weekdays and hours of UTC; one offset for the whole year; the dates of a window read in UTC;
a window that includes its end; hours past midnight read as those between; local time that is not computed where only
hours need it.
"""

from datetime import datetime

import pytest

from shared.contracts.values import parse_instant
from tests.points.conditions.matching import Example, only, why, why_not
from tests.points.written import Json, hours, weekdays, window

SPRING, FRIDAY, NOON_HOURS = window("2026-03-01", "2026-06-01"), weekdays("fri"), hours("11:00", "13:00")
IN, OUT = parse_instant("2026-03-06T12:00:00Z"), parse_instant("2026-02-26T22:00:00Z")

EXAMPLES = [
    Example(condition, on, {"at": IN}, {"at": OUT})
    for condition in (SPRING, FRIDAY, NOON_HOURS)
    for on in ("purchase", "review")
]


def holds(condition: Json, zone: str, *instants: str | datetime) -> list[bool]:
    """Whether the condition holds at each instant, under a program of the zone."""
    rules = only(condition, time_zone=zone)
    reasons = [why(rules, at=parse_instant(at) if isinstance(at, str) else at) for at in instants]
    assert set(reasons) <= {None, condition["kind"]}
    return [reason is None for reason in reasons]


@pytest.mark.parametrize(
    "zone, start, end, first, past",
    [
        ("UTC", "2026-03-01", "2026-04-01", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"),
        ("Asia/Riyadh", "2026-03-01", "2026-04-01", "2026-02-28T21:00:00Z", "2026-03-31T21:00:00Z"),
        ("America/New_York", "2026-03-01", "2026-04-01", "2026-03-01T05:00:00Z", "2026-04-01T04:00:00Z"),
        ("Asia/Riyadh", "2026-03-01T09:30", "2026-03-01T09:31", "2026-03-01T06:30:00Z", "2026-03-01T06:31:00Z"),
        ("Asia/Riyadh", "2026-03-01T09:30:01", "2026-03-02", "2026-03-01T06:30:01Z", "2026-03-01T21:00:00Z"),
        # An offset overrides the time zone.
        (
            "Asia/Riyadh",
            "2026-03-01T00:00:00Z",
            "2026-03-01T00:00:00-01:00",
            "2026-03-01T00:00:00Z",
            "2026-03-01T01:00:00Z",
        ),
        (
            "Europe/Berlin",
            "2026-03-01T00:00:00.5+03:00",
            "2026-03-01",
            "2026-02-28T21:00:00.5Z",
            "2026-02-28T23:00:00Z",
        ),
        # With a leap day, and without one.
        ("UTC", "2028-02-29", "2028-03-01", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("Asia/Riyadh", "2028-02-28", "2028-03-01", "2028-02-27T21:00:00Z", "2028-02-29T21:00:00Z"),
        ("UTC", "2027-02-28", "2027-03-01", "2027-02-28T00:00:00Z", "2027-03-01T00:00:00Z"),
        # A day of 23 hours, and one of 25.
        ("Europe/Berlin", "2026-03-29", "2026-03-30", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("Europe/Berlin", "2026-10-25", "2026-10-26", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        # A midnight that does not exist: the day begins at 01:00.
        ("America/Santiago", "2026-09-06", "2026-09-07", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"),
        ("Asia/Beirut", "2026-03-28", "2026-03-29", "2026-03-27T22:00:00Z", "2026-03-28T22:00:00Z"),
    ],
)
def test_a_window_includes_its_start_and_excludes_its_end(zone: str, start: str, end: str, first: str, past: str):
    begin, over = parse_instant(first), parse_instant(past)
    instants = (_before(begin), begin, _before(over), over)
    assert holds(window(start, end), zone, *instants) == [False, True, True, False]


def _before(moment: datetime) -> datetime:
    return moment - datetime.resolution


@pytest.mark.parametrize(
    "start, end, first, past",
    [
        # 02:30 does not exist on 29 March: by the offset before the change it is 03:30 after it.
        ("2026-03-29T02:30", "2026-03-29T04:00", "2026-03-29T01:30:00Z", "2026-03-29T02:00:00Z"),
        # 02:30 occurs twice on 25 October: the first counts.
        ("2026-10-25T02:30", "2026-10-25T03:00", "2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"),
    ],
)
def test_the_end_of_a_window_may_be_a_local_time_that_does_not_exist_or_exists_twice(
    start: str, end: str, first: str, past: str
):
    begin, over = parse_instant(first), parse_instant(past)
    instants = (_before(begin), begin, _before(over), over)
    assert holds(window(start, end), "Europe/Berlin", *instants) == [False, True, True, False]


@pytest.mark.parametrize(
    "zone, day, instants",
    [
        # 6 March 2026 is a Friday: in Riyadh from 21:00 UTC of Thursday on.
        (
            "UTC",
            "fri",
            ["2026-03-05T23:59:59.999999Z", "2026-03-06T00:00:00Z", "2026-03-06T23:59:59Z", "2026-03-07T00:00:00Z"],
        ),
        (
            "Asia/Riyadh",
            "fri",
            ["2026-03-05T20:59:59.999999Z", "2026-03-05T21:00:00Z", "2026-03-06T20:59:59Z", "2026-03-06T21:00:00Z"],
        ),
        (
            "Asia/Riyadh",
            "fri",
            [
                "2026-03-05T23:59:59+03:00",
                "2026-03-06T00:00:00+03:00",
                "2026-03-06T23:59:59+03:00",
                "2026-03-07T00:00:00+03:00",
            ],
        ),
        (
            "America/New_York",
            "fri",
            ["2026-03-06T04:59:59Z", "2026-03-06T05:00:00Z", "2026-03-07T04:59:59Z", "2026-03-07T05:00:00Z"],
        ),
        # A leap day, a Tuesday; the day after it is a Wednesday.
        (
            "UTC",
            "tue",
            ["2028-02-28T23:59:59Z", "2028-02-29T00:00:00Z", "2028-02-29T23:59:59Z", "2028-03-01T00:00:00Z"],
        ),
        # Sundays of 23 and 25 hours, and one that begins at 01:00.
        (
            "Europe/Berlin",
            "sun",
            ["2026-03-28T22:59:59Z", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z"],
        ),
        (
            "Europe/Berlin",
            "sun",
            ["2026-10-24T21:59:59Z", "2026-10-24T22:00:00Z", "2026-10-25T22:59:59Z", "2026-10-25T23:00:00Z"],
        ),
        (
            "America/Santiago",
            "sun",
            ["2026-09-06T03:59:59Z", "2026-09-06T04:00:00Z", "2026-09-07T02:59:59Z", "2026-09-07T03:00:00Z"],
        ),
    ],
)
def test_a_weekday_is_one_of_the_programs_time_zone(zone: str, day: str, instants: list[str]):
    assert holds(weekdays(day), zone, *instants) == [False, True, True, False]


def test_several_weekdays():
    week = [f"2026-03-0{day}T12:00:00Z" for day in range(2, 9)]
    assert holds(weekdays("sun", "mon", "thu"), "UTC", *week) == [True, False, False, True, False, False, True]


@pytest.mark.parametrize(
    "start, end, inside, outside",
    [
        ("09:00", "17:00", ["09:00:00", "12:00:00", "16:59:59.999999"], ["08:59:59.999999", "17:00:00", "00:00:00"]),
        ("00:00", "00:01", ["00:00:00", "00:00:59.999999"], ["00:01:00", "23:59:59.999999"]),
        ("00:00", "23:59", ["00:00:00", "23:58:59"], ["23:59:00", "23:59:59"]),
        # Past midnight.
        (
            "22:00",
            "02:00",
            ["22:00:00", "23:59:59.999999", "00:00:00", "01:59:59.999999"],
            ["02:00:00", "12:00:00", "21:59:59.999999"],
        ),
        ("23:59", "00:00", ["23:59:00", "23:59:59.999999"], ["00:00:00", "23:58:59"]),
        ("12:00", "11:59", ["12:00:00", "00:00:00", "11:58:59"], ["11:59:00", "11:59:59"]),
    ],
)
def test_hours_include_their_start_exclude_their_end_and_may_pass_midnight(
    start: str, end: str, inside: list[str], outside: list[str]
):
    for day in ("2026-03-05", "2028-02-29", "2026-12-31"):
        assert all(holds(hours(start, end), "Asia/Riyadh", *(f"{day}T{time}+03:00" for time in inside)))
        assert not any(holds(hours(start, end), "Asia/Riyadh", *(f"{day}T{time}+03:00" for time in outside)))


def test_hours_are_those_of_the_programs_time_zone():
    evening = hours("22:00", "02:00")
    assert holds(evening, "UTC", "2026-03-05T20:00:00Z", "2026-03-05T23:00:00Z") == [False, True]
    assert holds(evening, "Asia/Riyadh", "2026-03-05T20:00:00Z", "2026-03-05T23:00:00Z") == [True, False]


def test_an_hour_that_does_not_exist_never_matches():
    instants = ("2026-03-29T00:59:59.999999Z", "2026-03-29T01:00:00Z", "2026-03-29T01:59:59Z", "2026-03-29T02:00:00Z")
    assert holds(hours("02:00", "03:00"), "Europe/Berlin", *instants) == [False] * 4
    # The clock goes from 01:59:59 to 03:00.
    assert holds(hours("03:00", "04:00"), "Europe/Berlin", *instants) == [False, True, True, False]
    assert holds(hours("23:00", "02:30"), "Europe/Berlin", *instants) == [True, False, False, False]


def test_an_hour_that_exists_twice_matches_both_times():
    instants = ("2026-10-24T23:59:59Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:59:59Z")
    assert holds(hours("02:00", "03:00"), "Europe/Berlin", *instants, "2026-10-25T02:00:00Z") == [
        False,
        *[True] * 3,
        False,
    ]
    quarter = ("2026-10-25T00:15:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:15:00Z", "2026-10-25T01:30:00Z")
    assert holds(hours("02:00", "02:30"), "Europe/Berlin", *quarter) == [True, False, True, False]


def test_events_that_are_not_orders_use_the_programs_zone_too():
    rules = only(FRIDAY, on="review", time_zone="Asia/Riyadh")
    for at, expected in (("2026-03-05T20:59:59Z", "weekday_in"), ("2026-03-05T21:00:00Z", None)):
        assert why_not(rules, "review", {"sku": "s"}, parse_instant(at)) == expected
