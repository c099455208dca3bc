"""What an event is due: each rule's request, cut by its limits.

The first judgement is of the order as bought; it fixes the use of limits. Later ones follow what is kept of the order
and the customer's tier, and give no rule (no exclusive group) more than the order as bought.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import repeat
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from services.points.rules.program.compiled_rule import TIER, CompiledRule
from services.points.rules.program.limits import MOST_PER_ORDER, Cut, cut, words
from services.points.rules.program.requested import USED_UP, Requests

ENGINE: Final = 3
"""The version of this module's judgements; a receipt names the one that made it."""

ONE: Final = "1"
"""The multiplier of a tier that gives nothing extra."""

# The texts below are stored in receipts, whose digests cover them: a changed one is a new engine.
TOO_MANY: Final = f"{MOST_PER_ORDER} points per order"
NO_RATE: Final = "no_rate"
REFUNDED: Final = "refunded"
NOT_DELIVERED: Final = "not_delivered"
AS_AT_FIRST: Final = "no more than the order gave at first"
NO_USE: Final = "no use of its limits at first"

LimitCuts = Mapping[str, Cut]
"""By rule: what limits left of it at the first judgement. Rules without limits, or that requested nothing, are absent.
"""


class RuleLine(NamedTuple):
    """The result of one rule; `limit` names the cap that cut what was requested."""

    rule: str
    matched: bool
    requested: int
    awarded: int
    why: str | None = None
    """Why the rule does not match."""
    limit: str | None = None


class Judgement(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """What is due: points by rule, and the tier's extra."""

    rules: tuple[RuleLine, ...]
    multiplier: str
    extra: int
    extra_as: str = TIER
    """The name under which the extra is booked: it activates and expires by the rule of that name."""
    extra_limit: str | None = None
    """The cap that cut the extra."""

    @property
    def due(self) -> Mapping[str, int]:
        """Points above 0 by rule, the tier's extra as a rule of its own."""
        return _due(self)


@lru_cache(maxsize=8192)
def _due(judgement: Judgement) -> Mapping[str, int]:
    """Cached, since most orders come to the same few hundred judgements."""
    due = {line.rule: line.awarded for line in judgement.rules if line.awarded}
    if judgement.extra:
        due[judgement.extra_as] = judgement.extra
    return due


def judge_first(rules: Sequence[CompiledRule], requests: Requests, cuts: LimitCuts, multiplier: str) -> Judgement:
    """The judgement of an order as bought, or of any other event; `cuts` are what limits leave."""
    lines = _lines(rules, requests.whys, requests.points)
    if cuts:
        for index, rule in enumerate(rules):
            if rule.limits and rule.id in cuts:
                lines[index] = _cut(lines[index], rule, cuts[rule.id])
    return _judgement(rules, lines, multiplier, extra(requests.base, multiplier))


def nothing(rules: Sequence[CompiledRule], why: str, multiplier: str) -> Judgement:
    """A judgement in which no rule matches, all for the same reason."""
    return Judgement(tuple(_lines(rules, repeat(why), repeat(0))), multiplier, 0)


class Later(NamedTuple):
    """What a later judgement goes by, besides what is kept of the order."""

    bought: Judgement
    """The judgement of the order as bought, at the same tier and with its limits."""
    cuts: LimitCuts
    undelivered: Collection[str]
    """The rules whose points were given up because no delivery came in time."""
    engine: int = ENGINE
    """The version that judges."""


def judge_again(rules: Sequence[CompiledRule], kept: Requests, later: Later) -> Judgement:
    """The judgement of what is kept of an order."""
    bought, first_cuts, undelivered, engine = later
    cuts = cuts_again(rules, kept, first_cuts)
    most = _most(rules, bought)
    lines: list[RuleLine] = []
    for index, rule in enumerate(rules):
        requested = kept.points[index]
        line = _line(rule.id, kept.whys[index], requested)
        if rule.id in cuts:
            line = _cut(line, rule, cuts[rule.id])
        if rule.id in undelivered:
            line = RuleLine(rule.id, matched=False, requested=requested, awarded=0, why=NOT_DELIVERED)
        elif line.awarded > most[index]:
            line = line._replace(awarded=most[index], limit=AS_AT_FIRST)
        lines.append(line)
    return _judgement(rules, lines, bought.multiplier, _extra_left(rules, bought, kept, undelivered, engine))


def cuts_again(rules: Sequence[CompiledRule], requests: Requests, first_cuts: LimitCuts) -> dict[str, Cut]:
    """What limits leave of each rule at a later judgement: their use stays as at the first one.

    So a rule that used none of its limits then has none to use now. Limits per order depend on the order alone.
    """
    cuts: dict[str, Cut] = {}
    for rule, points, why in zip(rules, requests.points, requests.whys, strict=True):
        if why == USED_UP:
            cuts[rule.id] = first_cuts[rule.id]
        elif rule.limits and points:
            if all(limit.per == "order" for limit in rule.limits):
                cuts[rule.id] = cut(rule, points, [[] for _ in rule.limits], {})
            else:
                cuts[rule.id] = first_cuts.get(rule.id, Cut(0, None))
    return cuts


def extra(base: int, multiplier: str) -> int:
    """The tier's extra: floor(base x (multiplier - 1))."""
    if multiplier == ONE:
        return 0
    numerator, denominator = _less_one(multiplier)
    return base * numerator // denominator


@lru_cache(maxsize=1024)
def _less_one(multiplier: str) -> tuple[int, int]:
    """(multiplier - 1) as a numerator and a denominator; never below 0."""
    numerator, denominator = Decimal(multiplier).as_integer_ratio()
    return max(0, numerator - denominator), denominator


def _judgement(rules: Sequence[CompiledRule], lines: list[RuleLine], multiplier: str, tier: int) -> Judgement:
    """A judgement of at most `MOST_PER_ORDER` points: what exceeds it is cut from the last rules."""
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
    """The name under which the tier's extra is booked: that of the first rule per amount that matches."""
    for rule, line in zip(rules, lines, strict=True):
        if line.matched and rule.per_amount is not None:
            return rule.extra
    return TIER


def _cut(line: RuleLine, rule: CompiledRule, by: Cut) -> RuleLine:
    if line.requested == 0 and line.why != USED_UP:
        return line
    if by.awarded >= line.requested and not by.without:
        return line
    return line._replace(awarded=min(by.awarded, line.requested), limit=_limit_of(by, rule))


def _limit_of(by: Cut, rule: CompiledRule) -> str:
    if by.limit is not None:
        return words(rule.limits[by.limit])
    return TOO_MANY if by.awarded >= MOST_PER_ORDER else NO_USE


def _lines(rules: Sequence[CompiledRule], whys: Iterable[str | None], points: Iterable[int]) -> list[RuleLine]:
    return list(map(_line, map(_ID, rules), whys, points))


_ID: Final[Callable[[CompiledRule], str]] = attrgetter("id")


@lru_cache(maxsize=65_536)
def _line(id_: str, why: str | None, requested: int) -> RuleLine:
    """Cached, since a rule comes to the same few hundred lines; most often it does not match."""
    return RuleLine(id_, why is None, requested, requested, why)


def _extra_left(
    rules: Sequence[CompiledRule], bought: Judgement, kept: Requests, undelivered: Collection[str], engine: int
) -> int:
    """The tier's extra on what is kept: points given up because no delivery came are not part of its base."""
    if engine > 2:
        base = kept.base
        for rule, points in zip(rules, kept.points, strict=True):
            if rule.per_amount is not None and rule.id in undelivered:
                base -= points
        return min(bought.extra, extra(base, bought.multiplier))
    # Engine 2 gave up all of it with the document's first rule per amount, whether or not that rule had matched.
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
