"""Which conditions follow from which: what the linter compares tiers by.

Conditions only ask for at least so much. So a list of conditions implies others if they hold at its least point: where
every metric has just the value that the list asks for, and all others have none.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.tiers.rules.program.document import ActivityCondition, AnyCondition, Conditions, SpendCondition
from shared.contracts.values import units

_Values = Mapping[tuple[str, str | None], int]
"""By metric and name of an activity, a number, or an amount in ten-thousandths; a metric without one has 0."""


class Compared(NamedTuple):
    """A list of conditions, what it asks for, and its least point."""

    conditions: Sequence[AnyCondition]
    asked: _Values
    least: _Values

    def implies(self, other: "Compared") -> bool:
        """Whether another list holds whenever this one does."""
        return all(self.least.get(key, 0) >= asked for key, asked in other.asked.items())


def compared(conditions: Conditions | None) -> list[Compared]:
    """Lists of conditions, to be compared."""
    return [_compared(together) for together in conditions or ()]


def first_implied(lists: Sequence[Compared], by: Compared) -> int | None:
    """The number of the first list that holds whenever another does; None if none does."""
    return next((number for number, together in enumerate(lists) if by.implies(together)), None)


def looks_at_spend(conditions: Conditions) -> bool:
    """Whether any condition is on spend."""
    return any(isinstance(condition, SpendCondition) for together in conditions for condition in together)


def _compared(together: Sequence[AnyCondition]) -> Compared:
    asked = {
        (condition.metric, condition.activity if isinstance(condition, ActivityCondition) else None): (
            units(condition.at_least) if isinstance(condition, SpendCondition) else condition.at_least
        )
        for condition in together
    }
    # Activities of some name are activities, and money is spent by orders.
    activities = sum(value for (_, name), value in asked.items() if name is not None)
    least = {
        ("activities", None): max(activities, asked.get(("activities", None), 0)),
        ("orders", None): max(("spend", None) in asked, asked.get(("orders", None), 0)),
    }
    return Compared(together, asked, {**asked, **least})
