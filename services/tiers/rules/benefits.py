"""The benefits of a tier: which of them a customer has at an instant, and how often they can still be used."""

from datetime import datetime

from services.tiers.rules.program.calendar import Calendar
from services.tiers.rules.program.compiled import Benefit, Period, Program, Uses
from services.tiers.rules.status import Status

_YEAR = Period("calendar_year")


def listed(status: Status, moment: datetime) -> list[Benefit]:
    """The benefits that the tier lists and whose window contains an instant."""
    return [benefit for benefit in status.tier.benefits if benefit.is_valid_at(moment)]


def counted_since(program: Program, calendar: Calendar, uses: Uses, moment: datetime) -> datetime | None:
    """The beginning of the span whose uses count at an instant; None: all uses count (answers.md T37)."""
    match uses.per:
        case "year":
            return Calendar(program.zone, _YEAR).window(moment)
        case "period":
            return calendar.window(moment)
        case "ever":
            return None


def left(benefit: Benefit, used: int) -> int | None:
    """The number of uses that are left after some; None: any number."""
    return None if benefit.uses is None else max(0, benefit.uses.count - used)
