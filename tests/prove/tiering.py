"""The tier programs of a run, as marketing sends them: every period, every way to fall, every metric.

Periods are short, so that tiers end in the days after the run, which sweeps reach ahead of time.
"""

from collections.abc import Sequence
from typing import Any, Final

GIFT: Final = "gift"
GIFT_TIMES: Final = 2
"""The benefit that can be used so often in a year; every version lists it, for the second and the third tier."""

SHIPPING: Final = "shipping"
"""A benefit that can be used any number of times."""

_SHIPPING: Final = {"id": SHIPPING, "kind": "free_shipping", "name": {"en": "Free shipping"}}
_GIFT: Final = {
    "id": GIFT,
    "kind": "gift",
    "name": {"en": "A gift", "ar": "هدية"},
    "uses": {"count": GIFT_TIMES, "per": "year"},
}

Document = dict[str, Any]
_Ways = list[list[dict[str, Any]]]


def _at_least(metric: str, least: str | int, **fields: Any) -> dict[str, Any]:
    return {"metric": metric, "at_least": least, **fields}


def _spend(amount: str) -> _Ways:
    return [[_at_least("spend", amount)]]


def _tier(id_: str, multiplier: str, enter: _Ways, **fields: Any) -> dict[str, Any]:
    tier = {"id": id_, "name": {"en": id_.title()}, "points_multiplier": multiplier, "enter": enter}
    return tier | {"benefits": [_SHIPPING, _GIFT]} | fields


def _program(
    period: dict[str, Any], downgrade: dict[str, Any], *tiers: dict[str, Any], **fields: Any
) -> dict[str, Any]:
    document = {"currency": "USD", "rates": {"EUR": "1.08"}, "time_zone": "Asia/Riyadh"}
    first = {"id": "member", "name": {"en": "Member"}, "benefits": [_SHIPPING]}
    # So that any version can follow any other.
    document |= {"moves": {"plus": "silver"} if any(tier["id"] == "silver" for tier in tiers) else {"silver": "plus"}}
    return document | {"period": period, "tiers": [first, *tiers], "downgrade": downgrade} | fields


def _days(count: int) -> dict[str, Any]:
    return {"kind": "rolling_days", "days": count}


FIRST: Final[dict[str, Any]] = {
    "currency": "USD",
    "time_zone": "UTC",
    "period": _days(365),
    "tiers": [
        {"id": "member", "name": {"en": "Member"}},
        {"id": "silver", "name": {"en": "Silver"}, "points_multiplier": "1.25", "enter": _spend("500")},
        {"id": "gold", "name": {"en": "Gold"}, "points_multiplier": "1.5", "enter": _spend("1500")},
    ],
    "downgrade": {"to": "never"},
}
"""Version 1, which ships with the product (answers.md T1); the check of the versions compares it."""

_ORDERS_AND_REVIEWS: Final = [_at_least("orders", 4), _at_least("reviews", 1)]

STEPWISE: Final = _program(
    _days(5),
    {"to": "one_step", "grace_days": 2, "on_refund": "revoke"},
    _tier("silver", "1.2", [*_spend("150"), _ORDERS_AND_REVIEWS], keep=_spend("60")),
    _tier("gold", "1.5", _spend("450"), keep=_spend("200")),
    at_risk_days=[3, 1],
)
EARNED: Final = _program(
    _days(8),
    {"to": "earned"},
    _tier("silver", "1.25", [[_at_least("points", 150)]], keep=[[_at_least("activities", 1)]]),
    _tier("gold", "1.5", [*_spend("400"), [_at_least("activities", 3, activity="quiz")]]),
    at_risk_days=[2],
    on_publish="full",
    time_zone="America/New_York",
)
AT_ONCE: Final = _program(
    _days(4),
    {"to": "earned", "when": "at_once"},
    _tier("plus", "1.3", _spend("120")),
    _tier("gold", "1.6", [[_at_least("orders", 8)], [_at_least("reviews", 4)]], keep=[[_at_least("orders", 3)]]),
    on_publish="full",
)
YEARLY: Final = _program(
    {"kind": "calendar_year"},
    {"to": "one_step", "grace_days": 10, "on_refund": "revoke"},
    _tier("silver", "1.2", _spend("200"), permanent=True),
    _tier("gold", "1.5", _spend("600")),
    at_risk_days=[30, 7],
    time_zone="UTC",
)
NEVER: Final = _program(
    _days(30),
    {"to": "never", "on_refund": "revoke"},
    _tier("silver", "1.25", [*_spend("100"), [_at_least("referrals", 1)]]),
    _tier("gold", "1.5", _spend("350")),
)
ANNIVERSARY: Final = _program(
    {"kind": "anniversary"},
    {"to": "earned", "grace_days": 5},
    _tier("silver", "1.2", [_ORDERS_AND_REVIEWS, [_at_least("points", 200)]]),
    _tier("gold", "1.4", _spend("500")),
    on_publish="full",
)
FOR_LIFE: Final = _program(
    {"kind": "lifetime"},
    {"to": "earned", "when": "at_once", "on_refund": "revoke"},
    _tier("silver", "1.1", [[_at_least("orders", 3)]]),
    _tier("gold", "1.5", [*_spend("700"), [_at_least("referrals", 2)]]),
    on_publish="full",
)

DOCUMENTS: Final[Sequence[dict[str, Any]]] = (EARNED, AT_ONCE, YEARLY, NEVER, ANNIVERSARY, FOR_LIFE)
"""The versions that are published one after another during a run, between a first and a last one that is STEPWISE."""
