"""Short builders of rules, and of their parts, as marketing writes them."""

from typing import Any

Json = dict[str, Any]


def rule(id_: str, award: Json, *when: Json, on: str = "purchase", **fields: Any) -> Json:
    return {"id": id_, "on": on, "when": list(when), "award": award} | fields


def per_amount(amount: str = "1.00", points: int = 1) -> Json:
    return {"kind": "per_amount", "points": points, "amount": amount}


def fixed(points: int = 10) -> Json:
    return {"kind": "fixed", "points": points}


def times(factor: str) -> Json:
    return {"kind": "multiplier", "factor": factor}


def is_in(kind: str, *values: str) -> Json:
    return {"kind": f"{kind}_in", "values": list(values)}


def at_least(amount: str) -> Json:
    return {"kind": "amount_at_least", "amount": amount}


def window(start: str, end: str) -> Json:
    return {"kind": "window", "from": start, "to": end}


def hours(start: str, end: str) -> Json:
    return {"kind": "hours", "from": start, "to": end}


def weekdays(*names: str) -> Json:
    return {"kind": "weekday_in", "days": list(names)}


def limit(per: str = "ever", scope: str = "customer", **most: int) -> Json:
    """A limit; `most` is `count` or `points`."""
    return {"per": per, "scope": scope} | most


def after_days(days: int) -> Json:
    return {"kind": "after_days", "days": days}


def after_months(months: int) -> Json:
    return {"kind": "after_months", "months": months}


def end_of_year(years: int = 0) -> Json:
    return {"kind": "end_of_year", "years": years}


def on_delivery(cancel_after_days: int | None = None) -> Json:
    return {"kind": "on_delivery", "cancel_after_days": cancel_after_days}
