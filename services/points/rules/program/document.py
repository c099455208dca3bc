"""The earning rules as marketing writes them: one versioned document.

This model reads every version that was ever published; what is required of new versions only is in checking.py.
"""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from services.points.rules.program.awards import Award
from services.points.rules.program.conditions.condition import Terms
from services.points.rules.program.conditions.customers import CustomerCondition
from services.points.rules.program.conditions.feedback import FeedbackCondition
from services.points.rules.program.conditions.lines import LineCondition
from services.points.rules.program.conditions.orders import OrderCondition
from services.points.rules.program.conditions.times import TimeCondition
from services.points.rules.program.lifetimes import ActivateNow, Activation, ExpireNever, Expiry
from services.points.rules.program.values import On, Points, RuleId, Weekday
from shared.contracts.values import Currency, Id, Text, TimeZone
from shared.programs.values import Locale, Part, Rate

AnyCondition = Annotated[
    OrderCondition | LineCondition | CustomerCondition | TimeCondition | FeedbackCondition,
    Field(discriminator="kind"),
]
Per = Literal["order", "day", "week", "month", "year", "ever"]
LimitScope = Literal["customer", "customer_sku", "program"]

_MOST_RULES = 200


class Limit(Part):
    """A cap on a rule: either a number of awards (of more than 0 points), or a number of points."""

    count: Annotated[Points | None, Field(description="The most awards.")] = None
    points: Annotated[Points | None, Field(description="The most points.")] = None
    per: Annotated[Per, Field(description="The period, in the program's time zone; `order` is one event.")]
    scope: Annotated[LimitScope, Field(description="What shares the cap.")]


class Rule(Part):
    """What one kind of event earns, and under which conditions."""

    id: Annotated[RuleId, Field(description="Identifies the rule across versions; limits are counted by it.")]
    name: dict[Locale, Text] = Field(default_factory=dict, description="The name that people read, by locale.")
    on: Annotated[On, Field(description="The kind of event.")]
    when: Annotated[
        tuple[AnyCondition, ...], Field(max_length=50, description="The conditions, all of which must hold.")
    ] = ()
    award: Annotated[Award, Field(description="What the rule gives.")]
    exclusive_group: Annotated[
        RuleId | None, Field(description="Of the rules of a group, only the first that matches counts.")
    ] = None
    limits: Annotated[tuple[Limit, ...], Field(max_length=10, description="Caps on the award.")] = ()
    activate: Annotated[Activation, Field(description="When the points become available.")] = ActivateNow(kind="now")
    expire: Annotated[Expiry, Field(description="When the points expire.")] = ExpireNever(kind="never")


class Document(Part):
    """A set of earning rules."""

    currency: Annotated[Currency, Field(description="The program's currency (ISO 4217).")]
    rates: dict[Currency, Rate] = Field(
        default_factory=dict,
        description="What 1.00 of another currency is worth in the program's. An order in any other currency earns 0.",
    )
    time_zone: Annotated[TimeZone, Field(description="The IANA time zone of days, weeks and times of day.")] = "UTC"
    week_start: Annotated[Weekday, Field(description="The first day of a week, for limits.")] = "mon"
    tiers: Annotated[
        tuple[Id, ...], Field(min_length=1, max_length=50, description="The program's tiers, from the lowest up.")
    ] = ("member", "silver", "gold")
    rules: Annotated[tuple[Rule, ...], Field(max_length=_MOST_RULES, description="The rules, in order of precedence.")]

    @property
    def terms(self) -> Terms:
        """The parts that apply to all rules, as conditions use them."""
        return Terms(ZoneInfo(self.time_zone), self.tiers, frozenset({self.currency, *self.rates}))
