"""Tier programs that tests judge by: version 1, one with nearly everything, and small changes of them."""

import json
from typing import Any, Final

from services.tiers.rules.program.checking import check
from services.tiers.rules.program.compiled import Program
from services.tiers.rules.program.document import ProgramDocument

DEFAULT: Final[dict[str, Any]] = {
    "currency": "USD",
    "rates": {},
    "time_zone": "UTC",
    "period": {"kind": "rolling_days", "days": 365},
    "tiers": [
        {
            "id": "member",
            "name": {"en": "Member", "ar": "عضو"},
            "points_multiplier": "1",
            "permanent": False,
            "enter": None,
            "keep": None,
            "benefits": [],
        },
        {
            "id": "silver",
            "name": {"en": "Silver", "ar": "فضي"},
            "points_multiplier": "1.25",
            "permanent": False,
            "enter": [[{"metric": "spend", "at_least": "500"}]],
            "keep": None,
            "benefits": [],
        },
        {
            "id": "gold",
            "name": {"en": "Gold", "ar": "ذهبي"},
            "points_multiplier": "1.5",
            "permanent": False,
            "enter": [[{"metric": "spend", "at_least": "1500"}]],
            "keep": None,
            "benefits": [],
        },
    ],
    "downgrade": {"to": "never", "when": "period_end", "grace_days": 0, "on_refund": "keep"},
    "at_risk_days": [],
    "on_publish": "promote_only",
    "moves": {},
}
"""The document of version 1, as it is stored."""

MINIMAL: Final[dict[str, Any]] = {
    "currency": "USD",
    "time_zone": "UTC",
    "period": {"kind": "rolling_days", "days": 365},
    "tiers": [
        {"id": "member", "name": {"en": "Member"}},
        {"id": "silver", "name": {"en": "Silver"}, "enter": [[{"metric": "spend", "at_least": "500"}]]},
        {"id": "gold", "name": {"en": "Gold"}, "enter": [[{"metric": "spend", "at_least": "1500"}]]},
    ],
    "downgrade": {"to": "one_step"},
}
"""Everything that may be left out is."""

WHOLE: Final[dict[str, Any]] = {
    "currency": "USD",
    "rates": {"SAR": "0.2667"},
    "time_zone": "Asia/Riyadh",
    "period": {"kind": "rolling_days", "days": 365},
    "tiers": [
        {"id": "member", "name": {"en": "Member", "ar": "عضو"}},
        {
            "id": "silver",
            "name": {"en": "Silver", "ar": "فضي"},
            "points_multiplier": "1.25",
            "enter": [
                [{"metric": "spend", "at_least": "500"}],
                [{"metric": "orders", "at_least": 10}, {"metric": "reviews", "at_least": 3}],
            ],
            "keep": [[{"metric": "spend", "at_least": "400"}]],
            "benefits": [{"id": "shipping", "kind": "free_shipping", "name": {"en": "Free shipping"}}],
        },
        {
            "id": "gold",
            "name": {"en": "Gold", "ar": "ذهبي"},
            "points_multiplier": "1.5",
            "enter": [[{"metric": "spend", "at_least": "1500"}]],
            "benefits": [
                {"id": "early", "kind": "early_access", "name": {"en": "Early access"}},
                {
                    "id": "birthday-gift",
                    "kind": "gift",
                    "name": {"en": "Birthday gift"},
                    "uses": {"count": 1, "per": "year"},
                },
            ],
        },
    ],
    "downgrade": {"to": "one_step", "when": "period_end", "grace_days": 30, "on_refund": "revoke"},
    "at_risk_days": [30, 7],
    "on_publish": "promote_only",
    "moves": {},
}
"""The example of the documentation."""


def changed(document: dict[str, Any], *changes: tuple[str, Any]) -> dict[str, Any]:
    """A copy of a document with other values at some JSON pointers."""
    copy: Any = json.loads(json.dumps(document))
    for path, value in changes:
        *steps, last = path.split("/")[1:]
        place: Any = copy
        for step in steps:
            place = place[int(step)] if isinstance(place, list) else place[step]
        if isinstance(place, list):
            place[int(last) : int(last) + 1] = [value]
        else:
            place[last] = value
    return copy


def parse(sent: object) -> ProgramDocument:
    """The valid document of a request."""
    document = ProgramDocument.model_validate(sent)
    check(document)
    return document


def program(document: dict[str, Any] = DEFAULT, *changes: tuple[str, Any], version: int = 1) -> Program:
    """A version of the program: the default one, with changes at some JSON pointers."""
    return Program.of(version, parse(changed(document, *changes)))
