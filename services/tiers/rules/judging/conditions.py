"""Conditions: whether values of metrics hold a tier, and which metric made the difference."""

from collections.abc import Iterable, Sequence

from services.tiers.rules.judging.state import Values
from services.tiers.rules.metrics import Amount, Metric, Sums
from services.tiers.rules.program.compiled import Condition, Program, Tier

Ways = Sequence[Sequence[Condition]]
"""Lists of conditions: one list is enough, with all its conditions."""


def holds(ways: Ways, values: Values) -> bool:
    """Whether all conditions of any list hold."""
    for way in ways:
        for condition in way:
            if values.get(condition.key, 0) < condition.at_least:
                break
        else:
            return True
    return False


def is_kept(tier: Tier, values: Values) -> bool:
    """Whether values keep a tier: by its `keep`, or by its `enter` (answers.md T2); the first tier needs nothing."""
    return tier.rank == 0 or holds(tier.keep, values) or holds(tier.enter, values)


def is_kept_in(tier: Tier, periods: Iterable[Values]) -> bool:
    """Whether the values of any of the periods keep a tier."""
    return any(is_kept(tier, values) for values in periods)


def highest_kept(program: Program, below: int, periods: Sequence[Values]) -> Tier:
    """The highest tier of a rank below `below` that the values of any of the periods keep; at least the first."""
    for tier in reversed(program.tiers[:below]):
        if is_kept_in(tier, periods):
            return tier
    return program.first


def highest_entered(program: Program, above: int, values: Values) -> Tier | None:
    """The highest tier of a rank above `above` whose `enter` holds."""
    for tier in reversed(program.tiers[above + 1 :]):
        if holds(tier.enter, values):
            return tier
    return None


def difference(ways: Iterable[Sequence[Condition]], before: Values, after: Values) -> str | None:
    """The metric that made the difference (answers.md T32).

    That is the metric of the first condition, in the document's order, that did not hold before, of the first list
    that holds now; None where no list holds now, or the first that does held before.
    """
    for way in ways:
        if all(after.get(condition.key, 0) >= condition.at_least for condition in way):
            for condition in way:
                if before.get(condition.key, 0) < condition.at_least:
                    return condition.metric
            return None
    return None


def values_of(program: Program, sums: Sums) -> dict[str, Amount]:
    """The values of metrics of a program from sums of changes."""
    values: dict[str, Amount] = {}
    for (metric, name), amount in sums.items():
        add(program, values, metric, name, amount)
    return values


def add(program: Program, values: dict[str, Amount], metric: Metric, name: str, amount: Amount) -> None:
    """Add an amount of a metric to values; money in a currency without a rate counts nothing."""
    if metric == "spend":
        if name != program.currency:
            rate = program.rates.get(name)
            if rate is None:
                return
            amount = amount * rate
    elif name and name in program.activities:
        key = f"activities/{name}"
        values[key] = values.get(key, 0) + amount
    values[metric] = values.get(metric, 0) + amount


def subtract(program: Program, values: dict[str, Amount], sums: Sums) -> None:
    """Take sums of changes out of values."""
    for (metric, name), amount in sums.items():
        add(program, values, metric, name, -amount)
