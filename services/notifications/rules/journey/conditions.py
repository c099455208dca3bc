"""Whether conditions hold for a customer at an instant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast
from zoneinfo import ZoneInfo

from services.notifications.rules.journey.asking import Answer, Ask, Asking
from services.notifications.rules.journey.clock import DAY
from services.notifications.rules.journey.document import (
    Condition,
    CountryIn,
    FieldCondition,
    Happened,
    LocaleIn,
    NoPurchaseFor,
    PointsAtLeast,
    PurchasesAtLeast,
    TierIn,
)
from services.notifications.rules.journey.fields import matches
from services.notifications.rules.journey.triggers import PURCHASE

_ASKING: Final = (PurchasesAtLeast, NoPurchaseFor, Happened)
_SINCE_EVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Standing:
    """What journeys know of a customer now.

    `zone` is the customer's time zone. `spent` is the number of points that left the balance so far, less those that
    came back to it: its growth tells how many points were used since.
    """

    customer_id: str
    zone: ZoneInfo
    locale: str | None = None
    country: str | None = None
    tier: str | None = None
    available: int = 0
    spent: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """From where conditions are judged: the customer, the fields of the event that started the run, and instants.

    `at` is the instant of judgment, `since` that after which events count where no days are given. `type` and `key`
    name the event that started the run, which never counts. Events recorded after `upto` are not known yet.
    """

    standing: Standing
    field: Callable[[str], object]
    at: datetime
    since: datetime
    type: str
    key: str
    upto: int | None = None


def all_hold(conditions: Sequence[Condition], view: View) -> Asking[bool]:
    """Whether all conditions hold; those that need no question come first."""
    asking = [condition for condition in conditions if isinstance(condition, _ASKING)]
    for condition in conditions:
        if not isinstance(condition, _ASKING) and not _holds(condition, view):
            return False
    for condition in asking:
        answer = cast("Answer", (yield _ask(condition, view)))
        if not _satisfies(condition, answer):
            return False
    return True


def _holds(condition: Condition, view: View) -> bool:
    standing = view.standing
    match condition:
        case FieldCondition():
            return matches(condition, view.field(condition.path))
        case TierIn():
            return standing.tier in condition.values
        case PointsAtLeast():
            return standing.available >= condition.points
        case LocaleIn():
            return standing.locale is not None and any(_is_within(standing.locale, each) for each in condition.values)
        case CountryIn():
            country = (standing.country or "").strip().upper()
            return country in {value.upper() for value in condition.values}
        case _:
            raise AssertionError("the others ask")


def _is_within(locale: str, wanted: str) -> bool:
    """Whether a locale is the wanted one, or a region or script of the wanted language."""
    own, other = (text.replace("_", "-").lower() for text in (locale, wanted))
    return own == other or own.startswith(f"{other}-")


def _ask(condition: PurchasesAtLeast | NoPurchaseFor | Happened, view: View) -> Ask:
    customer_id = view.standing.customer_id
    match condition:
        case PurchasesAtLeast():
            return Ask(customer_id, PURCHASE, _before(view.at, condition.days), view.at, None, view.upto)
        case NoPurchaseFor():
            return Ask(customer_id, PURCHASE, _before(view.at, condition.days), None, None, view.upto)
        case Happened():
            after = view.since if condition.within_days is None else _before(view.at, condition.within_days)
            besides = view.key if condition.type == view.type else None
            return Ask(customer_id, condition.type, after, None, besides, view.upto)


def _satisfies(condition: PurchasesAtLeast | NoPurchaseFor | Happened, answer: Answer) -> bool:
    match condition:
        case PurchasesAtLeast():
            return answer.times >= condition.count
        case NoPurchaseFor():
            return answer.times == 0
        case Happened():
            return answer.times > 0


def _before(moment: datetime, days: int) -> datetime:
    try:
        return moment - days * DAY
    except OverflowError:
        return _SINCE_EVER
