"""The earning rules as marketing writes them: one versioned document.

Every version that was ever published is read by this model: what is only asked of new ones stands in checking.py.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from shared.contracts.values import Currency, Id, Text, TimeZone, parse_instant

On = Literal["purchase", "review", "activity", "survey", "registration", "referral", "tier_promotion", "birthday"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Per = Literal["order", "day", "week", "month", "year", "ever"]
LimitScope = Literal["customer", "customer_sku", "program"]

WEEKDAYS: Final[tuple[Weekday, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_DECIMAL: Final = r"^[0-9]{1,12}(?:\.[0-9]{1,4})?$"
_RATE: Final = r"^[0-9]{1,12}(?:\.[0-9]{1,12})?$"
_MOST_RULES: Final = 200
_MOST_VALUES: Final = 10_000
_MOST_DAYS: Final = 36_500


class Fault(NamedTuple):
    """One thing that is wrong, or doubtful: a JSON pointer into the document, and words."""

    pointer: str
    message: str


class DocumentError(Exception):
    """A document that cannot be kept; `faults` tell all that is wrong with it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{one.pointer}: {one.message}" for one in faults))
        self.faults = tuple(faults)


def _above_zero(text: str) -> str:
    if not text.strip("0."):
        raise ValueError("has to be above 0")
    return text


Amount = Annotated[
    str,
    StringConstraints(pattern=_DECIMAL),
    Field(description="A decimal string of at most 4 decimals.", examples=["1.00"]),
]
PositiveAmount = Annotated[Amount, AfterValidator(_above_zero)]
Rate = Annotated[
    str,
    StringConstraints(pattern=_RATE),
    AfterValidator(_above_zero),
    Field(description="A decimal string above 0 of at most 12 decimals.", examples=["0.000061"]),
]
RuleId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
Points = Annotated[int, Field(strict=True, ge=1, le=10**9)]
Days = Annotated[int, Field(strict=True, ge=0, le=_MOST_DAYS)]
Locale = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*$", max_length=35)]
Values = Annotated[tuple[Text, ...], Field(min_length=1, max_length=_MOST_VALUES)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


class AmountAtLeast(_Part):
    """What is kept of the order is worth at least `amount`, in the program's currency."""

    kind: Literal["amount_at_least"]
    amount: Amount


class IsIn(_Part):
    """What the order (a line of it, the customer's tier) has is among `values`."""

    kind: Literal["category_in", "sku_in", "channel_in", "store_in", "currency_in", "tier_in"]
    values: Values


class Window(_Part):
    """From an instant on, and before another: a date (its 00:00), or a local or absolute date-time."""

    kind: Literal["window"]
    from_: Annotated[str, Field(alias="from", examples=["2026-03-01"])]
    to: Annotated[str, Field(examples=["2026-04-01T00:00:00+03:00"])]


class WeekdayIn(_Part):
    """On some days of the week."""

    kind: Literal["weekday_in"]
    days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)]


class Hours(_Part):
    """From a time of the day on, and before another; past midnight where `from` is the later one."""

    kind: Literal["hours"]
    from_: Annotated[str, StringConstraints(pattern=r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]$"), Field(alias="from")]
    to: Annotated[str, StringConstraints(pattern=r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]$")]


class EveryNthPurchase(_Part):
    """The stamp card: the customer's nth, 2nth, 3nth … order."""

    kind: Literal["every_nth_purchase"]
    n: Annotated[int, Field(strict=True, ge=1, le=10**6)]


class RatingAtLeast(_Part):
    """A review of at least so many stars."""

    kind: Literal["rating_at_least"]
    rating: Annotated[int, Field(strict=True, ge=1, le=5)]


class TextLengthAtLeast(_Part):
    """A review of at least so many characters."""

    kind: Literal["text_length_at_least"]
    length: Annotated[int, Field(strict=True, ge=0, le=10**6)]


class ActivityIs(_Part):
    """An activity of this name."""

    kind: Literal["activity_is"]
    activity: Id


class SurveyIs(_Part):
    """An answer to this kind of survey."""

    kind: Literal["survey_is"]
    survey: Literal["nps", "csat"]


class ScoreAtLeast(_Part):
    """An answer with at least this score."""

    kind: Literal["score_at_least"]
    score: Annotated[int, Field(strict=True, ge=0, le=10)]


class Flag(_Part):
    """A condition without parameters: the first order, a verified purchase, a review with photos."""

    kind: Literal["first_purchase", "verified_purchase", "has_photo"]


Condition = Annotated[
    AmountAtLeast
    | IsIn
    | Window
    | WeekdayIn
    | Hours
    | EveryNthPurchase
    | RatingAtLeast
    | TextLengthAtLeast
    | ActivityIs
    | SurveyIs
    | ScoreAtLeast
    | Flag,
    Field(discriminator="kind"),
]


class PerAmount(_Part):
    """floor(matched amount / `amount`) x `points`."""

    kind: Literal["per_amount"]
    points: Points
    amount: PositiveAmount


class Fixed(_Part):
    """So many points, once per order, review, …"""

    kind: Literal["fixed"]
    points: Points


class Multiplier(_Part):
    """floor(p x (`factor` - 1)) on top, p being what the per_amount rules give for the matching lines."""

    kind: Literal["multiplier"]
    factor: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}(?:\.[0-9]{1,4})?$")]


Award = Annotated[PerAmount | Fixed | Multiplier, Field(discriminator="kind")]


class ActivateNow(_Part):
    """Available at once."""

    kind: Literal["now"]


class ActivateAfterDays(_Part):
    """Available from 00:00 of that day on, in the program's zone."""

    kind: Literal["after_days"]
    days: Days


class ActivateOnDelivery(_Part):
    """Available when the order is delivered; taken back when it is not after so many days."""

    kind: Literal["on_delivery"]
    cancel_after_days: Days | None = None


Activation = Annotated[ActivateNow | ActivateAfterDays | ActivateOnDelivery, Field(discriminator="kind")]


class ExpireNever(_Part):
    """Never."""

    kind: Literal["never"]


class ExpireAfterDays(_Part):
    """So many days after activation."""

    kind: Literal["after_days"]
    days: Days


class ExpireAfterMonths(_Part):
    """So many months after activation; at the end of a month that is too short."""

    kind: Literal["after_months"]
    months: Annotated[int, Field(strict=True, ge=1, le=1200)]


class ExpireEndOfYear(_Part):
    """At the end of the year of activation (0), or of a later one."""

    kind: Literal["end_of_year"]
    years: Annotated[int, Field(strict=True, ge=0, le=100)] = 0


Expiry = Annotated[
    ExpireNever | ExpireAfterDays | ExpireAfterMonths | ExpireEndOfYear,
    Field(discriminator="kind"),
]


class Limit(_Part):
    """At most so many awards (above 0), or so many points."""

    count: Points | None = None
    points: Points | None = None
    per: Per
    scope: LimitScope


class Rule(_Part):
    """Who earns what for which event, and under which conditions."""

    id: RuleId
    name: dict[Locale, Text] = Field(default_factory=dict)
    on: On
    when: Annotated[tuple[Condition, ...], Field(max_length=50)] = ()
    award: Award
    exclusive_group: RuleId | None = None
    limits: Annotated[tuple[Limit, ...], Field(max_length=10)] = ()
    activate: Activation = ActivateNow(kind="now")
    expire: Expiry = ExpireNever(kind="never")


class Document(_Part):
    """A set of earning rules. `tiers` are the program's tiers from the lowest one up."""

    currency: Currency
    rates: dict[Currency, Rate] = Field(
        default_factory=dict, description="What 1.00 of another currency is worth in the program's."
    )
    time_zone: TimeZone = "UTC"
    week_start: Weekday = "mon"
    tiers: Annotated[tuple[Id, ...], Field(min_length=1, max_length=50)] = ("member", "silver", "gold")
    rules: Annotated[tuple[Rule, ...], Field(max_length=_MOST_RULES)]


def dump(document: Document) -> dict[str, Any]:
    """The document as JSON has it, with every default spelled out."""
    return document.model_dump(mode="json")


def instant(text: str, zone: ZoneInfo) -> datetime:
    """The instant that an end of a window names: 00:00 of a date, a local date-time, or one with an offset.

    Raises:
        ValueError: it is none of these.
    """
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        return _in_utc(datetime.combine(date.fromisoformat(text), time(), zone))
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2})?", text, re.ASCII):
        return _in_utc(datetime.fromisoformat(text).replace(tzinfo=zone))
    return parse_instant(text)


def _in_utc(local: datetime) -> datetime:
    """The same instant in UTC: clocks of one zone are compared by what they show, not by when it is."""
    try:
        return local.astimezone(UTC)
    except OverflowError:  # the first or the last day that a calendar has
        return local


def pointer(*steps: str | int) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)
