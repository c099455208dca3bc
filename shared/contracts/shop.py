"""The data of the `shop.*` events, which backends publish."""

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
    Instant,
    Locale,
    Money,
    Properties,
    Quantity,
    Text,
    TimeZone,
    Whole,
)

_MOST_LINES: Final = 10_000

# Arrays fail fast: a dead letter names the first wrong item, and a record has room for 350,000 items.


class EventData(BaseModel):
    """The `data` of one event type; fields that the contract does not name are ignored."""

    model_config = ConfigDict(frozen=True)

    customer_id: Id = Field(description="Id of the customer; also the key of the record.")


# Slotted dataclasses: a basket has many lines, and these cost a third less to make and keep.
@dataclass(frozen=True, slots=True)
class Line:
    """A line of an order."""

    line_id: Annotated[Id, Field(description="Id of the line within its order.")]
    sku: Annotated[Id, Field(description="Id of the product.")]
    quantity: Annotated[Quantity, Field(description="Quantity: an integer or a decimal string, 0 or more.")]
    amount: Annotated[Money, Field(description="Amount of the line, net of discount, before tax and shipping.")]
    category: Annotated[
        Text | None, Field(description="Category of the product, which earning rules can refer to.")
    ] = None


@dataclass(frozen=True, slots=True)
class RefundLine:
    """The refunded part of a line."""

    line_id: Annotated[Id, Field(description="Id of the line within its order.")]
    quantity: Annotated[Quantity, Field(description="Refunded quantity: an integer or a decimal string, 0 or more.")]
    amount: Annotated[Money, Field(description="Refunded amount of the line.")]


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
    """Check that lines make up an order.

    Raises:
        PydanticCustomError: two lines share an id, or the amounts do not add up to the total.
    """
    if lines:
        if len({line.line_id for line in lines}) != len(lines):
            raise PydanticCustomError("bad_field", "two lines share a line_id")
        _adds_up(lines, total)


class PurchaseCompleted(EventData):
    """`shop.purchase.completed.v1`: an order was paid; if it has lines, their amounts add up to `total`."""

    order_id: Id = Field(description="Id of the order.")
    currency: Currency = Field(description="Currency of all amounts (ISO 4217).")
    total: Money = Field(description="Total of the order, net of discount, before tax and shipping.")
    lines: Annotated[
        tuple[Line, ...],
        Field(max_length=_MOST_LINES, fail_fast=True, description="Lines of the order; an empty list means no lines."),
        BeforeValidator(_none_is_empty),
        PlainSerializer(tuple, return_type=tuple[Line, ...]),  # they may be packed
    ] = ()
    channel: Text | None = Field(default=None, description="Where the order was placed, such as `web` or `store`.")
    store_id: Text | None = Field(default=None, description="Id of the store.")
    coupon_codes: Annotated[
        tuple[Text, ...],
        Field(max_length=100, fail_fast=True, description="Coupon codes that were used."),
        BeforeValidator(_none_is_empty),
    ] = ()

    @model_validator(mode="after")
    def _lines_are_the_order(self) -> Self:
        check_lines(self.lines, self.total)
        return self


class PurchaseRefunded(EventData):
    """`shop.purchase.refunded.v1`: money was refunded for goods of an order, in part or in full."""

    order_id: Id = Field(description="Id of the order.")
    refund_id: Id = Field(description="Id of the refund within its order.")
    currency: Currency = Field(description="Currency of all amounts (ISO 4217).")
    amount: Money = Field(description="Refunded amount for the goods.")
    lines: Annotated[
        tuple[RefundLine, ...],
        Field(
            max_length=_MOST_LINES,
            fail_fast=True,
            description="Refunded lines; without any, every line is reduced by the same fraction.",
        ),
        BeforeValidator(_none_is_empty),
    ] = ()

    @model_validator(mode="after")
    def _lines_are_the_refund(self) -> Self:
        _adds_up(self.lines, self.amount)
        return self


class PurchaseDelivered(EventData):
    """`shop.purchase.delivered.v1`: the goods of an order were delivered."""

    order_id: Id = Field(description="Id of the order.")


OrderStatus = Literal["confirmed", "packed", "shipped", "delayed", "out_for_delivery", "ready_for_pickup", "cancelled"]


class OrderStatusChanged(EventData):
    """`shop.order.status_changed.v1`: an order is on its way, late, ready or canceled. It moves no points."""

    order_id: Id = Field(description="Id of the order.")
    status: OrderStatus = Field(description="The new status.")
    expected_at: Instant | None = Field(default=None, description="When the order is expected to arrive.")
    carrier: Text | None = Field(default=None, description="Name of the carrier.")
    tracking_url: Text | None = Field(default=None, description="Page that shows where the order is.")


class ReviewPublished(EventData):
    """`shop.review.published.v1`: the shop published a customer's review of a product."""

    review_id: Id = Field(description="Id of the review.")
    sku: Id = Field(description="Id of the product.")
    rating: int = Field(strict=True, ge=1, le=5, description="Stars, 1 to 5.")
    verified_purchase: Flag | None = Field(default=None, description="Whether the reviewer bought the product.")
    text_length: Whole | None = Field(default=None, description="Number of characters of the review's text.")
    photo_count: Whole | None = Field(default=None, description="Number of photos.")


class ReviewWithdrawn(EventData):
    """`shop.review.withdrawn.v1`: a review was taken down."""

    review_id: Id = Field(description="Id of the review.")


class _Traces(EventData):
    """Contact data and evidence of where a customer comes from."""

    email: Text | None = Field(default=None, description="E-mail address.")
    phone: Text | None = Field(default=None, description="Phone number, in E.164 if possible.")
    device_id: Text | None = Field(default=None, description="Id of the device; used against fraud only.")
    ip: Text | None = Field(default=None, description="IP address; used against fraud only.")
    user_agent: Text | None = Field(
        default=None, description="User agent of the browser or app; used against fraud only."
    )
    payment_fingerprint: Text | None = Field(
        default=None, description="Fingerprint of the means of payment; used against fraud only."
    )


class ReferralSignedUp(_Traces):
    """`shop.referral.signed_up.v1`: a friend (`customer_id`) signed up with an advocate's code."""

    customer_id: Id = Field(description="Id of the friend; also the key of the record.")
    code: Id = Field(description="Referral code of the advocate.")


class MarketingConsent(BaseModel):
    """Consent to marketing by channel; an absent channel is unchanged."""

    model_config = ConfigDict(frozen=True)

    email: Flag | None = Field(default=None, description="Consent to e-mail.")
    sms: Flag | None = Field(default=None, description="Consent to text messages.")
    push: Flag | None = Field(default=None, description="Consent to push messages.")


class CustomerProfile(_Traces):
    """A customer's profile. In an update, an absent field is unchanged and null clears it."""

    name: Text | None = Field(default=None, description="Full name, in any script.")
    locale: Locale | None = Field(default=None, description="Language and region (BCP 47).")
    time_zone: TimeZone | None = Field(default=None, description="Time zone (IANA).")
    country: Text | None = Field(default=None, description="Country (ISO 3166-1 alpha-2).")
    birth_date: CalendarDate | None = Field(default=None, description="Date of birth.")
    heard_from: Text | None = Field(default=None, description="How the customer found the shop.")
    marketing_consent: MarketingConsent | None = Field(
        default=None, description="Consent to marketing by channel; an absent channel is unchanged."
    )

    def sets(self, name: str) -> bool:
        """Whether the event sets a field. Null sets it (clears it) in an update only."""
        if isinstance(self, CustomerUpdated):
            return name in self.model_fields_set
        return getattr(self, name) is not None


class CustomerRegistered(CustomerProfile):
    """`shop.customer.registered.v1`: a customer created an account."""


class CustomerUpdated(CustomerProfile):
    """`shop.customer.updated.v1`: a customer's profile changed; for each field the newest `time` wins."""


class CustomerErased(EventData):
    """`shop.customer.erased.v1`: a customer's personal data must be erased."""


class ActivityPerformed(EventData):
    """`shop.activity.performed.v1`: an app install, a share, a quiz, a visit, a check-in, …"""

    activity_id: Id = Field(description="Id of the activity.")
    activity: Id = Field(
        description="Kind of activity, such as `app_install`, `share` or `quiz`; earning rules can refer to it."
    )
    properties: Properties | None = Field(
        default=None, description="Further properties for earning rules: JSON, at most 32 levels deep."
    )


class SurveyAnswered(EventData):
    """`shop.survey.answered.v1`: a customer answered a survey."""

    answer_id: Id = Field(description="Id of the answer.")
    survey: Literal["nps", "csat"] = Field(description="Kind of survey: `nps` (0 to 10) or `csat` (1 to 5).")
    score: int = Field(strict=True, ge=0, le=10, description="Score on the survey's scale.")
    order_id: Id | None = Field(default=None, description="Id of the order that the survey is about.")
    comment: Text | None = Field(default=None, description="The customer's comment.")

    @model_validator(mode="after")
    def _score_is_on_the_scale(self) -> Self:
        if self.survey == "csat" and not 1 <= self.score <= 5:
            raise PydanticCustomError("bad_field", "a csat score is from 1 to 5")
        return self
