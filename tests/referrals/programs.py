"""Referral programs that tests judge by: version 1, the example of the contract, and small changes of them."""

from typing import Any, Final

from services.referrals.rules.program.checking import check
from services.referrals.rules.program.compiled import Program
from services.referrals.rules.program.document import ProgramDocument
from tests.tiers.programs import changed

DEFAULT: Final[dict[str, Any]] = {
    "advocate_points": 500,
    "friend_points": 200,
    "milestones": [],
    "currency": "USD",
    "rates": {},
    "time_zone": "UTC",
    "link": None,
    "qualifies": {"nth_order": 1, "amount_at_least": "20.00", "within_days": 30},
    "hold_days": 0,
    "caps": [],
    "signals": [
        {"id": "self", "action": "block", "weight": 0, "threshold": None},
        {"id": "already_bought", "action": "block", "weight": 0, "threshold": None},
        {"id": "already_referred", "action": "block", "weight": 0, "threshold": None},
    ],
    "flag_at": 50,
    "block_at": 100,
    "blocklist": {"addresses": [], "domains": [], "cidrs": [], "countries": []},
    "undecided": {"after_days": 14, "then": "approve"},
    "share": {
        "en": "Join me, and we both get points with your first order: {link}",
        "ar": "انضم إليّ، ونحصل كلانا على نقاط مع طلبك الأول: {link}",
    },
}
"""Version 1, with every default spelled out."""

MINIMAL: Final[dict[str, Any]] = {
    "advocate_points": 500,
    "friend_points": 200,
    "currency": "USD",
    "qualifies": {"amount_at_least": "20.00", "within_days": 30},
}
"""Everything that may be left out is."""

WHOLE: Final[dict[str, Any]] = {
    "advocate_points": 500,
    "friend_points": 200,
    "milestones": [{"count": 5, "points": 1000}],
    "currency": "USD",
    "rates": {},
    "time_zone": "UTC",
    "link": "https://shop.example.org/?ref={code}",
    "qualifies": {"nth_order": 1, "amount_at_least": "20.00", "within_days": 30},
    "hold_days": 14,
    "caps": [{"count": 10, "per": "month", "scope": "advocate"}],
    "signals": [{"id": "same_device", "action": "block"}, {"id": "same_ip", "action": "score", "weight": 30}],
    "flag_at": 50,
    "block_at": 100,
    "undecided": {"after_days": 14, "then": "approve"},
    "share": {"en": "Join me at Example: {link}", "ar": "انضم إليّ: {link}"},
}
"""The example of the documentation."""


def parse(sent: object) -> ProgramDocument:
    """The valid document of a request."""
    document = ProgramDocument.model_validate(sent)
    check(document)
    return document


def program(document: dict[str, Any] = DEFAULT, *changes: tuple[str, Any], version: int = 1) -> Program:
    """A version of the program: the default one, with changes at some JSON pointers."""
    return Program.of(version, parse(changed(document, *changes)))
