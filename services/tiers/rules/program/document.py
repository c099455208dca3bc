"""The tier program as marketing writes it: one versioned document.

This model reads every version that was ever published; what is required of new versions only is in checking.py.
"""

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from shared.contracts.values import Currency, Flag, Id, TimeZone
from shared.programs.values import Locale, Part, PositiveAmount, Rate

MOST_DAYS: Final = 36_500
"""The maximum of every number of days: a hundred years."""

MOST_TIERS: Final = 50

Metric = Literal["spend", "orders", "points", "reviews", "referrals", "activities"]
BenefitKind = Literal[
    "free_shipping", "early_access", "event_invitation", "gift", "discount", "priority_support", "other"
]
Per = Literal["year", "period", "ever"]

Days = Annotated[int, Field(strict=True, ge=1, le=MOST_DAYS)]
Count = Annotated[int, Field(strict=True, ge=1, le=10**12)]
Names = Annotated[
    dict[Locale, Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]],
    Field(max_length=100),
]
Multiplier = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}(?:\.[0-9]{1,9})?$")]


class SpendCondition(Part):
    """The money spent, net of refunds, in the program's currency."""

    metric: Literal["spend"]
    at_least: Annotated[
        PositiveAmount,
        Field(description="The least amount, as a decimal string with at most 4 decimals.", examples=["500.00"]),
    ]


class CountCondition(Part):
    """The number of orders of which money is kept, qualifying points, published reviews, or approved referrals."""

    metric: Annotated[Literal["orders", "points", "reviews", "referrals"], Field(description="What is counted.")]
    at_least: Annotated[Count, Field(description="The least number.", examples=[10])]


class ActivityCondition(Part):
    """The number of activities."""

    metric: Literal["activities"]
    activity: Annotated[
        Id | None, Field(description="Only activities of this name count; without it, all of them.")
    ] = None
    at_least: Annotated[Count, Field(description="The least number.", examples=[3])]


AnyCondition = Annotated[SpendCondition | CountCondition | ActivityCondition, Field(discriminator="metric")]
Conditions = tuple[tuple[AnyCondition, ...], ...]
"""Lists of conditions: they hold if every condition of any list does."""


class Uses(Part):
    """How often a benefit can be used."""

    count: Annotated[int, Field(strict=True, ge=1, le=10**6, description="The most uses of a customer.")]
    per: Annotated[
        Per,
        Field(
            description="`year`: a calendar year of the program's time zone; `period`: the window of now; `ever`: all."
        ),
    ]


class BenefitDocument(Part):
    """What the members of a tier have besides more points."""

    id: Annotated[Id, Field(description="Identifies the benefit: its uses are counted by it, whichever tiers list it.")]
    kind: Annotated[BenefitKind, Field(description="The kind of benefit.")]
    name: Annotated[Names, Field(description="The name that people read, by locale.")]
    from_: Annotated[
        str | None,
        Field(
            alias="from",
            description="The first instant: a date (its 00:00), a date-time in the program's time zone, or a date-time "
            "with an offset. Without it, there is no beginning.",
            examples=["2026-03-01"],
        ),
    ] = None
    to: Annotated[
        str | None, Field(description="The instant after the last, likewise.", examples=["2026-04-01T00:00:00+03:00"])
    ] = None
    uses: Annotated[Uses | None, Field(description="How often it can be used; without it, any number of times.")] = None


class TierDocument(Part):
    """A tier."""

    id: Annotated[Id, Field(description="Identifies the tier, also in events.")]
    name: Annotated[Names, Field(description="The name that people read, by locale.")]
    points_multiplier: Annotated[
        Multiplier, Field(description="The factor on base points, at most 9 decimals; of the first tier 1.")
    ] = "1"
    permanent: Annotated[Flag, Field(description="Whether nobody who reached the tier ever falls from it.")] = False
    enter: Annotated[
        Conditions | None,
        Field(description="A customer is promoted when every condition of any list holds. The first tier has none."),
    ] = None
    keep: Annotated[
        Conditions | None,
        Field(
            description="A customer keeps the tier when these or those of `enter` hold; without them, `enter` alone."
        ),
    ] = None
    benefits: Annotated[
        tuple[BenefitDocument, ...],
        Field(description="The benefits of the tier; nothing is inherited from lower tiers."),
    ] = ()


class RollingDays(Part):
    """A window of the days that end with today; a tier is held to the end of as many days after today."""

    kind: Literal["rolling_days"]
    days: Annotated[Days, Field(description="The number of days.", examples=[365])]


class CalendarYear(Part):
    """A window that begins on 1 January; a tier is held to the end of the next year."""

    kind: Literal["calendar_year"]


class Anniversary(Part):
    """Years that begin on the day of the customer's first event; a tier is held to the end of the next one."""

    kind: Literal["anniversary"]


class Lifetime(Part):
    """Everything counts; a tier is held for ever."""

    kind: Literal["lifetime"]


AnyPeriod = Annotated[RollingDays | CalendarYear | Anniversary | Lifetime, Field(discriminator="kind")]


class DowngradeDocument(Part):
    """When a tier that is not kept is lost, and where that leads."""

    to: Annotated[
        Literal["one_step", "earned", "never"],
        Field(description="The next lower tier, the highest lower tier that is kept, or: nobody falls."),
    ]
    when: Annotated[
        Literal["period_end", "at_once"],
        Field(description="When the period ends, or at the instant at which `keep` no longer holds."),
    ] = "period_end"
    grace_days: Annotated[
        int,
        Field(
            strict=True, ge=0, le=MOST_DAYS, description="Days after the period's end in which the tier can be kept."
        ),
    ] = 0
    on_refund: Annotated[
        Literal["keep", "revoke"],
        Field(description="`revoke`: who gives back what a tier stands on loses it at once."),
    ] = "keep"


class ProgramDocument(Part):
    """A tier program."""

    currency: Annotated[Currency, Field(description="The currency of `spend` (ISO 4217).")]
    rates: dict[Currency, Rate] = Field(
        default_factory=dict,
        description="What 1.00 of another currency is worth in the program's. An order in any other currency is no "
        "spend.",
    )
    time_zone: Annotated[TimeZone, Field(description="The IANA time zone of days, years and windows.")]
    period: Annotated[AnyPeriod, Field(description="The window that counts, and how long a tier is held.")]
    tiers: Annotated[
        tuple[TierDocument, ...],
        Field(min_length=1, max_length=MOST_TIERS, description="The tiers, from the lowest up."),
    ]
    downgrade: Annotated[DowngradeDocument, Field(description="How tiers are lost.")]
    at_risk_days: Annotated[
        tuple[Days, ...],
        Field(max_length=20, description="How many days before a tier ends its members are told, if it is not kept."),
    ] = ()
    on_publish: Annotated[
        Literal["promote_only", "full"],
        Field(
            description="`promote_only`: nobody falls by this version before their tier ends. `full`: everybody is "
            "judged when it comes into force."
        ),
    ] = "promote_only"
    moves: dict[Id, Id] = Field(
        default_factory=dict,
        max_length=2 * MOST_TIERS,
        description="By the id of a tier that this version lacks and the one before has, the tier of this version to "
        "which its members go.",
    )
