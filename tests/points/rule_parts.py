"""Documents in a word: rules, their conditions and awards."""

from datetime import UTC, datetime
from typing import Any

from services.points.rules.program.checking import parse
from services.points.rules.program.document import Document

NOW = datetime(2026, 6, 1, tzinfo=UTC)
TEN = {"kind": "fixed", "points": 10}
PER_AMOUNT = {"kind": "per_amount", "points": 1, "amount": "1.00"}
EVENTS = ("purchase", "review", "activity", "survey", "registration", "referral", "tier_promotion", "birthday")

Json = dict[str, Any]


def rule(*when: Json, on: str = "purchase", award: Json = TEN, **fields: Any) -> Json:
    return {"on": on, "when": list(when), "award": award} | fields


def grouped(*when: Json, **fields: Any) -> Json:
    return rule(*when, **{"exclusive_group": "best"} | fields)


def document(*rules: Json, **fields: Any) -> Document:
    numbered = [{"id": f"rule-{index}"} | one for index, one in enumerate(rules)]
    return parse({"currency": "USD", "rates": {"EUR": "1.10"}, "rules": numbered} | fields)


def is_in(kind: str, *values: str) -> Json:
    return {"kind": f"{kind}_in", "values": values}


def window(start: str, end: str) -> Json:
    return {"kind": "window", "from": start, "to": end}


def hours(start: str, end: str) -> Json:
    return {"kind": "hours", "from": start, "to": end}


def days(*names: str) -> Json:
    return {"kind": "weekday_in", "days": names}


def amount(least: str) -> Json:
    return {"kind": "amount_at_least", "amount": least}


def nth(n: int) -> Json:
    return {"kind": "every_nth_purchase", "n": n}


def rating(least: int) -> Json:
    return {"kind": "rating_at_least", "rating": least}


def length(least: int) -> Json:
    return {"kind": "text_length_at_least", "length": least}


def activity(name: str) -> Json:
    return {"kind": "activity_is", "activity": name}


def survey(name: str) -> Json:
    return {"kind": "survey_is", "survey": name}


def score(least: int) -> Json:
    return {"kind": "score_at_least", "score": least}


def multiplier(factor: str) -> Json:
    return {"kind": "multiplier", "factor": factor}


FIRST: Json = {"kind": "first_purchase"}
VERIFIED: Json = {"kind": "verified_purchase"}
PHOTO: Json = {"kind": "has_photo"}
