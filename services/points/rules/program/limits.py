"""Limits of rules: how much of them is used, and what that leaves for an award.

Uses are counted by the id of the rule, across versions. Use of scope customer is exact under the customer's lock;
use of scope program under the lock of its own row.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from services.points.rules.program.compiled_rule import CompiledRule
from services.points.rules.program.dates import period
from services.points.rules.program.document import Limit
from services.points.rules.program.facts import Basket
from services.points.rules.program.ruleset import RuleSet

PROGRAM: Final = ""
"""The owner of the use that all customers share: no customer has an empty id."""

MOST_PER_ORDER: Final = 10**15
"""The most points that an order gives, all rules and the tier's extra together."""

MOST_USED: Final = 4 * 10**18
"""Points of uses are counted up to here: far beyond any limit, and within the range of the database's numbers."""


class UseKey(NamedTuple):
    """Key of a usage counter: customer or program, rule, and span (scope, period, and SKU if there is one)."""

    owner: str
    rule: str
    span: str


class Use(NamedTuple):
    """A usage counter: the number of awards above 0, and their points."""

    times: int = 0
    points: int = 0


NONE: Final = Use()


class Cut(NamedTuple):
    """What limits leave of an award; `limit` is the index of the limit that cut it, or None.

    `without` are the SKUs for which a limit leaves no use: their lines do not match the rule.
    """

    awarded: int
    limit: int | None
    without: tuple[str, ...] = ()


def read_cuts(stored: Mapping[str, Sequence[Any]]) -> dict[str, Cut]:
    """Cuts by rule, from JSON."""
    return {
        rule: Cut(awarded, limit, tuple(without[0]) if without else ())
        for rule, (awarded, limit, *without) in stored.items()
    }


def keys(rule: CompiledRule, rules: RuleSet, customer: str, day: date, skus: Collection[str]) -> Iterator[list[UseKey]]:
    """By limit of a rule, the keys of its usage counters: none if it is per order, one per SKU if it counts SKUs."""
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
    """The SKUs that an award for an order counts for: those of the lines that match; none if no limit counts SKUs."""
    if not rule.counts_skus:
        return set()
    return {basket.lines[index].sku for index in rule.matching(basket.lines)}


def used_up(
    rule: CompiledRule, skus: Collection[str], keys_by_limit: Collection[list[UseKey]], uses: Mapping[UseKey, Use]
) -> Cut | None:
    """The SKUs for which some limit leaves nothing, as a cut that leaves out their lines; None if there are none.

    `keys_by_limit` are the keys of all these SKUs.
    """
    without: set[str] = set()
    binding: int | None = None
    for index, (limit, keys_) in enumerate(zip(rule.limits, keys_by_limit, strict=True)):
        if limit.scope == "customer_sku" and keys_:
            empty = {
                sku for sku, key in zip(sorted(skus), keys_, strict=True) if _left(limit, [uses.get(key, NONE)]) == 0
            }
            binding = index if empty and binding is None else binding
            without |= empty
    return Cut(0, binding, tuple(sorted(without))) if without else None


def apply(
    rule: CompiledRule, requested: int, keys_by_limit: Collection[list[UseKey]], uses: Mapping[UseKey, Use]
) -> tuple[Cut, dict[UseKey, Use]]:
    """What the limits leave of the requested points, and the uses after the award."""
    result = cut(rule, requested, keys_by_limit, uses)
    if not result.awarded:
        return result, {}
    return result, moved(keys_by_limit, uses, Use(1, result.awarded))


def moved(keys_by_limit: Collection[list[UseKey]], uses: Mapping[UseKey, Use], by: Use) -> dict[UseKey, Use]:
    """The uses after an award was counted, or freed again (`by` below 0)."""
    before = {key: uses.get(key, NONE) for keys_ in keys_by_limit for key in keys_}
    return {
        key: Use(use.times + by.times, max(0, min(use.points + by.points, MOST_USED))) for key, use in before.items()
    }


def cut(rule: CompiledRule, requested: int, keys_by_limit: Collection[list[UseKey]], uses: Mapping[UseKey, Use]) -> Cut:
    """What the limits leave of the requested points."""
    result = Cut(min(requested, MOST_PER_ORDER), None)
    for index, (limit, keys_) in enumerate(zip(rule.limits, keys_by_limit, strict=True)):
        left = _left(limit, [uses.get(key, NONE) for key in keys_])
        if left is not None and left < result.awarded:
            result = Cut(left, index)
    return result


def _left(limit: Limit, uses: Collection[Use]) -> int | None:
    """The points that a limit leaves; None is no bound."""
    if limit.points is not None:
        return max(0, limit.points - max((use.points for use in uses), default=0))
    return 0 if any(use.times >= (limit.count or 0) for use in uses) else None


def words(limit: Limit) -> str:
    """A limit as receipts name it: `once per customer and sku`, `500 points per customer and month`.

    Digests of receipts cover the text: a changed text is a new engine of judgements.
    """
    if limit.points is not None:
        most = f"{limit.points} points"
    else:
        most = "once" if limit.count == 1 else f"{limit.count} times"
    if limit.per == "order":
        return f"{most} per order"
    scope = {"customer": " per customer", "customer_sku": " per customer and sku", "program": " in the program"}
    joint = " per" if limit.scope == "program" else " and"
    return f"{most}{scope[limit.scope]}{'' if limit.per == 'ever' else f'{joint} {limit.per}'}"
