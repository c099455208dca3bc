"""The value types of a document, and the base of its models."""

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from shared.contracts.values import Text

On = Literal["purchase", "review", "activity", "survey", "registration", "referral", "tier_promotion", "birthday"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

EVENTS: Final[tuple[On, ...]] = get_args(On)
WEEKDAYS: Final[tuple[Weekday, ...]] = get_args(Weekday)

_DECIMAL: Final = r"^[0-9]{1,12}(?:\.[0-9]{1,4})?$"
_RATE: Final = r"^[0-9]{1,12}(?:\.[0-9]{1,12})?$"
_MOST_VALUES: Final = 10_000
_MOST_DAYS: Final = 36_500


def _above_zero(text: str) -> str:
    if not text.strip("0."):
        raise ValueError("must be greater than 0")
    return text


Amount = Annotated[
    str,
    StringConstraints(pattern=_DECIMAL),
    Field(description="A decimal string with at most 4 decimals.", examples=["1.00"]),
]
PositiveAmount = Annotated[Amount, AfterValidator(_above_zero)]
Rate = Annotated[
    str,
    StringConstraints(pattern=_RATE),
    AfterValidator(_above_zero),
    Field(description="A decimal string greater than 0 with at most 12 decimals.", examples=["0.000061"]),
]
RuleId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
Points = Annotated[int, Field(strict=True, ge=1, le=10**9)]
Days = Annotated[int, Field(strict=True, ge=0, le=_MOST_DAYS)]
Locale = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*$", max_length=35)]
Values = Annotated[tuple[Text, ...], Field(min_length=1, max_length=_MOST_VALUES)]


def _describe_kind(schema: dict[str, Any]) -> None:
    if kind := schema.get("properties", {}).get("kind"):
        kind["description"] = "Selects this variant; the other fields belong to it."


class Part(BaseModel):
    """A part of a document: immutable, and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True, json_schema_extra=_describe_kind)
