"""Conditions of journeys, word for word."""

from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from tests.notifications.oracles.clocks import DAY
from tests.notifications.oracles.happening import PURCHASE, Json
from tests.notifications.oracles.people import Customer, Fact

_ABSENT = object()


def holds(condition: Json, customer: Customer, fact: Fact, at: datetime, since: datetime) -> bool:
    """Whether a condition holds for a customer, at a step that fell due at an instant, in a run that began `since`."""
    match condition["kind"]:
        case "tier_in":
            return customer.tier in condition["values"]
        case "points_at_least":
            return customer.available >= condition["points"]
        case "locale_in":
            locale = (customer.detail("locale") or "").lower()
            return any(locale == each.lower() or locale.startswith(each.lower() + "-") for each in condition["values"])
        case "country_in":
            return (customer.detail("country") or "").upper() in {each.upper() for each in condition["values"]}
        case "field":
            return field_holds(condition, fact.data)
        case _:
            return _happened(condition, customer, fact, at, since)


def _happened(condition: Json, customer: Customer, fact: Fact, at: datetime, since: datetime) -> bool:
    match condition["kind"]:
        case "purchases_at_least":
            bought = [each for each in customer.times(PURCHASE) if at - condition["days"] * DAY < each <= at]
            return len(bought) >= condition["count"]
        case "no_purchase_for":
            return not any(at - condition["days"] * DAY < each for each in customer.times(PURCHASE))
        case _:
            but = fact.key if condition["type"] == fact.type else None
            days = condition.get("within_days")
            times = customer.times(condition["type"], but)
            if days is None:
                return any(each > since for each in times)
            return any(at - days * DAY < each for each in times)


def field_holds(condition: Json, data: Json) -> bool:
    """Whether a field of the event compares as a condition says."""
    found: Any = data
    for part in condition["path"].split("."):
        found = found.get(part, _ABSENT) if isinstance(found, dict) else _ABSENT  # pyright: ignore[reportUnknownMemberType]
    op, value = condition["op"], condition["value"]
    if op == "exists":
        return (found is not _ABSENT) == value
    if found is _ABSENT:
        return op == "ne"
    if op == "in":
        return any(_comparable(found, each) and _number(found) == _number(each) for each in value)
    if op in {"eq", "ne"}:
        same = _comparable(found, value) and _number(found) == _number(value)
        return same == (op == "eq")
    if not _comparable(found, value):
        return False
    left, right = _number(found), _number(value)
    return {"lt": left < right, "lte": left <= right, "gt": left > right, "gte": left >= right}[op]


def _number(value: Any) -> Any:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return value


def _comparable(one: object, other: object) -> bool:
    return isinstance(_number(one), Decimal) == isinstance(_number(other), Decimal)
