"""Limits of rules: how much of them is used, and what that leaves for an award.

A limit belongs to its rule's id across versions. Use of scope customer is exact under the customer's lock;
of scope program under the lock of its own row.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from services.points.rules.program.dates import period
from services.points.rules.program.document import Limit
from services.points.rules.program.ruleset import Basket, CompiledRule, RuleSet

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
    """What an award comes to; `limit` is the index of the limit that cut it, or None.

    `without` are the skus of which a limit left no use: their lines do not match the rule.
    """

    awarded: int
    limit: int | None
    without: tuple[str, ...] = ()


MOST_PER_ORDER: Final = 10**15
"""The points that an order gives at most, all rules and the tier's extra together."""

MOST_USED: Final = 4 * 10**18
"""Points of uses are counted up to here: no limit is near it, and the database's numbers are larger."""


def read_cuts(stored: Mapping[str, Sequence[Any]]) -> dict[str, Cut]:
    """Cuts by rule, as JSON has them."""
    return {
        rule: Cut(awarded, limit, tuple(without[0]) if without else ())
        for rule, (awarded, limit, *without) in stored.items()
    }


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
    if not rule.counts_skus:
        return set()
    return {basket.lines[place].sku for place in rule.chosen(basket.lines)}


def used_up(
    rule: CompiledRule, skus: Collection[str], found: Collection[list[UseKey]], uses: Mapping[UseKey, Use]
) -> Cut | None:
    """The skus of which some limit leaves nothing, as a cut that leaves their lines out; None where there are none.

    `found` are the keys of all of these skus.
    """
    without: set[str] = set()
    binding: int | None = None
    for index, (limit, keys_) in enumerate(zip(rule.limits, found, strict=True)):
        if limit.scope == "customer_sku" and keys_:
            empty = {
                sku for sku, key in zip(sorted(skus), keys_, strict=True) if _left(limit, [uses.get(key, NONE)]) == 0
            }
            binding = index if empty and binding is None else binding
            without |= empty
    return Cut(0, binding, tuple(sorted(without))) if without else None


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
    return {
        key: Use(use.times + by.times, max(0, min(use.points + by.points, MOST_USED))) for key, use in before.items()
    }


def cut(rule: CompiledRule, requested: int, found: Collection[list[UseKey]], uses: Mapping[UseKey, Use]) -> Cut:
    """What the limits leave of what is requested."""
    result = Cut(min(requested, MOST_PER_ORDER), None)
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
