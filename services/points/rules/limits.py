"""Limits of rules: how much of them is used, and what that leaves for an award.

A limit belongs to its rule's id across versions. Use of scope customer is exact under the customer's lock;
of scope program under the lock of its own row.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import Final, NamedTuple

from services.points.rules.dates import period
from services.points.rules.document import Limit
from services.points.rules.ruleset import Basket, CompiledRule, RuleSet

PROGRAM: Final = ""
"""The owner of what is used by all customers together: no customer has an empty id."""


class UseKey(NamedTuple):
    """Whose use of which rule in which span (scope, period, and the sku where there is one)."""

    owner: str
    rule: str
    span: str


class Use(NamedTuple):
    """How many awards above 0, and of how many points."""

    times: int = 0
    points: int = 0


NONE: Final = Use()


class Cut(NamedTuple):
    """What an award comes to; `limit` is the index of the limit that cut it, or None."""

    awarded: int
    limit: int | None


def keys(rule: CompiledRule, rules: RuleSet, customer: str, day: date, skus: Collection[str]) -> Iterator[list[UseKey]]:
    """For each limit of a rule, in order, the uses that it goes by: none for `order`, one for each sku."""
    for limit in rule.limits:
        if limit.per == "order":
            yield []
            continue
        span = f"{limit.scope}/{period(limit.per, day, rules.week_start)}"
        if limit.scope == "customer_sku":
            yield [UseKey(customer, rule.id, f"{span}/{sku}") for sku in sorted(skus)]
        else:
            yield [UseKey(PROGRAM if limit.scope == "program" else customer, rule.id, span)]


def skus_of(rule: CompiledRule, basket: Basket) -> set[str]:
    """The skus that an order's award counts for: those of the lines that its conditions name, or of all.

    None where no limit goes by them.
    """
    if not any(limit.scope == "customer_sku" for limit in rule.limits):
        return set()
    test = rule.line_test
    return {line.sku for line in basket.lines if test is None or test(line)}


def apply(
    rule: CompiledRule, requested: int, found: Collection[list[UseKey]], uses: Mapping[UseKey, Use]
) -> tuple[Cut, dict[UseKey, Use]]:
    """What the limits leave of what is requested, and the uses as they are after it."""
    result = cut(rule, requested, found, uses)
    if not result.awarded:
        return result, {}
    return result, moved(found, uses, Use(1, result.awarded))


def moved(found: Collection[list[UseKey]], uses: Mapping[UseKey, Use], by: Use) -> dict[UseKey, Use]:
    """Uses after an award was counted, or freed again (`by` below 0)."""
    before = {key: uses.get(key, NONE) for used in found for key in used}
    return {key: Use(use.times + by.times, use.points + by.points) for key, use in before.items()}


def cut(rule: CompiledRule, requested: int, found: Collection[list[UseKey]], uses: Mapping[UseKey, Use]) -> Cut:
    """What the limits leave of what is requested."""
    result = Cut(requested, None)
    for index, (limit, used) in enumerate(zip(rule.limits, found, strict=True)):
        left = _left(limit, [uses.get(key, NONE) for key in used])
        if left is not None and left < result.awarded:
            result = Cut(left, index)
    return result


def _left(limit: Limit, uses: Collection[Use]) -> int | None:
    """The points that a limit leaves; None is no bound."""
    if limit.points is not None:
        return max(0, limit.points - max((use.points for use in uses), default=0))
    return 0 if any(use.times >= (limit.count or 0) for use in uses) else None


def words(limit: Limit) -> str:
    """A limit as a receipt names it: `once per customer and sku`, `500 points per customer and month`."""
    if limit.points is not None:
        most = f"{limit.points} points"
    else:
        most = "once" if limit.count == 1 else f"{limit.count} times"
    if limit.per == "order":
        return f"{most} per order"
    scope = {"customer": " per customer", "customer_sku": " per customer and sku", "program": " in the program"}
    joint = " per" if limit.scope == "program" else " and"
    return f"{most}{scope[limit.scope]}{'' if limit.per == 'ever' else f'{joint} {limit.per}'}"
