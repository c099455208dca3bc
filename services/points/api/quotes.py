"""Quotes: the points that a cart would earn."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field, ValidationInfo, field_validator

from services.points.handlers import quoting
from shared.contracts.shop import Line, PurchaseCompleted, check_lines
from shared.contracts.values import Currency, Id, Instant, Money, Text
from shared.http.auth import Kind, Principal, require
from shared.http.bodies import BOUNDED, at_most
from shared.http.fields import OMITTED_IF_NONE
from shared.http.idempotency import key_of
from shared.http.problems import Problem
from shared.postgres.pool import Pool

MAX_LINES: Final = 1_000
"""A quote is judged within the request; a purchase may have more lines."""

_MAX_CODES: Final = 100
_NOBODY: Final = "/"
"""No customer's id: none has a slash."""


class Cart(BaseModel):
    """A purchase that a customer might make. If it has lines, their amounts add up to `total`."""

    customer_id: Id | None = Field(default=None, description="The customer's id; default: a new customer.")
    currency: Currency = Field(description="ISO 4217 code of the amounts.")
    total: Money = Field(description="What would be paid, as a decimal string.")
    lines: Annotated[
        tuple[Line, ...] | None, Field(max_length=MAX_LINES, description="Lines of the order."), at_most(MAX_LINES)
    ] = None
    channel: Text | None = Field(default=None, description="Sales channel, as in a purchase.")
    store_id: Text | None = Field(default=None, description="Id of the store, as in a purchase.")
    coupon_codes: Annotated[
        tuple[Text, ...] | None,
        Field(max_length=_MAX_CODES, description="Coupons, as in a purchase."),
        at_most(_MAX_CODES),
    ] = None
    at: Instant | None = Field(default=None, description="When the purchase would be made; default: now.")

    @field_validator("lines")
    @classmethod
    def _lines_add_up(cls, lines: tuple[Line, ...] | None, info: ValidationInfo) -> tuple[Line, ...] | None:
        if "total" in info.data:
            check_lines(lines or (), info.data["total"])
        return lines


class Quote(BaseModel):
    """The points that a cart would earn, and why."""

    points: int = Field(description="Points that the purchase would earn.")
    receipt: dict[str, Any] = Field(
        description="How they come about: the version of the rules, every rule tried, limits, and the tier's extra."
    )
    unlisted_tier: Annotated[str | None, OMITTED_IF_NONE] = Field(
        default=None, description="The customer's tier, if these rules do not list it; absent otherwise."
    )


def routes(pool: Pool) -> APIRouter:
    """The routes of quotes."""
    router = APIRouter(tags=["points"])

    @router.post("/v1/points/quotes", summary="Quote the points of a cart")
    async def quote_cart(
        request: Request,
        cart: Annotated[Cart, BOUNDED],
        principal: Annotated[Principal, Depends(require("customer", "read"))],
    ) -> Quote:
        """Judge a cart as if it were bought at that instant; nothing is written.

        A customer's own token quotes for that customer.
        """
        # Like every POST it takes a key; it is judged anew each time, since nothing is done that could be done twice.
        key_of(request, required=False)
        customer = cart.customer_id
        if principal.kind is Kind.CUSTOMER:
            customer = customer or principal.id
            if not principal.is_customer(customer):
                raise Problem(404, "not_found", "There is no such customer.")
        purchase = PurchaseCompleted.model_construct(
            customer_id=customer or _NOBODY,
            order_id="quote",
            currency=cart.currency,
            total=cart.total,
            lines=cart.lines or (),
            channel=cart.channel,
            store_id=cart.store_id,
            coupon_codes=cart.coupon_codes or (),
        )
        quoted = await quoting.quote(pool, purchase, customer, cart.at or datetime.now(UTC))
        return Quote(points=quoted.points, receipt=quoted.receipt, unlisted_tier=quoted.unlisted_tier)

    return router
