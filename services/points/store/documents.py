"""How orders and refunds are kept as JSON: lines as arrays, since a basket has many."""

from itertools import starmap
from typing import Any

import msgspec

from shared.contracts import fields
from shared.contracts.lines import pack_lines
from shared.contracts.refunds import Refund
from shared.contracts.shop import Line, PurchaseCompleted, RefundLine


def order_to_json(order: PurchaseCompleted) -> dict[str, Any]:
    """What is stored of an order as bought (see `fields.NEVER_STORED` for what is not), without empty fields."""
    body = fields.stored(order)
    if order.lines:
        body["lines"] = msgspec.Raw(pack_lines(order.lines))
    else:
        del body["lines"]
    return body


def order_from_json(customer_id: str, order_id: str, body: dict[str, Any]) -> PurchaseCompleted:
    """The order of its stored document."""
    lines = tuple(starmap(Line, body.get("lines", ())))
    return fields.restored(customer_id, order_id, body | {"lines": lines})


def refund_lines_to_json(refund: Refund) -> list[tuple[str, int | str, str]]:
    """The lines of a refund, as they are stored."""
    return [(line.line_id, line.quantity, line.amount) for line in refund.lines]


def refund_from_row(row: Any) -> Refund:  # noqa: ANN401 asyncpg's Record has no types
    """The refund of a row."""
    return Refund(
        refund_id=row["refund_id"],
        time=row["occurred_at"],
        currency=row["currency"],
        amount=row["amount"],
        lines=tuple(RefundLine(*line) for line in row["lines"]),
    )
