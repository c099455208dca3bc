"""Records of the mirror (lots, orders, holds, redemptions), and the calendar of its program."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from fractions import Fraction

from shared.contracts.envelope import Event

RIYADH = timezone(timedelta(hours=3))
CHANGE = datetime(2026, 3, 20, tzinfo=UTC)
"""The instant from which the second version of the rules is in force."""
NEVER = datetime.max.replace(tzinfo=UTC)


def midnight(moment: datetime, days: int) -> datetime:
    """00:00 in Riyadh, `days` days after the day of an instant."""
    return datetime.combine(day_of(moment) + timedelta(days), time(), RIYADH).astimezone(UTC)


def day_of(moment: datetime) -> date:
    """The day of an instant in Riyadh."""
    return moment.astimezone(RIYADH).date()


def after_a_month(moment: datetime) -> datetime:
    """The end of the same day of the next month, or of its last day where it is shorter."""
    day = day_of(moment)
    first = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    end = first.replace(day=min(day.day, last.day)) + timedelta(days=1)
    return datetime.combine(end, time(), RIYADH).astimezone(UTC)


@dataclass(eq=False)
class Lot:
    """A lot: points granted together."""

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
        """Sort key of spending: expiry, age, number."""
        return self.expires or NEVER, self.at, self.number


Portions = list[tuple[Lot, int]]


@dataclass(eq=False)
class Order:
    """An order, and the points that it was granted by rule."""

    event: Event
    coffee: int = 0
    """The coffee rule's award after its limit."""
    given: Counter[str] = field(default_factory=Counter)
    refunds: dict[str, Event] = field(default_factory=dict)
    delivered: datetime | None = None
    tier: Fraction = Fraction(1)

    @property
    def cancels(self) -> datetime:
        """The instant at which points that wait for its delivery are canceled."""
        return midnight(self.event.time, 10)


@dataclass(eq=False)
class Hold:
    """A hold."""

    points: int
    portions: Portions
    ends: datetime
    open: bool = True
    captured: bool = False


@dataclass(eq=False)
class Redemption:
    """A redemption."""

    points: int
    portions: Portions
    cancelled: bool = False
