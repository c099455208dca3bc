"""The reasons for which records are refused: the closed list of the event contract."""

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """The reason of a dead letter, with its meaning."""

    _value_: str
    meaning: str

    def __new__(cls, code: str, meaning: str) -> Self:
        """A member whose value is the published code."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    NOT_JSON = (
        "not_json",
        "The value is empty, a tombstone, or not JSON in UTF-8 (also: nested deeper than 200 levels).",
    )
    NOT_A_CLOUDEVENT = (
        "not_a_cloudevent",
        "The JSON is not an object, or `specversion` is not `1.0`; or the record cannot be read, or is too large.",
    )
    MISSING_FIELD = "missing_field", "A required attribute or field is missing; the error names it."
    BAD_FIELD = (
        "bad_field",
        "An attribute or field has a value that the contract does not allow, or the type belongs to another topic.",
    )
    TIME_IN_FUTURE = (
        "time_in_future",
        "`time` of a shop's event is more than 24 hours ahead of the record's Kafka timestamp.",
    )
    LINES_DO_NOT_ADD_UP = "lines_do_not_add_up", "The amounts of the lines do not add up to the total."
    KEY_MISMATCH = (
        "key_mismatch",
        "The record's key is not its `customer_id`, so the order of the customer's events would be lost.",
    )
    ORDER_CONFLICT = (
        "order_conflict",
        "The order id is already used by another `source`: two shops number their orders alike (prefix the numbers).",
    )
    CURRENCY_MISMATCH = "currency_mismatch", "The currency of a refund is not the currency of its order."
    UNKNOWN_LINE = "unknown_line", "A refund names a line that its order does not have."
    UNKNOWN_CODE = "unknown_code", "No customer has this referral code."
    HANDLER_REFUSED = (
        "handler_refused",
        "Handling the event failed unexpectedly: a bug, with its trace in the log. Replay it once the bug is fixed.",
    )


class Malformed(Exception):
    """A record that is not an event of the contract."""

    def __init__(self, reason: Reason, detail: str, type_: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.type = type_
        """The event type, if it could be read."""
