"""The fields of a purchase and of its lines, in the order of the contract: every codec of purchases follows this table.

A new field of a purchase is a field of `PurchaseCompleted`, and of `quick.Purchase` with the check that it needs.
"""

from dataclasses import fields
from typing import Any, Final

from shared.contracts.shop import Line, PurchaseCompleted

PURCHASE: Final = tuple(PurchaseCompleted.model_fields)
LINE: Final = tuple(field.name for field in fields(Line))

IDENTITY: Final = ("customer_id", "order_id")
NEVER_STORED: Final = ("coupon_codes",)
"""No rule reads them, and they may identify a person."""
STORED: Final = tuple(name for name in PURCHASE if name not in {*IDENTITY, *NEVER_STORED})
"""The stored fields of a purchase, besides its identity."""

_NAMES: Final = set(PURCHASE)
_DEFAULTS: Final = {name: PurchaseCompleted.model_fields[name].default for name in (*STORED, *NEVER_STORED)}


def assembled(values: dict[str, Any]) -> PurchaseCompleted:
    """The model with all fields, which the caller has checked and put in order, as pydantic creates it after checks."""
    model = PurchaseCompleted.__new__(PurchaseCompleted)
    put = object.__setattr__
    put(model, "__dict__", values)
    put(model, "__pydantic_fields_set__", _NAMES)
    put(model, "__pydantic_extra__", None)
    put(model, "__pydantic_private__", None)
    return model


def stored(order: PurchaseCompleted) -> dict[str, Any]:
    """The fields to be stored that have a value."""
    present: dict[str, Any] = {}
    values = order.__dict__
    for name in STORED:
        value = values[name]
        if value is not None:
            present[name] = value
    return present


def restored(customer_id: str, order_id: str, values: dict[str, Any]) -> PurchaseCompleted:
    """The purchase with the stored fields, which were checked when the event arrived."""
    return assembled({"customer_id": customer_id, "order_id": order_id} | _DEFAULTS | values)
