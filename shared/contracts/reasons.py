"""Why a record is refused: the closed list of the event contract."""

from enum import StrEnum


class Reason(StrEnum):
    """A dead letter's reason."""

    NOT_JSON = "not_json"
    NOT_A_CLOUDEVENT = "not_a_cloudevent"
    MISSING_FIELD = "missing_field"
    BAD_FIELD = "bad_field"
    TIME_IN_FUTURE = "time_in_future"
    LINES_DO_NOT_ADD_UP = "lines_do_not_add_up"
    KEY_MISMATCH = "key_mismatch"
    ORDER_CONFLICT = "order_conflict"
    CURRENCY_MISMATCH = "currency_mismatch"
    UNKNOWN_LINE = "unknown_line"
    UNKNOWN_CODE = "unknown_code"
    HANDLER_REFUSED = "handler_refused"


class Malformed(Exception):
    """A record that cannot be read as an event of the contract."""

    def __init__(self, reason: Reason, detail: str, type_: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.type = type_
        """The event type, where it could be read."""
