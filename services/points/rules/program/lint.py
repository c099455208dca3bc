"""What is doubtful about earning rules that are valid: marketing sees it before it publishes them.

Only what is certain is told, by the document alone: a rule that matches no event, a limit that changes no award,
a rule whose place another one always takes.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from math import lcm
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from services.points.rules.program import document as written
from services.points.rules.program.document import Condition, Document, Fault, Limit, On, Rule, instant, pointer
from services.points.rules.program.wording import name_of


def lint(document: Document, now: datetime) -> list[Fault]:
    """Doubts about a valid document: rules that can never match, limits that can never bind, rules in another's shadow.

    `now` tells which windows are over. Every doubt names its rule by id and in words.
    """
    zone = ZoneInfo(document.time_zone)
    found: list[Fault] = []
    earlier: list[tuple[Rule, _Reach]] = []
    for index, rule in enumerate(document.rules):
        doubts = list(_never(rule, document, now))
        if not doubts:
            reach = _reach_of(rule, zone)
            doubts += _shadows(rule, reach, earlier)
            earlier.append((rule, reach))
        doubts += _idle_limits(rule)
        doubts += _idle_multiplier(rule, document.rules)
        name = name_of(rule) if doubts else ""
        found += [Fault(pointer("rules", index, *steps), f"{name}: {message}") for steps, message in doubts]
    return found


class _Span(NamedTuple):
    """From a number on, and before another."""

    start: int
    end: int


_Extent = frozenset[str] | frozenset[int] | _Span | int
"""What satisfies a condition: some values, a span of numbers, or the multiples of one."""

_Reach = dict[str, _Extent]
"""What satisfies all conditions of a rule together, by their kind."""

_Doubt = tuple[tuple[str | int, ...], str]
"""The steps from a rule to what is doubtful, and words."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_END: Final = 10**40
_YES: Final = frozenset({"yes"})

_EVERYTHING: Final[_Reach] = {
    "amount_at_least": _Span(0, _NO_END),
    "rating_at_least": _Span(1, _NO_END),
    "score_at_least": _Span(0, _NO_END),
    "every_nth_purchase": 1,
    "weekday_in": frozenset(written.WEEKDAYS),
}
"""What every event satisfies that has such a thing at all; a review may have no length."""

_ONLY_ON: Final[dict[str, tuple[tuple[On, ...], str]]] = {
    "amount_at_least": (("purchase",), "an amount"),
    "category_in": (("purchase",), "a category"),
    "channel_in": (("purchase",), "a channel"),
    "store_in": (("purchase",), "a store"),
    "currency_in": (("purchase",), "a currency"),
    "first_purchase": (("purchase",), "a place among the customer's purchases"),
    "every_nth_purchase": (("purchase",), "a place among the customer's purchases"),
    "sku_in": (("purchase", "review"), "a product"),
    "rating_at_least": (("review",), "a rating"),
    "verified_purchase": (("review",), "a verified purchase behind them"),
    "text_length_at_least": (("review",), "a text"),
    "has_photo": (("review",), "photos"),
    "activity_is": (("activity",), "an activity's name"),
    "survey_is": (("survey",), "a kind of survey"),
    "score_at_least": (("survey",), "a score"),
}
"""The events that have what a condition looks at, and what that is; the other conditions hold on any."""

_NOUNS: Final = {"window": "moment", "hours": "time of the day", "weekday_in": "day", "sku_in": "product"}

_WITHIN: Final = {
    "day": {"day", "week", "month", "year", "ever"},
    "week": {"week", "ever"},
    "month": {"month", "year", "ever"},
    "year": {"year", "ever"},
    "ever": {"ever"},
}
"""The periods that a whole period lies in."""

_SCOPES: Final = ("customer_sku", "customer", "program")


def _never(rule: Rule, document: Document, now: datetime) -> Iterator[_Doubt]:
    """Conditions for which the rule can never match."""
    zone = ZoneInfo(document.time_zone)
    known: _Reach = {
        "currency_in": frozenset({document.currency, *document.rates}),
        "tier_in": frozenset(document.tiers),
    }
    left = dict(known)
    for place, condition in enumerate(rule.when):
        kind, extent = condition.kind, _extent(condition, zone)
        message = (
            _missing(condition, rule.on)
            or _over(condition, extent, now)
            or _unknown(condition, extent, known)
            or _at_odds(condition, rule)
        )
        if message is None:
            narrowed = _meet(left[kind], extent) if kind in left else extent
            if _is_empty(narrowed):
                message = f"no {_NOUNS.get(kind, kind[:-3])} meets every such condition of this rule: it never matches"
            else:
                left[kind] = narrowed
        if message is not None:
            yield ("when", place), message


def _missing(condition: Condition, on: On) -> str | None:
    events, what = _ONLY_ON.get(condition.kind, ((on,), ""))
    asks_nothing = isinstance(condition, written.AmountAtLeast) and not Decimal(condition.amount)
    if on in events or asks_nothing:
        return None
    return f"only {' and '.join(events)} events have {what}: a rule for {on.replace('_', ' ')} events never matches"


def _over(condition: Condition, extent: _Extent, now: datetime) -> str | None:
    if isinstance(condition, written.Window) and isinstance(extent, _Span) and extent.end <= _number(now):
        return f"this window has been over since {condition.to}: the rule matches no longer"
    return None


def _unknown(condition: Condition, extent: _Extent, known: _Reach) -> str | None:
    if condition.kind not in known or not _is_empty(_meet(known[condition.kind], extent)):
        return None
    if condition.kind == "tier_in":
        return "none of these tiers is among the program's: the rule never matches"
    return "none of these currencies is the program's or has a rate: the rule never matches"


def _at_odds(condition: Condition, rule: Rule) -> str | None:
    """Words where a condition and one of another kind exclude each other."""
    is_nth = isinstance(condition, written.EveryNthPurchase) and condition.n > 1
    if is_nth and any(other.kind == "first_purchase" for other in rule.when):
        return "a customer's first purchase is not the nth as well: the rule never matches"
    is_above_csat = isinstance(condition, written.ScoreAtLeast) and condition.score > 5
    if is_above_csat and any(isinstance(other, written.SurveyIs) and other.survey == "csat" for other in rule.when):
        return "a csat score is 5 at most: the rule never matches"
    return None


def _reach_of(rule: Rule, zone: ZoneInfo) -> _Reach:
    reach: _Reach = {}
    for condition in rule.when:
        extent = _extent(condition, zone)
        reach[condition.kind] = _meet(reach[condition.kind], extent) if condition.kind in reach else extent
    return reach


def _extent(condition: Condition, zone: ZoneInfo) -> _Extent:
    extent: _Extent
    match condition:
        case written.IsIn():
            extent = frozenset(condition.values)
        case written.WeekdayIn():
            extent = frozenset(condition.days)
        case written.Hours():
            extent = _minutes(condition.from_, condition.to)
        case written.ActivityIs():
            extent = frozenset({condition.activity})
        case written.SurveyIs():
            extent = frozenset({condition.survey})
        case written.Flag():
            extent = _YES
        case written.Window():
            extent = _Span(_number(instant(condition.from_, zone)), _number(instant(condition.to, zone)))
        case written.EveryNthPurchase():
            extent = condition.n
        case _:
            extent = _Span(_least(condition), _NO_END)
    return extent


def _least(
    condition: written.AmountAtLeast | written.RatingAtLeast | written.TextLengthAtLeast | written.ScoreAtLeast,
) -> int:
    match condition:
        case written.AmountAtLeast():
            return int(Decimal(condition.amount).scaleb(4))
        case written.RatingAtLeast():
            return condition.rating
        case written.TextLengthAtLeast():
            return condition.length
        case written.ScoreAtLeast():
            return condition.score


@lru_cache(maxsize=256)
def _minutes(start: str, end: str) -> frozenset[int]:
    """The minutes of a day that hours span, past midnight where they begin later than they end."""
    first, last = (int(text[:2]) * 60 + int(text[3:]) for text in (start, end))
    return frozenset(range(first, last)) if first < last else frozenset(range(24 * 60)).difference(range(last, first))


def _number(moment: datetime) -> int:
    """An instant as a number. Python compares the clocks, not the instants, of two times in one zone."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _meet(one: _Extent, other: _Extent) -> _Extent:
    """What satisfies both."""
    if isinstance(one, _Span) and isinstance(other, _Span):
        return _Span(max(one.start, other.start), min(one.end, other.end))
    if isinstance(one, frozenset) and isinstance(other, frozenset):
        return one & other
    assert isinstance(one, int), "extents of one kind are alike"
    assert isinstance(other, int), "extents of one kind are alike"
    return lcm(one, other)


def _is_empty(extent: _Extent) -> bool:
    return extent.start >= extent.end if isinstance(extent, _Span) else not extent


def _shadows(rule: Rule, reach: _Reach, earlier: Iterable[tuple[Rule, _Reach]]) -> Iterator[_Doubt]:
    """The first earlier rule that matches whenever this one does, and takes the place of their group."""
    for other, wider in earlier:
        if rule.exclusive_group is None or (other.on, other.exclusive_group) != (rule.on, rule.exclusive_group):
            continue
        if all(_implies(reach.get(kind, _EVERYTHING.get(kind)), extent) for kind, extent in wider.items()):
            yield (), f"{name_of(other)} stands earlier in this exclusive group and matches whenever this one does"
            return


def _implies(narrow: _Extent | None, wide: _Extent) -> bool:
    if isinstance(narrow, frozenset) and isinstance(wide, frozenset):
        return narrow.issubset(wide)
    return narrow is not None and _meet(narrow, wide) == narrow


def _idle_limits(rule: Rule) -> Iterator[_Doubt]:
    each = rule.award.points if isinstance(rule.award, written.Fixed) else None
    for place, limit in enumerate(rule.limits):
        message = _idle_by_itself(limit, each)
        if message is None:
            for before, other in enumerate(rule.limits):
                is_twin = _comes_first(limit, other, each)
                if before != place and _comes_first(other, limit, each) and (before < place or not is_twin):
                    message = f"limit {before + 1} of this rule is always reached first, or together with this one"
                    break
        if message is not None:
            yield ("limits", place), message


def _idle_by_itself(limit: Limit, each: int | None) -> str | None:
    if limit.per != "order":
        return None
    if limit.points is None:
        return "a rule gives its points once per order anyway: this limit changes nothing"
    if each is not None and limit.points >= each:
        return f"the rule gives {each} points at a time and never more: this limit changes nothing"
    return None


def _comes_first(one: Limit, other: Limit, each: int | None) -> bool:
    """Whether one limit leaves nothing to cut for the other; `each` are the points of every award, where fixed."""
    # A limit per order is fresh for each order, whatever its scope.
    is_wider = other.per == "order" or (
        one.per in _WITHIN[other.per] and _SCOPES.index(one.scope) >= _SCOPES.index(other.scope)
    )
    if not is_wider:
        return False
    if other.count is not None:
        return one.count is not None and one.count <= other.count
    most = one.points if one.count is None else each and one.count * each
    return most is not None and most <= (other.points or 0)


def _idle_multiplier(rule: Rule, rules: Iterable[Rule]) -> Iterator[_Doubt]:
    if not isinstance(rule.award, written.Multiplier):
        return
    if Decimal(rule.award.factor) == 1:
        yield ("award", "factor"), "a factor of 1 adds nothing"
    bases = [other.exclusive_group for other in rules if isinstance(other.award, written.PerAmount)]
    if not bases:
        yield ("award",), "there is nothing to multiply: no rule gives points per amount"
    elif rule.exclusive_group is not None and set(bases) == {rule.exclusive_group}:
        yield (
            ("award",),
            "there is nothing to multiply: each rule per amount is in this exclusive group, of which one counts",
        )
