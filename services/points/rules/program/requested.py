"""What each rule requests for an event, before limits."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from services.points.rules.program.compiled_rule import CompiledRule
from services.points.rules.program.facts import Basket, BasketLine, Facts
from shared.contracts.values import UNITS

EXCLUDED: Final = "exclusive_group"
USED_UP: Final = "limit"
"""Why a rule does not match if its limits leave no use for any of its SKUs; the line of the receipt names the limit."""

_MANY: Final = 10_000
"""Above this many line lookups, the lines that the same rules match are merged first."""

_NOTHING: Final[Mapping[str, Collection[str]]] = {}


class Requests(NamedTuple):
    """What each rule requests, in the order of the rules."""

    whys: tuple[str | None, ...]
    """Why a rule does not match; None for those that do."""
    points: tuple[int, ...]
    base: int
    """The sum over the per_amount rules, which multipliers and the tier's extra go by."""


def request(
    rules: Sequence[CompiledRule], facts: Facts, basket: Basket, without: Mapping[str, Collection[str]] = _NOTHING
) -> Requests:
    """What each rule requests for an event; `without` has, by rule, SKUs that its limits leave no use for.

    Lines of those SKUs do not match the rule.
    """
    whys: list[str | None] = []
    chosen: list[Sequence[int] | None] = []
    groups: set[str] = set()
    for rule in rules:
        why = lines = None
        for kind, holds in rule.tests:
            if not holds(facts, basket):
                why = kind
                break
        else:
            if rule.line_filters:
                lines = range(len(basket.lines))
                for kind, line_filter in rule.line_filters:
                    lines = line_filter(basket.lines, lines)
                    if not lines:
                        why = kind
                        break
            if why is None and rule.id in without:
                lines, why = _with_uses_left(rule, basket.lines, without[rule.id])
            if why is None and rule.group is not None:
                why = EXCLUDED if rule.group in groups else None
                groups.add(rule.group)
        whys.append(why)
        chosen.append(lines)
    return _requests(rules, whys, chosen, basket)


def _with_uses_left(
    rule: CompiledRule, lines: Sequence[BasketLine], without: Collection[str]
) -> tuple[Sequence[int] | None, str | None]:
    """The lines of a rule whose SKUs have uses left (None: the whole order), or why it does not match."""
    matching = rule.matching(lines)
    left = [index for index in matching if lines[index].sku not in without]
    if len(left) == len(matching) and not rule.line_filters:
        return None, None
    return left, None if left else USED_UP


def _requests(
    rules: Sequence[CompiledRule], whys: Sequence[str | None], chosen: Sequence[Sequence[int] | None], basket: Basket
) -> Requests:
    """The points of the rules that match: multipliers go by what the rules per amount request."""
    points = [0] * len(rules)
    base = 0
    multipliers: list[int] = []
    for index, rule in enumerate(rules):
        if whys[index] is not None:
            continue
        if rule.per_amount is not None:
            points[index] = _per_amount(rule.per_amount, basket, chosen[index])
            base += points[index]
        elif rule.fixed is not None:
            points[index] = rule.fixed
        else:
            multipliers.append(index)
    if multipliers:
        by_amount = [index for index, rule in enumerate(rules) if rule.per_amount is not None and whys[index] is None]
        if len(by_amount) * sum(len(chosen[index] or ()) for index in multipliers) > _MANY:
            basket, chosen = _merged(basket, chosen)
        bases = [(rules[index], chosen[index]) for index in by_amount]
        for index in multipliers:
            points[index] = _base_of(bases, basket, chosen[index], base) * (rules[index].factor or 0) // UNITS
    return Requests(tuple(whys), tuple(points), base)


def _merged(basket: Basket, chosen: Sequence[Sequence[int] | None]) -> tuple[Basket, Sequence[Sequence[int] | None]]:
    """The same basket and choices, with all lines that the same rules match merged into one.

    Without it, the work would be lines x multipliers x rules per amount.
    """
    matched_by = [0] * len(basket.lines)
    """Of each line, a bit for each rule."""
    for rule, indexes in enumerate(chosen):
        for index in indexes or ():
            matched_by[index] |= 1 << rule
    amounts: dict[int, int] = {}
    for line, bits in zip(basket.lines, matched_by, strict=True):
        amounts[bits] = amounts.get(bits, 0) + line.amount
    merged = basket._replace(lines=[BasketLine("", None, amount) for amount in amounts.values()])
    return merged, [
        None if indexes is None else [index for index, bits in enumerate(amounts) if bits >> rule & 1]
        for rule, indexes in enumerate(chosen)
    ]


def _per_amount(award: tuple[int, int], basket: Basket, lines: Collection[int] | None) -> int:
    amount = basket.total if lines is None else sum(basket.lines[index].amount for index in lines)
    return amount * UNITS // (award[1] * basket.scale) * award[0]


def _base_of(
    bases: Sequence[tuple[CompiledRule, Sequence[int] | None]], basket: Basket, lines: Sequence[int] | None, base: int
) -> int:
    """What the rules per amount request for a multiplier's lines alone (None: the whole order)."""
    if lines is None:
        return base
    of_multiplier = set(lines)
    points = 0
    for rule, own in bases:
        assert rule.per_amount is not None, "only rules per amount are a base"
        points += _per_amount(rule.per_amount, basket, lines if own is None else of_multiplier.intersection(own))
    return points
