"""What a kind of condition supplies: its fields, its test, the events it suits, and its lint.

To add a kind, write its class in a module of this package, and name it in the union at the end of that module.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Literal, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import Field

from services.points.rules.program.extents import Extent
from services.points.rules.program.facts import Basket, BasketLine, Facts
from services.points.rules.program.values import EVENTS, On, Values
from shared.programs.values import Part

Test = Callable[[Facts, Basket], bool]
"""Whether a condition holds for an event."""

LineFilter = Callable[[Sequence[BasketLine], Sequence[int]], Sequence[int]]
"""Of the lines with the given indexes, the indexes of those that satisfy a condition."""

LooksAt = Literal["event", "order", "lines", "ordinal", "tier", "time", "local time"]


class Terms(NamedTuple):
    """The parts of a document that apply to all its rules."""

    zone: ZoneInfo
    tiers: Sequence[str]
    """From the lowest up."""
    currencies: frozenset[str]
    """The program's currency, and those that have a rate."""


class LintContext(NamedTuple):
    """What a condition is linted with: its rule, its document, and the time."""

    on: On
    conditions: Sequence["Condition"]
    """All conditions of the rule."""
    terms: Terms
    now: datetime


class Condition(Part):
    """A condition of a rule. What a kind does not override suits a condition that any event can satisfy."""

    events: ClassVar[Sequence[On]] = EVENTS
    """The events that have what the condition looks at; on others it never holds, and `test` is not called."""
    looks_at: ClassVar[LooksAt] = "event"
    """What decides whether it holds; `local time` is the time of day or the weekday in the program's time zone."""
    subject: ClassVar[str] = ""
    """What only `events` have, as a warning names it: `a rating`."""
    noun: ClassVar[str] = ""
    """One value of the extent, as a warning names it: `no channel meets every such condition of this rule`."""
    everything: ClassVar[Extent | None] = None
    """The extent that every event in `events` satisfies, if there is one."""

    @abstractmethod
    def test(self, terms: Terms) -> Test:
        """The compiled form. It runs for every event: whatever can be computed once is computed here."""

    def line_filter(self) -> LineFilter | None:
        """The compiled form, on purchases, of a condition on order lines; None for every other condition.

        A rule matches where one line satisfies all its conditions on lines.
        """
        return None

    @abstractmethod
    def extent(self, terms: Terms) -> Extent:
        """The values that satisfy the condition."""

    @classmethod
    def possible(cls, terms: Terms) -> Extent | None:
        """The values that can occur under a document; None where the document does not restrict them."""
        return None

    def faults(self, terms: Terms) -> Iterator[tuple[str, str]]:
        """Errors that no single field shows, each as the field to blame and a message."""
        return iter(())

    def suits(self, on: On) -> bool:
        """Whether the condition can hold on an event of this kind."""
        return on in self.events

    def doubt(self, context: LintContext) -> str | None:
        """Why the rule never matches with this condition, beyond its events and its extent; None if it may match."""
        return None


class ValueIn(Condition):
    """A condition that looks for a fact of the event in a list of values."""

    fact: ClassVar[str]
    """The field of `Facts`."""

    values: Annotated[Values, Field(description="The values of which one has to match, letter by letter.")]

    def test(self, terms: Terms) -> Test:
        index, values = Facts._fields.index(self.fact), frozenset(self.values)
        return lambda facts, _: facts[index] in values

    def extent(self, terms: Terms) -> Extent:
        return frozenset(self.values)
