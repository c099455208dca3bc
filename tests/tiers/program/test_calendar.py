"""Days, windows and periods: by tables at their edges, and against a model that counts days one by one.

The model knows no arithmetic of days: it lists the days of a time zone by their first instants, found minute by minute.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tiers.rules.program.calendar import Calendar
from services.tiers.rules.program.compiled import Period, PeriodKind
from tests.support.depth import examples

FAR = "0001-01-03 00:00+00:00"


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def calendar(kind: PeriodKind, days: int = 0, zone: str = "UTC", anchor: str | None = None) -> Calendar:
    return Calendar(ZoneInfo(zone), Period(kind, days), None if anchor is None else instant(anchor))


@pytest.mark.parametrize(
    ("zone", "day", "start"),
    [
        ("UTC", "2026-03-10", "2026-03-10 00:00+00:00"),
        ("Asia/Riyadh", "2026-03-10", "2026-03-09 21:00+00:00"),
        # 00:00 is skipped: the day begins at 01:00.
        ("Asia/Beirut", "2024-03-31", "2024-03-31 01:00+03:00"),
        ("Africa/Cairo", "2024-04-26", "2024-04-26 01:00+03:00"),
        ("America/Santiago", "2024-09-08", "2024-09-08 01:00-03:00"),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04 01:00-02:00"),
        # 23:30 was followed by 00:30.
        ("America/Toronto", "1919-03-31", "1919-03-31 00:30-04:00"),
        # 00:00 comes twice: the day begins with the first.
        ("America/Havana", "2024-11-03", "2024-11-03 00:00-04:00"),
        # The hour before 00:00 comes twice: the day before has 25 hours.
        ("Asia/Beirut", "2024-10-27", "2024-10-27 00:00+02:00"),
        ("Africa/Cairo", "2024-11-01", "2024-11-01 00:00+02:00"),
        ("America/Santiago", "2024-04-07", "2024-04-07 00:00-04:00"),
        # 00:01 was followed by 23:01 of the day before, which had ended.
        ("America/St_Johns", "2010-11-07", "2010-11-07 00:00-02:30"),
        # A day that never was.
        ("Pacific/Apia", "2011-12-30", "2011-12-31 00:00+14:00"),
        ("Pacific/Apia", "2011-12-31", "2011-12-31 00:00+14:00"),
        ("UTC", "0001-01-01", FAR),
        ("Asia/Riyadh", "9999-12-31", "9999-12-29 00:00+03:00"),
    ],
)
def test_a_day_begins_with_its_first_instant(zone: str, day: str, start: str):
    days = calendar("lifetime", zone=zone)
    first = days.start(date.fromisoformat(day))
    assert first == instant(start)
    assert first.utcoffset() == timedelta(0)
    # The day of its first instant is the day, and of the instant before it another.
    if day not in {"0001-01-01", "9999-12-31", "2011-12-30"}:
        assert days.day(first) == date.fromisoformat(day)
        assert days.day(first - timedelta(microseconds=1)) < date.fromisoformat(day)


def test_a_day_that_has_begun_does_not_end_again():
    days = calendar("rolling_days", 1, "America/St_Johns")
    again = instant("2010-11-06 23:30-03:30")
    assert days.day(again) == date(2010, 11, 7)
    assert days.window(again) == instant("2010-11-07 00:00-02:30")


ROLLING: list[tuple[int, str, str, str, str, str]] = [
    # days, instant → window, reached until, one period on, the period that ends there
    (365, "2026-03-10 12:00", "2025-03-11", "2027-03-11", "2027-03-11", "2025-03-11"),
    (365, "2026-03-10 00:00", "2025-03-11", "2027-03-11", "2027-03-10", "2025-03-10"),
    (365, "2024-02-29 12:00", "2023-03-02", "2025-03-01", "2025-03-01", "2023-03-02"),
    (365, "2024-03-01 00:00", "2023-03-03", "2025-03-02", "2025-03-01", "2023-03-02"),
    (1, "2026-03-10 12:00", "2026-03-10", "2026-03-12", "2026-03-12", "2026-03-10"),
    (1, "2026-03-10 00:00", "2026-03-10", "2026-03-12", "2026-03-11", "2026-03-09"),
    (30, "2026-01-31 23:59:59.999999", "2026-01-02", "2026-03-03", "2026-03-03", "2026-01-02"),
]


@pytest.mark.parametrize(("days", "moment", "window", "reached", "onward", "ended"), ROLLING)
def test_rolling_days(*, days: int, moment: str, window: str, reached: str, onward: str, ended: str):
    rolling, at = calendar("rolling_days", days), instant(f"{moment}+00:00")
    assert rolling.window(at) == instant(f"{window}T00:00+00:00")
    assert rolling.reached(at) == instant(f"{reached}T00:00+00:00")
    assert rolling.period_from(at) == instant(f"{onward}T00:00+00:00")
    assert rolling.ended(at) == ((instant(f"{ended}T00:00+00:00"), at),)


YEARS: list[tuple[PeriodKind, str | None, str, str, str, str, list[str]]] = [
    # kind, anchor, instant → window, reached until, one period on, where the periods that end there begin
    ("calendar_year", None, "2026-03-10", "2026-01-01", "2028-01-01", "2028-01-01", ["2025-01-01", "2026-01-01"]),
    ("calendar_year", None, "2026-01-01", "2026-01-01", "2028-01-01", "2027-01-01", ["2025-01-01"]),
    (
        "calendar_year",
        "2020-05-05",
        "2026-12-31",
        "2026-01-01",
        "2028-01-01",
        "2028-01-01",
        ["2025-01-01", "2026-01-01"],
    ),
    ("anniversary", "2020-05-05", "2026-03-10", "2025-05-05", "2027-05-05", "2027-05-05", ["2024-05-05", "2025-05-05"]),
    ("anniversary", "2020-05-05", "2026-05-05", "2026-05-05", "2028-05-05", "2027-05-05", ["2025-05-05"]),
    ("anniversary", "2020-05-05", "2026-05-04", "2025-05-05", "2027-05-05", "2027-05-05", ["2024-05-05", "2025-05-05"]),
    ("anniversary", "2020-02-29", "2023-02-28", "2023-02-28", "2025-02-28", "2024-02-29", ["2022-02-28"]),
    ("anniversary", "2020-02-29", "2024-02-28", "2023-02-28", "2025-02-28", "2025-02-28", ["2022-02-28", "2023-02-28"]),
    ("anniversary", "2020-02-29", "2024-02-29", "2024-02-29", "2026-02-28", "2025-02-28", ["2023-02-28"]),
    ("anniversary", "2020-02-29", "2026-03-10", "2026-02-28", "2028-02-29", "2028-02-29", ["2025-02-28", "2026-02-28"]),
    ("anniversary", "2021-02-28", "2024-02-28", "2024-02-28", "2026-02-28", "2025-02-28", ["2023-02-28"]),
    # Before the anchor the years go back; without one they begin on the day that is judged.
    ("anniversary", "2027-05-05", "2026-03-10", "2025-05-05", "2027-05-05", "2027-05-05", ["2024-05-05", "2025-05-05"]),
    ("anniversary", None, "2026-03-10", "2026-03-10", "2028-03-10", "2027-03-10", ["2025-03-10"]),
]


@pytest.mark.parametrize(("kind", "anchor", "day", "window", "reached", "onward", "begins"), YEARS)
def test_years(
    *, kind: PeriodKind, anchor: str | None, day: str, window: str, reached: str, onward: str, begins: list[str]
):
    years = calendar(kind, anchor=anchor and f"{anchor}T18:00+00:00")
    at = instant(f"{day}T00:00+00:00")
    starts = [instant(f"{begin}T00:00+00:00") for begin in begins]
    assert years.window(at) == instant(f"{window}T00:00+00:00")
    assert years.reached(at) == instant(f"{reached}T00:00+00:00")
    assert years.period_from(at) == instant(f"{onward}T00:00+00:00")
    assert years.ended(at) == tuple(zip(starts, [*starts[1:], at], strict=True))


def test_inside_the_first_day_of_a_year_the_one_before_has_ended():
    noon = instant("2026-01-01 12:00+00:00")
    years = calendar("calendar_year")
    begun = instant("2026-01-01 00:00+00:00")
    assert years.ended(noon) == ((instant("2025-01-01 00:00+00:00"), begun), (begun, noon))
    assert years.period_from(noon) == instant("2028-01-01 00:00+00:00")


def test_a_lifetime_has_no_beginning_and_no_end():
    ever, at = calendar("lifetime"), instant("2026-03-10 12:00+00:00")
    assert (ever.window(at), ever.ended(at)) == (None, ((None, at),))
    assert (ever.reached(at), ever.period_from(at)) == (None, None)


def test_the_anchor_is_a_day_of_the_zone_that_judges():
    late = "2024-02-28 22:00+00:00"  # 29 February in Riyadh
    riyadh, utc = (calendar("anniversary", zone=zone, anchor=late) for zone in ("Asia/Riyadh", "UTC"))
    assert riyadh.window(instant("2028-03-01 12:00+00:00")) == instant("2028-02-29 00:00+03:00")
    assert utc.window(instant("2028-03-01 12:00+00:00")) == instant("2028-02-28 00:00+00:00")


def test_grace_and_at_risk_count_whole_days():
    days = calendar("rolling_days", 365, "Asia/Beirut")
    assert days.days_after(instant("2024-03-01 15:00+02:00"), 30) == instant("2024-03-31 01:00+03:00")
    assert days.days_after(instant("2024-04-07 00:00+03:00"), -7) == instant("2024-03-31 01:00+03:00")
    assert days.days_after(instant("2024-04-07 09:00+03:00"), 0) == instant("2024-04-07 00:00+03:00")


@pytest.mark.parametrize("kind", ["rolling_days", "calendar_year", "anniversary"])
@pytest.mark.parametrize("text", ["0001-01-01 00:00+00:00", "9999-12-31 23:59+00:00"])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_ends_of_the_calendar(kind: PeriodKind, text: str, zone: str):
    at = instant(text) if text < "2" else datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    for anchor in (None, at):
        days = Calendar(ZoneInfo(zone), Period(kind, 36_500), anchor)
        assert (days.window(at) is None) == (text < "2")
        for moment in (days.reached(at), days.period_from(at)):
            assert (moment is None) == (text > "2")
            assert moment is None or (moment > at and moment.utcoffset() == timedelta(0))
        assert days.days_after(at, 36_500).utcoffset() == timedelta(0)
        assert len(days.ended(at)) in {1, 2}


# ---- the model

ZONES = (
    *("UTC", "Asia/Riyadh", "Asia/Beirut", "Africa/Cairo", "America/Santiago", "America/Havana"),
    *("America/St_Johns", "Pacific/Apia", "Europe/Berlin", "Asia/Kathmandu"),
)
BEGIN, END = date(2007, 1, 1), date(2014, 12, 31)


@cache
def starts_of(zone: str) -> tuple[Sequence[date], Sequence[datetime]]:
    """The days of some years and their first instants, in order; without days that never were."""
    days, starts = [], []
    local = ZoneInfo(zone)
    day = BEGIN
    while day <= END:
        # Minute by minute where the clocks may change: 00:00 by the clock is within 16 hours of 00:00 UTC.
        moment, hours = datetime.combine(day, time(), UTC), timedelta(hours=16)
        before, after = ((moment + way * hours).astimezone(local).utcoffset() for way in (-1, 1))
        assert before is not None
        moment -= before if before == after else hours
        while moment.astimezone(local).date() < day:
            moment += timedelta(minutes=1)
        if moment.astimezone(local).date() == day:
            days.append(day)
            starts.append(moment)
        day += timedelta(days=1)
    return days, starts


def start_in(zone: str, day: date) -> datetime:
    days, starts = starts_of(zone)
    return starts[next(place for place, other in enumerate(days) if other >= day)]


def day_in(zone: str, moment: datetime) -> date:
    days, starts = starts_of(zone)
    return days[bisect_right(starts, moment) - 1]


def years_in(zone: str, anchor: date) -> list[datetime]:
    """The first instants of the years that begin on a day."""
    begins: list[datetime] = []
    day = date(2008, 1, 1)
    while day < date(2014, 12, 31):
        is_leap_day = (anchor.month, anchor.day) == (2, 29)
        is_common = (date(day.year, 3, 1) - timedelta(days=1)).day == 28
        month_and_day = (2, 28) if is_leap_day and is_common else (anchor.month, anchor.day)
        if (day.month, day.day) == month_and_day:
            begins.append(start_in(zone, day))
        day += timedelta(days=1)
    return begins


moments = st.one_of(
    st.timedeltas(timedelta(0), timedelta(700)).map(lambda since: datetime(2010, 1, 2, tzinfo=UTC) + since),
    # Just around the beginning of a day.
    st.builds(
        lambda zone, day, micros: start_in(zone, date(2010, 1, 2) + timedelta(day)) + timedelta(microseconds=micros),
        st.sampled_from(ZONES),
        st.integers(0, 700),
        st.sampled_from([-1, 0, 1, 3_599_999_999, 3_600_000_000]),
    ),
)


@given(zone=st.sampled_from(ZONES), moment=moments, days=st.sampled_from([1, 2, 7, 30, 365, 366]))
@examples(60, deep=400)
def test_rolling_days_as_counted_one_by_one(zone: str, moment: datetime, days: int):
    rolling = calendar("rolling_days", days, zone)
    today = day_in(zone, moment)
    first, after = today, today
    for _ in range(days - 1):
        first -= timedelta(days=1)
    for _ in range(days + 1):
        after += timedelta(days=1)
    inside = start_in(zone, today) != moment
    assert rolling.day(moment) == today
    assert rolling.window(moment) == start_in(zone, first)
    assert rolling.reached(moment) == start_in(zone, after)
    assert rolling.period_from(moment) == start_in(zone, after if inside else after - timedelta(days=1))
    assert rolling.ended(moment) == ((start_in(zone, first if inside else first - timedelta(days=1)), moment),)
    # From the end of a period to the end of the next one are exactly its days.
    end = rolling.reached(moment)
    assert end is not None
    onward = rolling.period_from(end)
    assert onward is not None
    assert rolling.ended(onward) == ((end, onward),)


@given(
    zone=st.sampled_from(ZONES),
    moment=moments,
    anchor=st.one_of(st.none(), st.dates(date(2007, 2, 1), date(2012, 6, 1)), st.just(date(2008, 2, 29))),
    kind=st.sampled_from(["calendar_year", "anniversary"]),
)
@examples(50, deep=400)
def test_years_as_counted_day_by_day(zone: str, moment: datetime, anchor: date | None, kind: PeriodKind):
    first_event = None if anchor is None else start_in(zone, anchor) + timedelta(hours=5)
    years = Calendar(ZoneInfo(zone), Period(kind), first_event)
    of = date(2008, 1, 1) if kind == "calendar_year" else anchor or day_in(zone, moment)
    begins = years_in(zone, day_in(zone, start_in(zone, of)) if anchor and kind == "anniversary" else of)
    place = bisect_right(begins, moment) - 1
    before, this, following, last = begins[place - 1 : place + 3]
    assert years.window(moment) == this
    assert years.reached(moment) == last
    assert years.period_from(moment) == (following if moment == this else last)
    expected = ((before, this),) if moment == this else ((before, this), (this, moment))
    assert years.ended(moment) == expected
