"""Short builders of documents for the linter: rules without ids, and their conditions and awards."""

from datetime import UTC, datetime
from typing import Any

from services.points.rules.program.checking import parse
from services.points.rules.program.document import Document
from services.points.rules.program.values import EVENTS
from tests.points.written import Json, hours, is_in, window
from tests.points.written import at_least as amount
from tests.points.written import times as multiplier
from tests.points.written import weekdays as days

__all__ = ["EVENTS", "Json", "amount", "days", "hours", "is_in", "multiplier", "window"]

NOW = datetime(2026, 6, 1, tzinfo=UTC)
TEN = {"kind": "fixed", "points": 10}
PER_AMOUNT = {"kind": "per_amount", "points": 1, "amount": "1.00"}


def rule(*when: Json, on: str = "purchase", award: Json = TEN, **fields: Any) -> Json:
    return {"on": on, "when": list(when), "award": award} | fields


def grouped(*when: Json, **fields: Any) -> Json:
    return rule(*when, **{"exclusive_group": "best"} | fields)


def document(*rules: Json, **fields: Any) -> Document:
    numbered = [{"id": f"rule-{index}"} | rule for index, rule in enumerate(rules)]
    return parse({"currency": "USD", "rates": {"EUR": "1.10"}, "rules": numbered} | fields)


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


FIRST: Json = {"kind": "first_purchase"}
VERIFIED: Json = {"kind": "verified_purchase"}
PHOTO: Json = {"kind": "has_photo"}
