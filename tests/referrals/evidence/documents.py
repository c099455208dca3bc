"""Programs with signals on."""

from typing import Any

from services.referrals.rules.program.compiled import Program
from services.referrals.rules.program.document import ProgramDocument
from services.referrals.rules.program.signals import SIGNALS

DOCUMENT: dict[str, Any] = {
    "advocate_points": 500,
    "friend_points": 200,
    "currency": "USD",
    "rates": {"SAR": "0.2667"},
    "qualifies": {"amount_at_least": "20.00", "within_days": 30},
}


def program(*signals: dict[str, Any], **fields: Any) -> Program:
    """A version with these signals."""
    document = ProgramDocument.model_validate(DOCUMENT | {"signals": list(signals)} | fields)
    return Program.of(2, document)


def every_signal(**fields: Any) -> Program:
    """A version with every signal, as it is by default."""
    return program(*({"id": id_, "action": "flag", "weight": 1} for id_ in SIGNALS if id_ != "self"), **fields)
