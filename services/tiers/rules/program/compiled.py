"""A version of the tier program in the form that customers are judged by."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal, NamedTuple, Self
from zoneinfo import ZoneInfo

from services.tiers.rules.program.document import (
    ActivityCondition,
    AnyCondition,
    BenefitDocument,
    BenefitKind,
    Conditions,
    Metric,
    Per,
    ProgramDocument,
    RollingDays,
    SpendCondition,
    TierDocument,
)
from shared.contracts.values import units
from shared.programs.values import moment_of

PeriodKind = Literal["rolling_days", "calendar_year", "anniversary", "lifetime"]


class Condition(NamedTuple):
    """The least value of a metric: of spend in ten-thousandths of the program's currency, of the others a number."""

    metric: Metric
    activity: str | None
    at_least: int

    @property
    def key(self) -> str:
        """The key of the value that the condition looks at: the metric, or `activities/NAME`."""
        return self.metric if self.activity is None else f"activities/{self.activity}"


ConditionLists = tuple[tuple[Condition, ...], ...]
"""They hold if every condition of any list does."""


@dataclass(frozen=True, slots=True)
class Uses:
    """The most uses of a benefit in a calendar year, in the window of now (`period`), or ever."""

    count: int
    per: Per


@dataclass(frozen=True, slots=True)
class Benefit:
    """What the members of a tier have, from `starts_at` to before `ends_at`; `uses` is None for any number."""

    id: str
    kind: BenefitKind
    names: Mapping[str, str]
    starts_at: datetime | None
    ends_at: datetime | None
    uses: Uses | None

    def is_valid_at(self, moment: datetime) -> bool:
        """Whether an instant is within the benefit's window."""
        return (self.starts_at is None or self.starts_at <= moment) and (self.ends_at is None or moment < self.ends_at)


@dataclass(frozen=True, slots=True)
class Tier:
    """A tier; the first has rank 0 and no conditions. `points_multiplier` has no trailing zeros: "1", "1.25"."""

    id: str
    rank: int
    names: Mapping[str, str]
    points_multiplier: str
    permanent: bool
    enter: ConditionLists
    keep: ConditionLists
    benefits: tuple[Benefit, ...]


class Period(NamedTuple):
    """The kind of window that counts; `days` is its length, and 0 unless the days roll."""

    kind: PeriodKind
    days: int = 0


class Downgrade(NamedTuple):
    """When a tier that is not kept is lost, and where that leads."""

    to: Literal["one_step", "earned", "never"]
    when: Literal["period_end", "at_once"] = "period_end"
    grace_days: int = 0
    on_refund: Literal["keep", "revoke"] = "keep"


@dataclass(frozen=True, slots=True)
class Program:
    """A published version of the program; `tiers` rise from the lowest, which has no conditions."""

    version: int
    currency: str
    rates: Mapping[str, Fraction]
    """What 1.00 of a currency is worth in the program's, which is 1; other currencies are no spend."""
    zone: ZoneInfo
    period: Period
    tiers: tuple[Tier, ...]
    downgrade: Downgrade
    at_risk_days: tuple[int, ...]
    """Each number once, the greatest first."""
    on_publish: Literal["promote_only", "full"]
    moves: Mapping[str, str]
    activities: frozenset[str]
    """The names of activities that conditions mention."""

    @classmethod
    def of(cls, version: int, document: ProgramDocument) -> Self:
        """The program of a valid document."""
        zone, period, downgrade = ZoneInfo(document.time_zone), document.period, document.downgrade
        tiers = tuple(_tier(rank, tier, zone) for rank, tier in enumerate(document.tiers))
        conditions = [condition for tier in tiers for together in (*tier.enter, *tier.keep) for condition in together]
        return cls(
            version=version,
            currency=document.currency,
            rates={document.currency: Fraction(1)} | {name: Fraction(rate) for name, rate in document.rates.items()},
            zone=zone,
            period=Period(period.kind, period.days if isinstance(period, RollingDays) else 0),
            tiers=tiers,
            downgrade=Downgrade(downgrade.to, downgrade.when, downgrade.grace_days, downgrade.on_refund),
            at_risk_days=tuple(sorted(set(document.at_risk_days), reverse=True)),
            on_publish=document.on_publish,
            moves=dict(document.moves),
            activities=frozenset(condition.activity for condition in conditions if condition.activity is not None),
        )

    @property
    def first(self) -> Tier:
        """The tier of customers who have reached no other."""
        return self.tiers[0]

    @property
    def highest(self) -> Tier:
        """The highest tier."""
        return self.tiers[-1]

    @property
    def has_ends(self) -> bool:
        """Whether tiers end with a period: they have a `valid_until`, unless they are permanent or the first."""
        return self.period.kind != "lifetime" and self.downgrade.when == "period_end" and self.downgrade.to != "never"

    @property
    def falls_at_once(self) -> bool:
        """Whether a tier is lost at the instant at which it is no longer kept."""
        return self.downgrade.when == "at_once" and self.downgrade.to != "never"

    def tier(self, tier_id: str) -> Tier:
        """The tier with an id.

        Raises:
            KeyError: the program has no tier with this id.
        """
        for tier in self.tiers:
            if tier.id == tier_id:
                return tier
        raise KeyError(tier_id)

    def __contains__(self, tier_id: str) -> bool:
        return any(tier.id == tier_id for tier in self.tiers)

    def above(self, tier: Tier) -> Tier | None:
        """The next higher tier; None for the highest."""
        return self.tiers[tier.rank + 1] if tier.rank + 1 < len(self.tiers) else None


def _tier(rank: int, tier: TierDocument, zone: ZoneInfo) -> Tier:
    enter = _lists(tier.enter or ())
    return Tier(
        id=tier.id,
        rank=rank,
        names=dict(tier.name),
        points_multiplier=f"{Decimal(tier.points_multiplier).normalize():f}",
        permanent=tier.permanent,
        enter=enter,
        keep=enter if tier.keep is None else _lists(tier.keep),
        benefits=tuple(_benefit(benefit, zone) for benefit in tier.benefits),
    )


def _lists(conditions: Conditions) -> ConditionLists:
    return tuple(tuple(_condition(condition) for condition in together) for together in conditions)


def _condition(condition: AnyCondition) -> Condition:
    if isinstance(condition, SpendCondition):
        return Condition("spend", None, units(condition.at_least))
    activity = condition.activity if isinstance(condition, ActivityCondition) else None
    return Condition(condition.metric, activity, condition.at_least)


def _benefit(benefit: BenefitDocument, zone: ZoneInfo) -> Benefit:
    return Benefit(
        id=benefit.id,
        kind=benefit.kind,
        names=dict(benefit.name),
        starts_at=None if benefit.from_ is None else moment_of(benefit.from_, zone),
        ends_at=None if benefit.to is None else moment_of(benefit.to, zone),
        uses=benefit.uses and Uses(benefit.uses.count, benefit.uses.per),
    )
