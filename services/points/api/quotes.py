"""Quotes: what a cart would earn."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field, ValidationInfo, field_validator

from services.points.handlers import quoting
from shared.contracts.shop import Line, PurchaseCompleted, check_lines
from shared.contracts.values import Currency, Id, Instant, Money, Text
from shared.http.auth import Kind, Principal, require
from shared.http.bodies import BOUNDED, at_most
from shared.http.idempotency import key_of
from shared.http.problems import Problem
from shared.postgres.pool import Pool

MOST_LINES: Final = 1_000
"""A quote is judged within the request; a purchase may have more."""

_MOST_CODES: Final = 100
_SOMEBODY: Final = "/"
"""No customer's id: none has a slash."""


class Cart(BaseModel):
    """What somebody might buy, as a purchase tells it; with lines, their amounts add up to `total`."""

    customer_id: Annotated[Id | None, Field(description="For whom; somebody new unless told.")] = None
    currency: Currency
    total: Money
    lines: Annotated[tuple[Line, ...] | None, Field(max_length=MOST_LINES), at_most(MOST_LINES)] = None
    channel: Text | None = None
    store_id: Text | None = None
    coupon_codes: Annotated[tuple[Text, ...] | None, Field(max_length=_MOST_CODES), at_most(_MOST_CODES)] = None
    at: Annotated[Instant | None, Field(description="When; now unless told.")] = None

    @field_validator("lines")
    @classmethod
    def _lines_are_the_order(cls, lines: tuple[Line, ...] | None, info: ValidationInfo) -> tuple[Line, ...] | None:
        if "total" in info.data:
            check_lines(lines or (), info.data["total"])
        return lines


class Quote(BaseModel):
    """What a cart would earn, and why."""

    points: int
    receipt: dict[str, Any]


def routes(pool: Pool) -> APIRouter:
    """The routes of quotes."""
    router = APIRouter(tags=["points"])

    @router.post("/v1/points/quotes")
    async def quote_cart(
        request: Request,
        cart: Annotated[Cart, BOUNDED],
        principal: Annotated[Principal, Depends(require("customer", "read"))],
    ) -> Quote:
        # As every POST it takes a key; it is answered anew each time, since nothing is done that could be twice.
        key_of(request, required=False)
        customer = cart.customer_id
        if principal.kind is Kind.CUSTOMER:
            customer = customer or principal.id
            if not principal.is_customer(customer):
                raise Problem(404, "not_found", "There is no such customer.")
        bought = PurchaseCompleted.model_construct(
            customer_id=customer or _SOMEBODY,
            order_id="quote",
            currency=cart.currency,
            total=cart.total,
            lines=cart.lines or (),
            channel=cart.channel,
            store_id=cart.store_id,
            coupon_codes=cart.coupon_codes or (),
        )
        points, receipt = await quoting.quote(pool, bought, customer, cart.at or datetime.now(UTC))
        return Quote(points=points, receipt=receipt)

    return router
