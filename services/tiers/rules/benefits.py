"""The benefits of a tier: which of them a customer has at an instant, and how often they can still be used."""

from datetime import datetime

from services.tiers.rules.program.calendar import Calendar
from services.tiers.rules.program.compiled import Benefit, Period
from services.tiers.rules.status import Status

_YEAR = Period("calendar_year")


def listed(status: Status, moment: datetime) -> list[Benefit]:
    """The benefits that the tier lists and whose window contains an instant."""
    return [benefit for benefit in status.tier.benefits if benefit.is_valid_at(moment)]


def counted_since(status: Status, benefit: Benefit, moment: datetime) -> datetime | None:
    """The beginning of the span whose uses count at an instant; None: all uses count (answers.md T37)."""
    assert benefit.uses is not None, "uses are counted"
    match benefit.uses.per:
        case "year":
            return Calendar(status.program.zone, _YEAR).window(moment)
        case "period":
            return status.calendar.window(moment)
        case "ever":
            return None


def left(benefit: Benefit, used: int) -> int | None:
    """The number of uses that are left after some; None: any number."""
    return None if benefit.uses is None else max(0, benefit.uses.count - used)
