"""Which triggers start runs: dates, inactivity, ends that are announced, and what `again` allows."""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.notifications.rules.journey.document import (
    AfterDays,
    Always,
    DateTrigger,
    InactivityTrigger,
    Never,
)
from services.notifications.rules.journey.fields import look_up
from services.notifications.rules.journey.starting import Live, admits, inactive, may_start, next_date, trigger_of
from shared.contracts.values import format_instant
from tests.notifications.journeys.machinery import at, journey, live, send, trigger

T = at("2026-03-01T12:00:00")


def birthday(**changes: Any) -> DateTrigger:
    return DateTrigger.model_validate({"on": "date", "field": "birth_date", "at": "09:00", **changes})


@pytest.mark.parametrize(
    "start, day, zone, after, expected",
    [
        (birthday(), date(1990, 5, 4), "UTC", "2026-03-01T00:00:00", "2026-05-04T09:00:00"),
        (birthday(), date(1990, 5, 4), "UTC", "2026-05-04T09:00:00", "2027-05-04T09:00:00"),
        (birthday(), date(1990, 5, 4), "Asia/Riyadh", "2026-03-01T00:00:00", "2026-05-04T06:00:00"),
        (birthday(), date(2000, 2, 29), "UTC", "2026-01-01T00:00:00", "2026-02-28T09:00:00"),
        (birthday(), date(2000, 2, 29), "UTC", "2027-12-01T00:00:00", "2028-02-29T09:00:00"),
        (birthday(days=-7), date(1990, 1, 3), "UTC", "2026-03-01T00:00:00", "2026-12-27T09:00:00"),
        (birthday(days=10), date(1990, 12, 28), "UTC", "2026-01-02T00:00:00", "2026-01-07T09:00:00"),
        (birthday(at="02:30"), date(1990, 3, 8), "America/New_York", "2026-03-01T00:00:00", "2026-03-08T07:00:00"),
        (birthday(field="registered_at"), T, "UTC", "2026-03-01T00:00:00", "2027-03-01T09:00:00"),
        (birthday(field="registered_at", days=30), T, "UTC", "2026-03-01T12:00:00", "2026-03-31T09:00:00"),
        (birthday(field="first_purchase_at", days=30), T, "UTC", "2026-03-01T00:00:00", "2026-03-31T09:00:00"),
        (birthday(field="first_purchase_at", days=30), T, "UTC", "2026-03-31T09:00:00", None),
        (birthday(), date(9999, 12, 31), "UTC", "2026-03-01T00:00:00", None),
    ],
)
def test_the_next_occurrence_of_a_date(start: DateTrigger, day: date, zone: str, after: str, expected: str | None):
    occurrence = next_date(start, day, ZoneInfo(zone), at(after))
    if expected is None or day.year == 9999:
        assert occurrence is None or occurrence.at.year > 9000
        return
    assert occurrence is not None
    assert occurrence.at == at(expected)


def test_a_year_has_one_key_whatever_day_is_known():
    first = next_date(birthday(), date(1990, 5, 4), ZoneInfo("UTC"), T)
    second = next_date(birthday(), date(1990, 5, 6), ZoneInfo("UTC"), T)
    assert first is not None
    assert second is not None
    assert first.key == second.key == "birth_date/2026"
    assert first.facts == {"date": "1990-05-04", "years": 36}


def test_inactivity_comes_days_after_the_last_event():
    occurrence = inactive(InactivityTrigger(on="inactivity", of="x", days=60), T)
    assert occurrence.at == T + timedelta(days=60)
    assert occurrence.key == "inactivity/2026-03-01T12:00:00Z"


@pytest.mark.parametrize(
    "again, days, may",
    [
        (Always(), -1, True),
        (Never(kind="never"), 5_000, False),
        (AfterDays(kind="after_days", days=90), 89.99, False),
        (AfterDays(kind="after_days", days=90), 90, True),
        (AfterDays(kind="after_days", days=90), -100, False),
    ],
)
def test_when_another_run_may_start(again: Any, days: float, may: bool):
    assert may_start(again, None, T)
    assert may_start(again, T, T + timedelta(days=days)) is may


def before(days: int, what: str = "points_expiry") -> Live:
    return live(journey(send(), trigger={"on": "before", "what": what, "days": days}))


@pytest.mark.parametrize(
    "left, announced",
    [
        (timedelta(days=30), {30}),
        (timedelta(days=30, hours=1), {30}),
        (timedelta(days=29, hours=1), {29, 30}),
        (timedelta(days=12), {12, 30}),
        (timedelta(days=7), {7}),
        (timedelta(days=6, hours=2), {7}),
        (timedelta(days=5), {5, 7}),
        (timedelta(days=1), {1}),
        (timedelta(hours=3), {1}),
        (timedelta(days=40), {40}),
        (timedelta(), set[int]()),
        (timedelta(days=-3), set[int]()),
    ],
)
def test_points_that_expire_are_announced_a_month_a_week_and_a_day_before(left: timedelta, announced: set[int]):
    event = trigger(T, expires_at=format_instant(T + left), points=5)
    found = {days for days in range(1, 60) if admits(before(days), event, lambda path: look_up(event.facts, path))}
    assert found == announced


def test_the_end_of_a_tier_is_announced_on_the_day_alone():
    ends = format_instant(T + timedelta(days=12))
    event = trigger(T, valid_until=ends)

    def field(path: str) -> object:
        return look_up(event.facts, path)

    assert [days for days in range(1, 60) if admits(before(days, "tier_end"), event, field)] == [12]
    assert trigger_of(before(12, "tier_end"), event, field).key == f"tier_end/{ends}"
    assert not admits(before(12), event, field)


def test_what_is_older_than_the_first_enabled_version_starts_nothing():
    found = live(journey(send()))
    late = Live(found.id, found.journey, T, kept=True, unkept=False)

    def nothing(_path: str) -> object:
        return None

    def admitted(moment: datetime) -> bool:
        return admits(late, trigger(moment), nothing)

    assert [admitted(T - timedelta(microseconds=1)), admitted(T), admitted(T + timedelta(days=1))] == [
        False,
        True,
        True,
    ]
