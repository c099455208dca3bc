"""What the mirror has of a customer: lots, orders, holds, redemptions; and the days of its program."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from fractions import Fraction

from shared.contracts.envelope import Event

RIYADH = timezone(timedelta(hours=3))
CHANGE = datetime(2026, 3, 20, tzinfo=UTC)
"""From here on the second version of the rules is in force."""
NEVER = datetime.max.replace(tzinfo=UTC)


def midnight(moment: datetime, days: int) -> datetime:
    """00:00 in Riyadh, so many days after the day of an instant."""
    return datetime.combine(day_of(moment) + timedelta(days), time(), RIYADH).astimezone(UTC)


def day_of(moment: datetime) -> date:
    """The day of an instant in Riyadh."""
    return moment.astimezone(RIYADH).date()


def after_a_month(moment: datetime) -> datetime:
    """The end of the same day of the next month, or of that month's last day."""
    day = day_of(moment)
    first = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    end = first.replace(day=min(day.day, last.day)) + timedelta(days=1)
    return datetime.combine(end, time(), RIYADH).astimezone(UTC)


@dataclass(eq=False)
class Lot:
    """Points that came together."""

    number: int
    origin: str
    rule: str
    at: datetime
    left: int
    pending: bool = False
    activates: datetime | None = None
    cancels: datetime | None = None
    expires: datetime | None = None
    held: int = 0
    lost: int = 0

    @property
    def turn(self) -> tuple[datetime, datetime, int]:
        """When it is spent: soonest expiry, age, number."""
        return self.expires or NEVER, self.at, self.number


Portions = list[tuple[Lot, int]]


@dataclass(eq=False)
class Order:
    """An order, and what was given for it by rule."""

    event: Event
    coffee: int = 0
    """What the limit left of the coffee's award."""
    given: Counter[str] = field(default_factory=Counter)
    refunds: dict[str, Event] = field(default_factory=dict)
    delivered: datetime | None = None
    tier: Fraction = Fraction(1)

    @property
    def cancels(self) -> datetime:
        """When its delivery is waited for no longer."""
        return midnight(self.event.time, 10)


@dataclass(eq=False)
class Hold:
    """Points reserved."""

    points: int
    portions: Portions
    ends: datetime
    open: bool = True
    captured: bool = False


@dataclass(eq=False)
class Redemption:
    """Points spent."""

    points: int
    portions: Portions
    cancelled: bool = False
