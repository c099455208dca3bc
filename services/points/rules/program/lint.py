"""Warnings about valid earning rules, which marketing sees before it publishes them.

Only what is certain from the document alone: a rule that matches no event, a rule whose place in its exclusive group
is always taken by an earlier one, a limit or a multiplier that changes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from services.points.rules.program.conditions.condition import Condition, LintContext, Terms
from services.points.rules.program.document import AnyCondition, Document, Rule
from services.points.rules.program.extents import Extent, is_empty, is_within, meet
from services.points.rules.program.idle import Doubt, idle_limits, idle_multiplier
from services.points.rules.program.values import On
from services.points.rules.program.wording import name_of
from shared.programs.faults import Fault, pointer

_Reach = Mapping[str, tuple[AnyCondition, Extent]]
"""By kind, the values that satisfy all conditions of that kind of a rule, and one of these conditions."""


def lint(document: Document, now: datetime) -> list[Fault]:
    """Warnings about a valid document, each of which names its rule by id and in words; `now` ends windows."""
    terms = document.terms
    warnings: list[Fault] = []
    earlier: list[tuple[Rule, _Reach]] = []
    for index, rule in enumerate(document.rules):
        doubts = list(_never(rule, terms, now))
        if not doubts:
            reach = _reach_of(rule, terms)
            doubts += _shadowed(rule, reach, earlier)
            earlier.append((rule, reach))
        doubts += idle_limits(rule)
        doubts += idle_multiplier(rule, document.rules)
        name = name_of(rule) if doubts else ""
        warnings += [Fault(pointer("rules", index, *steps), f"{name}: {message}") for steps, message in doubts]
    return warnings


def _never(rule: Rule, terms: Terms, now: datetime) -> Iterator[Doubt]:
    """Conditions with which the rule can never match."""
    context = LintContext(rule.on, rule.when, terms, now)
    left: dict[str, Extent] = {}
    for place, condition in enumerate(rule.when):
        message = _unsuited(condition, rule.on) or condition.doubt(context)
        if message is None:
            extent = condition.extent(terms)
            possible = left.get(condition.kind, condition.possible(terms))
            narrowed = extent if possible is None else meet(possible, extent)
            if is_empty(narrowed):
                message = f"no {condition.noun} meets every such condition of this rule: it never matches"
            else:
                left[condition.kind] = narrowed
        if message is not None:
            yield ("when", place), message


def _unsuited(condition: Condition, on: On) -> str | None:
    if condition.suits(on):
        return None
    events = " and ".join(condition.events)
    return f"only {events} events have {condition.subject}: a rule for {on.replace('_', ' ')} events never matches"


def _reach_of(rule: Rule, terms: Terms) -> _Reach:
    reach: dict[str, tuple[AnyCondition, Extent]] = {}
    for condition in rule.when:
        extent = condition.extent(terms)
        if condition.kind in reach:
            extent = meet(reach[condition.kind][1], extent)
        reach[condition.kind] = condition, extent
    return reach


def _shadowed(rule: Rule, reach: _Reach, earlier: Iterable[tuple[Rule, _Reach]]) -> Iterator[Doubt]:
    """The first earlier rule of the group that matches whenever this one does."""
    for other, wider in earlier:
        if rule.exclusive_group is None or (other.on, other.exclusive_group) != (rule.on, rule.exclusive_group):
            continue
        if all(_implies(reach, condition, extent) for condition, extent in wider.values()):
            yield (), f"{name_of(other)} stands earlier in this exclusive group and matches whenever this one does"
            return


def _implies(reach: _Reach, condition: AnyCondition, extent: Extent) -> bool:
    """Whether whatever satisfies a rule satisfies a condition with this extent."""
    narrow = reach[condition.kind][1] if condition.kind in reach else condition.everything
    return narrow is not None and is_within(narrow, extent)
