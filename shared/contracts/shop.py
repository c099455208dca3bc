"""What backends publish: the data of every `shop.*` event."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator
from pydantic_core import PydanticCustomError

from shared.contracts.values import (
    CalendarDate,
    Currency,
    Flag,
    Id,
    Locale,
    Money,
    Properties,
    Quantity,
    Text,
    TimeZone,
    Whole,
)

_MOST_LINES: Final = 10_000

# Arrays fail fast: the first wrong item is what a dead letter tells, and a record has room for 350,000 of them.


class EventData(BaseModel):
    """The `data` of one event type; fields that the contract does not name are ignored."""

    model_config = ConfigDict(frozen=True)

    customer_id: Id


# Lines are slotted dataclasses: a basket has many, and these cost a third less to make and keep.
@dataclass(frozen=True, slots=True)
class Line:
    """A line of an order; `amount` is net of discount, before tax and shipping."""

    line_id: Id
    sku: Id
    quantity: Quantity
    amount: Money
    category: Text | None = None


@dataclass(frozen=True, slots=True)
class RefundLine:
    """What is given back of one line."""

    line_id: Id
    quantity: Quantity
    amount: Money


def _none_is_empty(value: object) -> object:
    return () if value is None else value


def _adds_up(lines: tuple[Line, ...] | tuple[RefundLine, ...], whole: str) -> None:
    total = sum(map(Decimal, [line.amount for line in lines]))
    if lines and total != Decimal(whole):
        raise PydanticCustomError(
            "lines_do_not_add_up",
            "the lines add up to {total}, not to {whole}",
            {"total": f"{total:f}", "whole": whole},
        )


def check_lines(lines: tuple[Line, ...], total: str) -> None:
    """See whether lines make up an order.

    Raises:
        PydanticCustomError: two share an id, or they do not add up to the total.
    """
    if lines:
        if len({line.line_id for line in lines}) != len(lines):
            raise PydanticCustomError("bad_field", "two lines share a line_id")
        _adds_up(lines, total)


class PurchaseCompleted(EventData):
    """`shop.purchase.completed.v1`: an order was paid; with lines, their amounts add up to `total`."""

    order_id: Id
    currency: Currency
    total: Money
    lines: Annotated[
        tuple[Line, ...],
        Field(max_length=_MOST_LINES, fail_fast=True),
        BeforeValidator(_none_is_empty),
        PlainSerializer(tuple, return_type=tuple[Line, ...]),  # they may be packed
    ] = ()
    channel: Text | None = None
    store_id: Text | None = None
    coupon_codes: Annotated[
        tuple[Text, ...], Field(max_length=100, fail_fast=True), BeforeValidator(_none_is_empty)
    ] = ()

    @model_validator(mode="after")
    def _lines_are_the_order(self) -> Self:
        check_lines(self.lines, self.total)
        return self


class PurchaseRefunded(EventData):
    """`shop.purchase.refunded.v1`: money was given back for goods of an order, in part or in full."""

    order_id: Id
    refund_id: Id
    currency: Currency
    amount: Money
    lines: Annotated[
        tuple[RefundLine, ...], Field(max_length=_MOST_LINES, fail_fast=True), BeforeValidator(_none_is_empty)
    ] = ()

    @model_validator(mode="after")
    def _lines_are_the_refund(self) -> Self:
        _adds_up(self.lines, self.amount)
        return self


class PurchaseDelivered(EventData):
    """`shop.purchase.delivered.v1`: the goods of an order arrived."""

    order_id: Id


class ReviewPublished(EventData):
    """`shop.review.published.v1`: a customer's review of a product stands in the shop."""

    review_id: Id
    sku: Id
    rating: Annotated[int, Field(strict=True, ge=1, le=5)]
    verified_purchase: Flag | None = None
    text_length: Whole | None = None
    photo_count: Whole | None = None


class ReviewWithdrawn(EventData):
    """`shop.review.withdrawn.v1`: a review was taken down."""

    review_id: Id


class _Traces(EventData):
    """Evidence of where a customer comes from, used only against fraud."""

    email: Text | None = None
    phone: Text | None = None
    device_id: Text | None = None
    ip: Text | None = None
    user_agent: Text | None = None
    payment_fingerprint: Text | None = None


class ReferralSignedUp(_Traces):
    """`shop.referral.signed_up.v1`: a friend (`customer_id`) signed up with an advocate's code."""

    code: Id


class MarketingConsent(BaseModel):
    """Whether marketing may reach a customer, by channel; what is absent is unchanged."""

    model_config = ConfigDict(frozen=True)

    email: Flag | None = None
    sms: Flag | None = None
    push: Flag | None = None


class CustomerProfile(_Traces):
    """What a shop knows of a customer. In an update, an absent field stays and null clears."""

    name: Text | None = None
    locale: Locale | None = None
    time_zone: TimeZone | None = None
    country: Text | None = None
    birth_date: CalendarDate | None = None
    heard_from: Text | None = None
    marketing_consent: MarketingConsent | None = None

    def tells(self, name: str) -> bool:
        """Whether it says something of a field: null does in an update only, where it clears."""
        if isinstance(self, CustomerUpdated):
            return name in self.model_fields_set
        return getattr(self, name) is not None


class CustomerRegistered(CustomerProfile):
    """`shop.customer.registered.v1`: a customer made an account."""


class CustomerUpdated(CustomerProfile):
    """`shop.customer.updated.v1`: a customer's details changed; per field the newest `time` wins."""


class CustomerErased(EventData):
    """`shop.customer.erased.v1`: a customer's personal data must go."""


class ActivityPerformed(EventData):
    """`shop.activity.performed.v1`: an app install, a share, a quiz, a visit, a check-in, …"""

    activity_id: Id
    activity: Id
    properties: Properties | None = None


class SurveyAnswered(EventData):
    """`shop.survey.answered.v1`: an answer on the scale of its survey (nps 0–10, csat 1–5)."""

    answer_id: Id
    survey: Literal["nps", "csat"]
    score: Annotated[int, Field(strict=True, ge=0, le=10)]
    order_id: Id | None = None
    comment: Text | None = None

    @model_validator(mode="after")
    def _score_is_on_the_scale(self) -> Self:
        if self.survey == "csat" and not 1 <= self.score <= 5:
            raise PydanticCustomError("bad_field", "a csat score runs from 1 to 5")
        return self
