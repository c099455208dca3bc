"""The value types of earning rules."""

from typing import Annotated, Final, Literal, get_args

from pydantic import Field, StringConstraints

from shared.contracts.values import Text

On = Literal["purchase", "review", "activity", "survey", "registration", "referral", "tier_promotion", "birthday"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

EVENTS: Final[tuple[On, ...]] = get_args(On)
WEEKDAYS: Final[tuple[Weekday, ...]] = get_args(Weekday)

_MOST_VALUES: Final = 10_000
_MOST_DAYS: Final = 36_500


RuleId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
Points = Annotated[int, Field(strict=True, ge=1, le=10**9)]
Days = Annotated[int, Field(strict=True, ge=0, le=_MOST_DAYS)]
Values = Annotated[tuple[Text, ...], Field(min_length=1, max_length=_MOST_VALUES)]
