"""The earning rules and the reward of a run, as marketing sends them: all rules that a replay can compute exactly.

Birthdays are left out, since they depend on the day of the run.
"""

from typing import Any, Final

LAUNCH: Final = "launch"
LAUNCH_TIMES: Final = 2_000
QUIZ: Final = "quiz"
QUIZ_POINTS: Final = 12_000
"""Total awards and points of these two rules, for the whole program."""

OF_THE_PROGRAM: Final = {LAUNCH: {"count": LAUNCH_TIMES}, QUIZ: {"points": QUIZ_POINTS}}

REWARD: Final[dict[str, Any]] = {
    "id": "mug",
    "name": {"en": "A mug", "ar": "كوب"},
    "points": 30,
    "kind": "gift",
    "stock": 100,
    "limit_per_customer": 2,
}

_ONE_EACH: Final = {"kind": "per_amount", "points": 1, "amount": "1.00"}


def _fixed(id_: str, on: str, points: int, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "on": on, "award": {"kind": "fixed", "points": points}, **fields}


def _is(kind: str, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, **fields}


DOCUMENT: Final[dict[str, Any]] = {
    "currency": "USD",
    "rates": {"EUR": "1.08"},
    "time_zone": "Asia/Riyadh",
    "week_start": "sun",
    "tiers": ["member", "silver", "gold"],
    "rules": [
        {"id": "base", "on": "purchase", "award": _ONE_EACH},
        {
            "id": "home",
            "on": "purchase",
            "when": [_is("category_in", values=["home"])],
            "award": {"kind": "multiplier", "factor": "1.5"},
        },
        _fixed(
            "coffee",
            "purchase",
            15,
            when=[_is("category_in", values=["coffee"])],
            limits=[{"count": 2, "per": "month", "scope": "customer"}],
            expire=_is("after_days", days=40),
        ),
        _fixed(
            "big",
            "purchase",
            25,
            when=[_is("amount_at_least", amount="100.00")],
            activate=_is("after_days", days=14),
            expire=_is("after_months", months=6),
        ),
        _fixed(LAUNCH, "purchase", 5, limits=[{"count": LAUNCH_TIMES, "per": "ever", "scope": "program"}]),
        _fixed("gold", "purchase", 10, when=[_is("tier_in", values=["gold"])], expire=_is("end_of_year", years=1)),
        _fixed(
            "delivered",
            "purchase",
            8,
            when=[_is("channel_in", values=["web"])],
            activate=_is("on_delivery", cancel_after_days=30),
        ),
        _fixed(
            "review",
            "review",
            50,
            when=[_is("verified_purchase")],
            limits=[
                {"count": 1, "per": "ever", "scope": "customer_sku"},
                {"points": 120, "per": "month", "scope": "customer"},
            ],
            activate=_is("after_days", days=3),
            expire=_is("after_days", days=365),
        ),
        _fixed(
            QUIZ,
            "activity",
            10,
            when=[_is("activity_is", activity="quiz")],
            limits=[{"points": QUIZ_POINTS, "per": "ever", "scope": "program"}],
        ),
        _fixed(
            "install",
            "activity",
            30,
            when=[_is("activity_is", activity="app_install")],
            limits=[{"count": 1, "per": "ever", "scope": "customer"}],
        ),
        _fixed("survey", "survey", 7, expire=_is("after_days", days=0)),
        _fixed("hello", "registration", 20),
        _fixed("advocate", "referral", 40),
        _fixed("climbed", "tier_promotion", 100),
    ],
}
