"""Why a draft puts a customer into a tier, in words: for the lists of a simulation."""

from collections.abc import Sequence
from fractions import Fraction

from services.tiers.rules.amount import reached_text
from services.tiers.rules.judging.conditions import Ways
from services.tiers.rules.judging.run import Entry
from services.tiers.rules.judging.state import Values
from services.tiers.rules.metrics import Amount
from services.tiers.rules.program.compiled import Condition, Program
from services.tiers.rules.progress import nearest, ways
from shared.contracts.values import UNITS

STAYS = "unchanged"
"""Nothing happens to a customer who stays."""

_OF_A_PERIOD = frozenset({"period_end", "grace_end", "assignment_ended"})
"""Reasons of falls that were judged by the values of a period that ended."""


def why(draft: Program, from_tier: str, entry: Entry | None) -> str:
    """What the draft does to a customer at its instant, and what decided it; `entry` is the change, if there is one.

    Of a customer who stays in `from_tier`: the reason alone, `unchanged` without a change.
    """
    if entry is None:
        return STAYS
    if entry.standing.tier == from_tier:
        return entry.reason
    return f"{entry.reason}: {_detail(draft, from_tier, entry)}"


def _detail(draft: Program, from_tier: str, entry: Entry) -> str:
    tier = draft.tier(entry.standing.tier)
    if way := _first_that_holds(tier.enter, entry.metrics):
        return f"{tier.id} needs {_needs(way)}; has {_values(way, entry.metrics)}"
    if from_tier not in draft:
        return f"there is no {from_tier}: its members move to {draft.moves.get(from_tier, draft.first.id)}"
    if entry.reason in _OF_A_PERIOD:
        return f"{from_tier} was not kept in the period that ended"
    old = draft.tier(from_tier)
    if old.rank <= tier.rank:
        return f"{from_tier} becomes {tier.id}"
    missing = [need.condition for need in nearest(ways((*old.keep, *old.enter), entry.metrics))]
    return f"{from_tier} needs {_needs(missing)}; has {_values(missing, entry.metrics)}"


def _first_that_holds(lists: Ways, values: Values) -> Sequence[Condition]:
    """The first list of conditions that holds; empty if none does."""
    for way in lists:
        if all(values.get(condition.key, 0) >= condition.at_least for condition in way):
            return way
    return ()


def _needs(way: Sequence[Condition]) -> str:
    return ", ".join(f"{condition.key} {_text(condition.key, condition.at_least)}" for condition in way)


def _values(way: Sequence[Condition], values: Values) -> str:
    return ", ".join(_text(condition.key, values.get(condition.key, 0)) for condition in way)


def _text(key: str, amount: Amount) -> str:
    return reached_text(Fraction(amount, UNITS)) if key == "spend" else str(amount)
