"""The answers about a customer's tier, its history, and benefits."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from services.tiers.handlers.standing import Entitlement, Seen
from services.tiers.rules.amount import missing_value, reached_value
from services.tiers.rules.judging.state import Values
from services.tiers.rules.metrics import Amount
from services.tiers.rules.program.compiled import Benefit, Tier
from services.tiers.rules.program.document import BenefitKind, Metric
from services.tiers.rules.progress import Need as Missing
from services.tiers.rules.progress import Way, nearest
from services.tiers.rules.status import Keeping, Status
from services.tiers.store.timelines import Recorded
from shared.http.fields import OMITTED_IF_NONE
from shared.http.languages import chosen

_MONEY: Final = r"^[0-9]+\.[0-9]{2,4}$"

MetricName = Annotated[Metric, Field(description="The metric, as `metrics` has it.")]
Activity = Annotated[
    str | None,
    OMITTED_IF_NONE,
    Field(description="Of `activities`: only those of this name count; absent where any does."),
]
Value = Annotated[
    int | Annotated[str, Field(pattern=_MONEY)],
    Field(description="Money as a decimal string in the program's currency, everything else as a number."),
]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class Metrics(_View):
    """The metrics that count for tiers, in the window of the period."""

    spend: str = Field(
        pattern=_MONEY,
        examples=["1204.90"],
        description="Money spent, net of refunds, in the program's currency by its rates; rounded down to 4 decimals.",
    )
    orders: int = Field(default=0, description="Orders of which some money is kept, in any currency.")
    points: int = Field(default=0, description="Qualifying points, net of what was taken back.")
    reviews: int = Field(default=0, description="Published reviews that were not withdrawn.")
    referrals: int = Field(default=0, description="Approved referrals that were not voided, as the advocate.")
    activities: int = Field(default=0, description="Activities of all names.")

    @classmethod
    def of(cls, values: Values) -> Self:
        """The view of values by key."""
        counts = {key: _shown(key, values.get(key, 0)) for key in cls.model_fields}
        return cls.model_validate(counts)

    @classmethod
    def of_recorded(cls, recorded: Mapping[str, str]) -> Self:
        """The view of values as the history has them."""
        return cls.model_validate(
            {"spend": "0.00"} | {key: recorded[key] for key in cls.model_fields if key in recorded}
        )


class Condition(_View):
    """A condition: how much of a metric is needed, there and missing."""

    metric: MetricName
    activity: Activity = None
    value: Value = Field(description="What counts; money is rounded down to 4 decimals.")
    needed: Value = Field(description="The least value.")
    missing: Value = Field(description="What is missing: 0 where the condition holds; money is rounded up.")

    @classmethod
    def of(cls, need: Missing) -> Self:
        """The view of a condition."""
        metric, activity, at_least = need.condition
        return cls(
            metric=metric,
            activity=activity,
            value=_shown(metric, need.value),
            needed=_shown(metric, at_least),
            missing=missing_value(metric, need.missing),
        )


class Need(_View):
    """The amount of a metric that is missing."""

    metric: MetricName
    activity: Activity = None
    missing: Value = Field(examples=["295.10"], description="The missing amount; money is rounded up to 4 decimals.")

    @classmethod
    def of(cls, need: Missing) -> Self:
        """The view of a condition that does not hold."""
        metric, activity, _ = need.condition
        return cls(metric=metric, activity=activity, missing=missing_value(metric, need.missing))


Ways = Annotated[
    tuple[tuple[Condition, ...], ...],
    Field(description="Lists of conditions: one list is enough, with all of its conditions."),
]


class Next(_View):
    """The next higher tier."""

    tier: str = Field(examples=["gold"], description="The id of the tier.")
    ways: Ways
    needs: tuple[Need, ...] = Field(
        description="What is missing by the nearest way: the one whose worst condition misses the smallest part."
    )


class ToKeep(_View):
    """What keeps the current tier."""

    by: Annotated[datetime | None, OMITTED_IF_NONE] = Field(
        default=None,
        description="When the tier has to be kept: `valid_until`, in grace `grace_until`; absent where it is lost as "
        "soon as it is not kept.",
    )
    holds: bool = Field(description="Whether one of the ways holds by what counts so far.")
    ways: Ways

    @classmethod
    def of(cls, keeping: Keeping) -> Self:
        """The view of what keeps a tier."""
        return cls(by=keeping.by, holds=keeping.holds, ways=_ways(keeping.ways))


class BenefitView(_View):
    """A benefit that the customer has now."""

    id: str = Field(examples=["birthday-gift"], description="Id of the benefit.")
    kind: BenefitKind = Field(description="The kind of benefit.")
    name: str = Field(description="The name, in a language of `Accept-Language`.")
    from_: Annotated[datetime | None, OMITTED_IF_NONE] = Field(
        default=None, serialization_alias="from", description="Its first instant; absent without a beginning."
    )
    to: Annotated[datetime | None, OMITTED_IF_NONE] = Field(
        default=None, description="The first instant after it; absent without an end."
    )
    left: Annotated[int | None, OMITTED_IF_NONE] = Field(
        default=None, description="How often it can still be used now; absent for any number of times."
    )

    @classmethod
    def of(cls, own: Entitlement, language: str | None) -> Self:
        """The view of a benefit, named in the language of a header `Accept-Language`."""
        benefit = own.benefit
        return cls(
            id=benefit.id,
            kind=benefit.kind,
            name=_name(benefit, language),
            from_=benefit.starts_at,
            to=benefit.ends_at,
            left=own.left,
        )


class TierView(_View):
    """The current tier of a customer."""

    tier: str = Field(examples=["silver"], description="The id of the tier.")
    name: str = Field(examples=["Silver"], description="The name of the tier, in a language of `Accept-Language`.")
    since: datetime | None = Field(
        description="When the customer came into the tier; null for one who has never left the first tier."
    )
    valid_until: Annotated[datetime | None, OMITTED_IF_NONE] = Field(
        default=None,
        description="When the tier has to be kept, or ends; in grace it is past. Absent where it has no end.",
    )
    grace_until: Annotated[datetime | None, OMITTED_IF_NONE] = Field(
        default=None, description="When the grace ends in which the tier can still be kept; absent outside of grace."
    )
    locked_until: Annotated[datetime | None, OMITTED_IF_NONE] = Field(
        default=None, description="Until when nothing but a tier given by hand moves the customer; absent if unlocked."
    )
    points_multiplier: str = Field(examples=["1.25"], description="The factor on base points.")
    benefits: tuple[BenefitView, ...] = Field(description="The benefits that the customer has now.")
    metrics: Metrics = Field(description="What counts for tiers, in the window of now.")
    next: Annotated[Next | None, OMITTED_IF_NONE] = Field(
        default=None, description="The next higher tier; absent in the highest tier."
    )
    to_keep: Annotated[ToKeep | None, OMITTED_IF_NONE] = Field(
        default=None, description="What keeps the tier; absent where nothing has to be kept."
    )
    program_version: int = Field(description="The version of the tier program that is in force.")

    @classmethod
    def of(cls, seen: Seen, language: str | None) -> Self:
        """The view of a customer's tier, with names in the language of a header `Accept-Language`."""
        status, standing = seen.status, seen.status.standing
        return cls(
            tier=status.tier.id,
            name=_name(status.tier, language),
            since=standing.since,
            valid_until=standing.valid_until,
            grace_until=standing.grace_until,
            locked_until=standing.locked_until,
            points_multiplier=status.tier.points_multiplier,
            benefits=tuple(BenefitView.of(own, language) for own in seen.benefits),
            metrics=Metrics.of(status.values),
            next=_next(status),
            to_keep=status.to_keep and ToKeep.of(status.to_keep),
            program_version=status.program.version,
        )


class ChangeView(_View):
    """A change of a customer's tier, or of its past, as it was recorded."""

    kind: Literal["promoted", "demoted", "retained", "corrected"] = Field(
        description="The kind of the published event `loyalty.tier.<kind>.v1`. `retained`: the same tier for another "
        "time or with another multiplier. `corrected`: only the past changed, the current tier did not."
    )
    from_: str = Field(serialization_alias="from", examples=["member"], description="The tier before the change.")
    to: str = Field(examples=["silver"], description="The tier after the change.")
    reason: str = Field(examples=["spend", "refund", "period_end"], description="What caused the change.")
    effective_at: datetime = Field(description="The first instant at which the customer's tier differs.")
    recorded_at: datetime = Field(description="When the change was recorded.")
    valid_until: Annotated[datetime | None, OMITTED_IF_NONE] = Field(
        default=None, description="When the tier had to be kept next; absent where it had no end."
    )
    program_version: int = Field(description="The version of the tier program by which the customer was judged.")
    metrics: Annotated[Metrics | None, OMITTED_IF_NONE] = Field(
        default=None, description="What counted then; absent in changes that an earlier release recorded."
    )
    actor: Annotated[str | None, OMITTED_IF_NONE] = Field(
        default=None, description="Who gave the tier by hand, as `key:ID` or `token:SUB`; not shown to the customer."
    )
    note: Annotated[str | None, OMITTED_IF_NONE] = Field(
        default=None, description="Why the tier was given by hand; not shown to the customer, nor after an erasure."
    )

    @classmethod
    def of(cls, recorded: Recorded, *, with_author: bool) -> Self:
        """The view of a line of the history; only support sees who gave a tier by hand, and why."""
        return cls(
            kind=recorded.kind,
            from_=recorded.from_tier,
            to=recorded.to_tier,
            reason=recorded.reason,
            effective_at=recorded.effective_at,
            recorded_at=recorded.recorded_at,
            valid_until=recorded.valid_until,
            program_version=recorded.program_version,
            metrics=None if recorded.metrics is None else Metrics.of_recorded(recorded.metrics),
            actor=recorded.actor if with_author else None,
            note=recorded.note if with_author else None,
        )


def _name(of: Tier | Benefit, language: str | None) -> str:
    """The name in the language of a header `Accept-Language`; the id of what has no name."""
    return chosen(of.names, language) if of.names else of.id


def _next(status: Status) -> Next | None:
    above, to_next = status.above, status.to_next
    if above is None:
        return None
    return Next(tier=above.id, ways=_ways(to_next), needs=tuple(Need.of(need) for need in nearest(to_next)))


def _ways(ways: Sequence[Way]) -> tuple[tuple[Condition, ...], ...]:
    return tuple(tuple(Condition.of(need) for need in way) for way in ways)


def _shown(metric: str, value: Amount) -> str | int:
    """A value in its unit: money as a decimal string, rounded down, or a number."""
    return reached_value(metric, value) if metric == "spend" else int(value)
