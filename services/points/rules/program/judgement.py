"""What an event is due: each rule judged on what is known, cut by its limits, and shown line by line.

The first judgement is of the order as bought; it fixes the use of limits. Later ones follow what is kept of it
and the customer's tier, and give no rule (no exclusive group) more than the order as bought.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from services.points.rules.program.limits import MOST_PER_ORDER, Cut, cut, words
from services.points.rules.program.ruleset import ONE, TIER, Basket, BasketLine, CompiledRule, Facts, extra_of
from shared.contracts.kept import UNITS

ENGINE: Final = 3
"""The version of this code's judgements; a receipt names the one that made it."""

TOO_MANY: Final = f"{MOST_PER_ORDER} points per order"

NO_RATE: Final = "no_rate"
REFUNDED: Final = "refunded"
EXCLUDED: Final = "exclusive_group"
NOT_DELIVERED: Final = "not_delivered"
AS_AT_FIRST: Final = "no more than the order gave at first"
NO_USE: Final = "no use of its limits at first"
USED_UP: Final = "limit"
"""Why a rule does not match of whose skus none has a use left; the line names the limit."""

_NOTHING: Final[Mapping[str, Collection[str]]] = {}

LimitCuts = Mapping[str, Cut]
"""What the first judgement found of each rule with limits that was due something."""


class RuleLine(NamedTuple):
    """What became of one rule; `limit` names the cap that cut what was requested."""

    rule: str
    matched: bool
    requested: int
    awarded: int
    why: str | None = None
    limit: str | None = None


class Judgement(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """What is due: points by rule, the tier's extra apart."""

    rules: tuple[RuleLine, ...]
    multiplier: str
    extra: int
    extra_as: str = TIER
    """What the extra is booked under: with the dates of the rule that it goes by."""
    extra_limit: str | None = None
    """The cap that cut the extra."""

    @property
    def due(self) -> Mapping[str, int]:
        """Points above 0 by rule, the tier's extra as a rule of its own."""
        return _due(self)


@lru_cache(maxsize=8192)
def _due(judgement: Judgement) -> Mapping[str, int]:
    """Remembered, since most orders come to the same few hundred judgements."""
    due = {line.rule: line.awarded for line in judgement.rules if line.awarded}
    if judgement.extra:
        due[judgement.extra_as] = judgement.extra
    return due


class Requests(NamedTuple):
    """What each rule asks for, before limits; a rule that does not match tells why."""

    whys: tuple[str | None, ...]
    points: tuple[int, ...]
    base: int
    """What the per_amount rules ask for together: multipliers and the tier go by it."""


def request(
    rules: Sequence[CompiledRule], facts: Facts, basket: Basket, without: Mapping[str, Collection[str]] = _NOTHING
) -> Requests:
    """What each rule asks for on this basket; lines of the skus that are `without` a use of its limits do not match."""
    whys: list[str | None] = []
    lines: list[list[int] | None] = []
    groups: set[str] = set()
    for rule in rules:
        why = chosen = None
        for kind, holds in rule.tests:
            if not holds(facts, basket):
                why = kind
                break
        else:
            if rule.line_values:
                chosen = rule.chosen(basket.lines)
                why = None if chosen else _unmatched(rule, basket.lines)
            if why is None and rule.id in without:
                chosen, why = _left(rule, basket.lines, without[rule.id])
            if why is None and rule.group is not None:
                why = EXCLUDED if rule.group in groups else None
                groups.add(rule.group)
        whys.append(why)
        lines.append(chosen)
    return _ask(rules, whys, lines, basket)


def _unmatched(rule: CompiledRule, lines: Sequence[BasketLine]) -> str:
    """Which of the conditions that name lines leaves none, when they are asked one after the other."""
    left = lines
    for kind, values in rule.line_values[:-1]:
        if kind == "sku_in":
            left = [line for line in left if line.sku in values]
        else:
            left = [line for line in left if line.category in values]
        if not left:
            return kind
    return rule.line_values[-1][0]


def _left(
    rule: CompiledRule, lines: Sequence[BasketLine], without: Collection[str]
) -> tuple[list[int] | None, str | None]:
    """The lines of a rule whose skus have a use left of its limits; where there are none, why it does not match.

    None for the lines where all of the order counts.
    """
    chosen = rule.chosen(lines)
    left = [place for place in chosen if lines[place].sku not in without]
    if len(left) == len(chosen) and not rule.line_values:
        return None, None
    return left, None if left else USED_UP


def _ask(
    rules: Sequence[CompiledRule], whys: Sequence[str | None], lines: Sequence[list[int] | None], basket: Basket
) -> Requests:
    """What the rules that match ask for: by amount, fixed, and on top of what is given by amount."""
    points = [0] * len(rules)
    base = 0
    multipliers: list[int] = []
    for index, rule in enumerate(rules):
        if whys[index] is not None:
            continue
        if rule.per_amount is not None:
            points[index] = _per_amount(rule.per_amount, basket, lines[index])
            base += points[index]
        elif rule.fixed is not None:
            points[index] = rule.fixed
        else:
            multipliers.append(index)
    if multipliers:
        by_amount = [at for at, rule in enumerate(rules) if rule.per_amount is not None and whys[at] is None]
        if len(by_amount) * sum(len(lines[at] or ()) for at in multipliers) > _MANY:
            basket, lines = _merged(basket, lines)
        matching = [(rules[at], lines[at]) for at in by_amount]
        for index in multipliers:
            points[index] = _base_of(matching, basket, lines[index], base) * (rules[index].factor or 0) // UNITS
    return Requests(tuple(whys), tuple(points), base)


_MANY: Final = 10_000
"""Lines that are looked at, above which lines that the same rules name become one first."""


def _merged(basket: Basket, lines: Sequence[list[int] | None]) -> tuple[Basket, Sequence[list[int] | None]]:
    """The same basket and choices, with all lines that the same rules name as one.

    Without it, the work would be lines by multipliers by rules per amount.
    """
    named = [0] * len(basket.lines)
    for at, chosen in enumerate(lines):
        for place in chosen or ():
            named[place] |= 1 << at
    amounts: dict[int, int] = {}
    for line, by in zip(basket.lines, named, strict=True):
        amounts[by] = amounts.get(by, 0) + line.amount
    merged = basket._replace(lines=[BasketLine("", None, amount) for amount in amounts.values()])
    return merged, [
        None if chosen is None else [place for place, by in enumerate(amounts) if by >> at & 1]
        for at, chosen in enumerate(lines)
    ]


def _per_amount(award: tuple[int, int], basket: Basket, lines: Collection[int] | None) -> int:
    amount = basket.total if lines is None else sum(basket.lines[index].amount for index in lines)
    return amount * UNITS // (award[1] * basket.scale) * award[0]


def _base_of(
    matching: Sequence[tuple[CompiledRule, list[int] | None]], basket: Basket, lines: list[int] | None, base: int
) -> int:
    """What the per_amount rules give for a multiplier's lines alone."""
    if lines is None:
        return base
    named = set(lines)
    found = 0
    for rule, own in matching:
        assert rule.per_amount is not None, "only rules per amount are matching"
        found += _per_amount(rule.per_amount, basket, lines if own is None else named.intersection(own))
    return found


def judge_first(rules: Sequence[CompiledRule], asked: Requests, cuts: Mapping[str, Cut], multiplier: str) -> Judgement:
    """The judgement of an order as bought, or of any other event; `cuts` are what limits leave, by rule."""
    lines = _lines(rules, asked.whys, asked.points)
    if cuts:
        for index, rule in enumerate(rules):
            if rule.limits and rule.id in cuts:
                lines[index] = _cut(lines[index], rule, cuts[rule.id])
    return _judgement(rules, lines, multiplier, extra(asked.base, multiplier))


def _judgement(rules: Sequence[CompiledRule], lines: list[RuleLine], multiplier: str, tier: int) -> Judgement:
    """A judgement whose points fit an account: what is beyond the most that an order gives is cut, the last first."""
    total = tier
    for line in lines:
        total += line.awarded
    limit: str | None = None
    if total > MOST_PER_ORDER:
        left = MOST_PER_ORDER
        for index, line in enumerate(lines):
            if line.awarded > left:
                lines[index] = line._replace(awarded=left, limit=TOO_MANY)
            left -= lines[index].awarded
        limit = TOO_MANY if tier > left else None
        tier = min(tier, left)
    return Judgement(tuple(lines), multiplier, tier, _extra_as(rules, lines) if tier else TIER, limit)


def _extra_as(rules: Sequence[CompiledRule], lines: Sequence[RuleLine]) -> str:
    """What the tier's extra is booked under: it goes by the first rule per amount that matched."""
    for rule, line in zip(rules, lines, strict=True):
        if line.matched and rule.per_amount is not None:
            return rule.extra
    return TIER


def _cut(line: RuleLine, rule: CompiledRule, found: Cut) -> RuleLine:
    if line.requested == 0 and line.why != USED_UP:
        return line
    if found.awarded >= line.requested and not found.without:
        return line
    if found.limit is None:
        name = TOO_MANY if found.awarded >= MOST_PER_ORDER else NO_USE
    else:
        name = words(rule.limits[found.limit])
    return line._replace(awarded=min(found.awarded, line.requested), limit=name)


def _lines(rules: Sequence[CompiledRule], whys: Iterable[str | None], points: Iterable[int]) -> list[RuleLine]:
    return list(map(_line, map(_ID, rules), whys, points))


_ID: Final[Callable[[CompiledRule], str]] = attrgetter("id")


@lru_cache(maxsize=65_536)
def _line(id_: str, why: str | None, asked: int) -> RuleLine:
    """Remembered, since a rule comes to the same few hundred lines, most often that it does not match."""
    return RuleLine(id_, why is None, asked, asked, why)


def extra(base: int, multiplier: str) -> int:
    """The tier's extra: floor(base x (multiplier - 1))."""
    if multiplier == ONE:
        return 0
    numerator, denominator = extra_of(multiplier)
    return base * numerator // denominator


def cuts_again(rules: Sequence[CompiledRule], asked: Requests, found: LimitCuts) -> dict[str, Cut]:
    """What limits leave of each rule at a later judgement: their use stays as first found.

    A rule that used none of its limits then has none to use now; limits per order go by the order alone.
    """
    cuts: dict[str, Cut] = {}
    for rule, points, why in zip(rules, asked.points, asked.whys, strict=True):
        if why == USED_UP:
            cuts[rule.id] = found[rule.id]
        elif rule.limits and points:
            if all(limit.per == "order" for limit in rule.limits):
                cuts[rule.id] = cut(rule, points, [[] for _ in rule.limits], {})
            else:
                cuts[rule.id] = found.get(rule.id, Cut(0, None))
    return cuts


class Later(NamedTuple):
    """What a later judgement goes by, beside what is kept.

    `bought` is the judgement of the order as bought, at the same tier and with its limits, `undelivered` are rules
    whose points were given up because no delivery came in time, `engine` is the version that judges.
    """

    bought: Judgement
    found: LimitCuts
    undelivered: Collection[str]
    engine: int = ENGINE


def judge_again(rules: Sequence[CompiledRule], kept: Requests, later: Later) -> Judgement:
    """The judgement on what is kept."""
    bought, found, undelivered, engine = later
    cuts = cuts_again(rules, kept, found)
    most = _most(rules, bought)
    lines: list[RuleLine] = []
    for index, rule in enumerate(rules):
        asked = kept.points[index]
        line = _line(rule.id, kept.whys[index], asked)
        if rule.id in cuts:
            line = _cut(line, rule, cuts[rule.id])
        if rule.id in undelivered:
            line = RuleLine(rule.id, matched=False, requested=asked, awarded=0, why=NOT_DELIVERED)
        elif line.awarded > most[index]:
            line = line._replace(awarded=most[index], limit=AS_AT_FIRST)
        lines.append(line)
    return _judgement(rules, lines, bought.multiplier, _extra_left(rules, bought, kept, undelivered, engine))


def _extra_left(
    rules: Sequence[CompiledRule], bought: Judgement, kept: Requests, undelivered: Collection[str], engine: int
) -> int:
    """The tier's extra on what is kept: what was given up for want of a delivery is no base of it."""
    if engine > 2:
        base = kept.base
        for rule, points in zip(rules, kept.points, strict=True):
            if rule.per_amount is not None and rule.id in undelivered:
                base -= points
        return min(bought.extra, extra(base, bought.multiplier))
    # Before, all of it was given up with the document's first rule per amount, whether or not that had matched.
    by_amount = next((rule.id for rule in rules if rule.per_amount is not None), None)
    return 0 if by_amount in undelivered else min(bought.extra, extra(kept.base, bought.multiplier))


def _most(rules: Sequence[CompiledRule], bought: Judgement) -> list[int]:
    """The most that each rule may give: what it gave at first, or what its exclusive group gave."""
    groups: dict[str, int] = {}
    for rule, line in zip(rules, bought.rules, strict=True):
        if rule.group is not None:
            groups[rule.group] = groups.get(rule.group, 0) + line.awarded
    return [
        line.awarded if rule.group is None else groups[rule.group]
        for rule, line in zip(rules, bought.rules, strict=True)
    ]


def nothing(rules: Sequence[CompiledRule], why: str, multiplier: str) -> Judgement:
    """A judgement in which no rule matches, for one and the same reason."""
    return Judgement(tuple(_lines(rules, repeat(why), repeat(0))), multiplier, 0)
