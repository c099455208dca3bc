"""A journey as marketing writes it: one versioned document.

This model reads every version that was ever published; what is required of new versions only is in checking.py.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from services.notifications.rules.message import Channel
from shared.programs.values import Locale, Part

MOST_DAYS: Final = 365
"""The maximum of every number of days."""

Days = Annotated[int, Field(strict=True, ge=1, le=MOST_DAYS)]
Hours = Annotated[int, Field(strict=True, ge=1, le=24 * MOST_DAYS)]
Clock = Annotated[
    str,
    StringConstraints(pattern=r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]$"),
    Field(description="A local time of the customer's time zone, as `HH:MM`.", examples=["10:00"]),
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
EventName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
FieldPath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[^.\x00]+(?:\.[^.\x00]+)*$"),
    Field(description="The field of the event, with dots between its steps.", examples=["reason.kind"]),
]
Scalar = (
    Annotated[bool, Field(strict=True)]
    | Annotated[int, Field(strict=True)]
    | Annotated[float, Field(strict=True, allow_inf_nan=False)]
    | Annotated[str, StringConstraints(strict=True, max_length=1_000, pattern=r"^[^\x00]*$")]
)
Op = Literal["eq", "ne", "lt", "lte", "gt", "gte", "in", "exists"]


class FieldCondition(Part):
    """Compares a field of the event that started the run."""

    kind: Literal["field"] = "field"
    path: FieldPath
    op: Annotated[Op, Field(description="A missing field is true for `ne` and for `exists` false only.")]
    value: Annotated[
        Scalar | tuple[Scalar, ...],
        Field(
            description="What the field is compared with: a list for `in`, true or false for `exists`. Decimal strings "
            "compare as numbers.",
        ),
    ]


class TierIn(Part):
    """The customer is in one of these tiers."""

    kind: Literal["tier_in"]
    values: Annotated[tuple[Name, ...], Field(min_length=1, max_length=50, description="Ids of tiers.")]


class PointsAtLeast(Part):
    """The customer has at least this many available points."""

    kind: Literal["points_at_least"]
    points: Annotated[int, Field(strict=True, ge=0, le=10**15, description="Available points.")]


class LocaleIn(Part):
    """The customer's locale is one of these; a language includes its regions."""

    kind: Literal["locale_in"]
    values: Annotated[tuple[Locale, ...], Field(min_length=1, max_length=100, description="Locales (BCP 47).")]


class CountryIn(Part):
    """The profile's country is one of these."""

    kind: Literal["country_in"]
    values: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2}$")], ...],
        Field(min_length=1, max_length=300, description="Countries (ISO 3166-1 alpha-2)."),
    ]


class PurchasesAtLeast(Part):
    """The customer bought at least so many times in the last days, what started the run included."""

    kind: Literal["purchases_at_least"]
    count: Annotated[int, Field(strict=True, ge=1, le=1_000, description="Number of orders, as bought.")]
    days: Annotated[Days, Field(description="Days of 24 hours up to the step.")]


class NoPurchaseFor(Part):
    """The customer bought nothing in the last days, or never."""

    kind: Literal["no_purchase_for"]
    days: Annotated[Days, Field(description="Days of 24 hours up to the step.")]


class Happened(Part):
    """An event of a type happened: since the run began, or in the last days. What started the run never counts."""

    kind: Literal["happened"]
    type: Annotated[EventName, Field(description="The event type.")]
    within_days: Annotated[
        Days | None, Field(description="Days of 24 hours up to the step; default: since the run began.")
    ] = None


Condition = Annotated[
    TierIn | PointsAtLeast | LocaleIn | CountryIn | PurchasesAtLeast | NoPurchaseFor | FieldCondition | Happened,
    Field(discriminator="kind"),
]


class EventTrigger(Part):
    """An event of a type starts a run."""

    on: Literal["event"]
    type: Annotated[EventName, Field(description="The event type.")]
    where: Annotated[
        tuple[FieldCondition, ...], Field(max_length=20, description="Fields of the event; all have to match.")
    ] = ()


class InactivityTrigger(Part):
    """A stretch without events of a type starts a run."""

    on: Literal["inactivity"]
    of: Annotated[EventName, Field(description="The event type that is missed.")]
    days: Annotated[Days, Field(description="Days of 24 hours since the last such event.")]


class DateTrigger(Part):
    """A date of the customer starts a run: every year, but once for the first purchase."""

    on: Literal["date"]
    field: Annotated[Literal["birth_date", "registered_at", "first_purchase_at"], Field(description="The date.")]
    days: Annotated[
        int, Field(strict=True, ge=-MOST_DAYS, le=MOST_DAYS, description="Days after the date; below 0: before it.")
    ] = 0
    at: Clock = "09:00"


class BeforeTrigger(Part):
    """The end of points or of a tier starts a run, some days before."""

    on: Literal["before"]
    what: Annotated[Literal["points_expiry", "tier_end"], Field(description="What ends.")]
    days: Annotated[Days, Field(description="Days before it; Wafa announces points 30, 7 and 1 days before.")]


Trigger = Annotated[
    EventTrigger | InactivityTrigger | DateTrigger | BeforeTrigger,
    Field(discriminator="on", description="What starts a run."),
]


class Always(Part):
    """Each trigger starts a run; runs of a customer may overlap."""

    kind: Literal["always"] = "always"


class Never(Part):
    """A customer has one run in a lifetime."""

    kind: Literal["never"]


class AfterDays(Part):
    """The next run starts no earlier than some days after the start of the last one."""

    kind: Literal["after_days"]
    days: Annotated[int, Field(strict=True, ge=1, le=3_650, description="Days of 24 hours.")]


Again = Annotated[
    Always | Never | AfterDays, Field(discriminator="kind", description="When a customer can have another run.")
]


class Send(Part):
    """Sends a message."""

    kind: Literal["send"]
    template: Annotated[Reference, Field(description="Id of the template.")]
    channels: Annotated[tuple[Channel, ...], Field(min_length=1, max_length=4, description="Channels, in order.")]
    mode: Annotated[
        Literal["first", "all"], Field(description="`first`: on the first channel that may go; `all`: on each of them.")
    ] = "first"


class Wait(Part):
    """Waits for local days, hours, until a local time, or several of these."""

    kind: Literal["wait"]
    days: Annotated[Days | None, Field(description="Days of the customer's time zone.")] = None
    hours: Annotated[Hours | None, Field(description="Hours, after the days.")] = None
    at: Annotated[Clock | None, Field(description="Then until this local time, on that day or the next.")] = None


class WaitFor(Part):
    """Waits for an event, and goes on one way if it comes in time and another way if not."""

    kind: Literal["wait_for"]
    type: Annotated[EventName, Field(description="The event type.")]
    within_days: Annotated[Days, Field(description="Days of 24 hours.")]
    then: Annotated["tuple[Step, ...]", Field(max_length=50, description="Steps if the event came in time.")] = ()
    else_: Annotated[
        "tuple[Step, ...]", Field(alias="else", max_length=50, description="Steps if it did not come.")
    ] = ()


class Split(Part):
    """Goes on with the steps of the customer's arm of an experiment, then with the steps after it."""

    kind: Literal["split"]
    experiment: Annotated[Reference, Field(description="Id of the experiment.")]
    arms: Annotated[
        "dict[Reference, tuple[Step, ...]]",
        Field(min_length=2, max_length=10, description="Steps by arm; the first is the one compared against."),
    ]


class StopIf(Part):
    """Ends the run if all conditions hold."""

    kind: Literal["stop_if"]
    when: Annotated[tuple[Condition, ...], Field(min_length=1, max_length=20, description="The conditions.")]


class Digest(Part):
    """Collects further triggers of the journey for some hours: they join the run instead of starting others."""

    kind: Literal["digest"]
    hours: Annotated[Hours, Field(description="Hours from the first trigger on.")]


Step = Annotated[Send | Wait | WaitFor | Split | StopIf | Digest, Field(discriminator="kind")]


class JourneyDocument(Part):
    """A journey: what starts it, for whom, and its steps."""

    name: Annotated[dict[Locale, Name], Field(min_length=1, max_length=100, description="Its name, by locale.")]
    enabled: Annotated[bool, Field(strict=True, description="Whether triggers start runs.")] = True
    trigger: Trigger
    when: Annotated[
        tuple[Condition, ...], Field(max_length=20, description="What has to hold when a run would start.")
    ] = ()
    again: Again = Always()
    not_after_hours: Annotated[
        Hours | None,
        Field(description="Hours after which a marketing message that waits is too old; counted from its send step."),
    ] = None
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=50, description="The steps, in order.")]


for _model in (WaitFor, Split, JourneyDocument):
    _model.model_rebuild()


def branches(step: Any) -> "list[tuple[tuple[str, ...], tuple[Step, ...]]]":  # noqa: ANN401 a step of any kind
    """The steps within a step, with the pointer's steps that lead to them and the arm's name where they have one."""
    match step:
        case WaitFor():
            return [(("then",), step.then), (("else",), step.else_)]
        case Split():
            return [(("arms", arm), steps) for arm, steps in step.arms.items()]
        case _:
            return []
