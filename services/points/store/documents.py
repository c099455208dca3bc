"""How orders and refunds are kept as JSON: lines as arrays, since a basket has many."""

from typing import Any

import msgspec

from shared.contracts.kept import Refund
from shared.contracts.lines import pack_lines
from shared.contracts.shop import Line, PurchaseCompleted, RefundLine


def order_to_json(order: PurchaseCompleted) -> dict[str, Any]:
    """What is kept of an order as bought: everything but its coupon codes, see rules/books/fold.py."""
    body: dict[str, Any] = {"currency": order.currency, "total": order.total}
    if order.lines:
        body["lines"] = msgspec.Raw(pack_lines(order.lines))
    for name in ("channel", "store_id"):
        value: Any = getattr(order, name)
        if value is not None:
            body[name] = value
    return body


def order_from_json(customer_id: str, order_id: str, body: dict[str, Any]) -> PurchaseCompleted:
    """The order again; it was validated when it came."""
    return PurchaseCompleted.model_construct(
        customer_id=customer_id,
        order_id=order_id,
        currency=body["currency"],
        total=body["total"],
        lines=tuple(Line(*line) for line in body.get("lines", ())),
        channel=body.get("channel"),
        store_id=body.get("store_id"),
    )


def refund_lines_to_json(refund: Refund) -> list[tuple[str, int | str, str]]:
    """A refund's lines."""
    return [(one.line_id, one.quantity, one.amount) for one in refund.lines]


def refund_from_row(row: Any) -> Refund:  # noqa: ANN401 asyncpg's Record has no types
    """A refund as it is stored."""
    return Refund(
        refund_id=row["refund_id"],
        time=row["occurred_at"],
        currency=row["currency"],
        amount=row["amount"],
        lines=tuple(RefundLine(*line) for line in row["lines"]),
    )
