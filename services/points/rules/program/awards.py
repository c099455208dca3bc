"""What a rule gives: points per amount, a fixed number of points, or a multiple of the points per amount."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from services.points.rules.program.values import Points
from shared.programs.values import Part, PositiveAmount

MOST_POINTS_PER_UNIT: Final = 10_000
"""The points that a rule may give for 1.00 in the program's currency."""


class PerAmount(Part):
    """floor(matched amount / `amount`) x `points`."""

    kind: Literal["per_amount"]
    points: Annotated[Points, Field(description="The points for each full `amount`.")]
    amount: PositiveAmount

    def faults(self) -> Iterator[tuple[str, str]]:
        """Errors that no single field shows: the field, and a message."""
        if self.points > MOST_POINTS_PER_UNIT * Decimal(self.amount):
            yield "points", f"at most {MOST_POINTS_PER_UNIT} points per 1.00 in the program's currency"

    def words(self, event: str) -> str:
        """The award as a warning names it."""
        return f"{_points(self.points)} per {self.amount} of {event}"


class Fixed(Part):
    """A fixed number of points, once per order, review, …"""

    kind: Literal["fixed"]
    points: Annotated[Points, Field(description="The points for each event.")]

    def faults(self) -> Iterator[tuple[str, str]]:
        """None: its fields have no contradictions."""
        return iter(())

    def words(self, event: str) -> str:
        """The award as a warning names it."""
        return f"{_points(self.points)} for {event}"


class Multiplier(Part):
    """floor(p x (`factor` - 1)) on top, where p is what the per_amount rules give for the matching lines."""

    kind: Literal["multiplier"]
    factor: Annotated[
        str,
        StringConstraints(pattern=r"^[0-9]{1,4}(?:\.[0-9]{1,4})?$"),
        Field(description="A decimal string of at least 1 with at most 4 decimals.", examples=["2", "1.5"]),
    ]

    def faults(self) -> Iterator[tuple[str, str]]:
        """Errors that no single field shows: the field, and a message."""
        if Decimal(self.factor) < 1:
            yield "factor", "a factor below 1 would take points: it must be at least 1"

    def words(self, event: str) -> str:
        """The award as a warning names it."""
        return f"x {self.factor} on what {event} gives per amount"


Award = Annotated[PerAmount | Fixed | Multiplier, Field(discriminator="kind")]


def _points(count: int) -> str:
    return f"{count} point" if count == 1 else f"{count} points"
