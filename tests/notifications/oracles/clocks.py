"""Local times, by looking at each minute: slow, and plain."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)


def local_instant(day: date, clock: time, zone: ZoneInfo) -> datetime:
    """The first instant at which the zone's clocks show this time or a later one of that day.

    A time that does not exist is the first instant after it; of two, the first is taken.
    """
    wanted = datetime.combine(day, clock)
    moment = datetime.combine(day, clock, UTC) - timedelta(hours=16)
    moment = moment.replace(second=0, microsecond=0)
    while moment.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0) < wanted.replace(
        second=0, microsecond=0
    ):
        moment += timedelta(minutes=1)
    shown = moment.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0)
    exact = shown == wanted.replace(second=0, microsecond=0)
    return moment + (timedelta(seconds=wanted.second, microseconds=wanted.microsecond) if exact else timedelta(0))


def after_wait(start: datetime, zone: ZoneInfo, step: dict[str, object]) -> datetime:
    """When a wait that fell due at an instant is over: local days, then hours, then the next local time of day."""
    moment = start
    days, hours, at = step.get("days"), step.get("hours"), step.get("at")
    if isinstance(days, int):
        local = start.astimezone(zone)
        moment = local_instant(local.date() + days * DAY, local.time(), zone)
    if isinstance(hours, int):
        moment += timedelta(hours=hours)
    if isinstance(at, str):
        day, clock = moment.astimezone(zone).date(), time.fromisoformat(at)
        on_day = local_instant(day, clock, zone)
        moment = on_day if on_day >= moment else local_instant(day + DAY, clock, zone)
    return moment


def yearly(born: date, year: int) -> date:
    """The anniversary in a year: 29 February is 28 in common years."""
    try:
        return born.replace(year=year)
    except ValueError:
        return date(year, 2, 28)
