"""The tier program: its tiers and what each of them needs."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.contracts.values import Currency, Id, Money

Multiplier = Annotated[str, StringConstraints(pattern=r"^(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{0,8}[1-9])?$")]
"""A decimal string in canonical form, without trailing zeros: "1", "1.25", "1.5"."""


class NeedDocument(BaseModel):
    """The least value of a metric, in the metric's unit (of `spend`: the program's currency)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: Literal["spend"]
    at_least: Money


class TierDocument(BaseModel):
    """A tier; the points of its members are multiplied by `points_multiplier`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Id
    points_multiplier: Multiplier
    needs: tuple[NeedDocument, ...]


class ProgramDocument(BaseModel):
    """The content of a version: the tiers, the lowest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    currency: Currency
    tiers: Annotated[tuple[TierDocument, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Tier:
    """A tier; a customer reaches it with at least `spend` within the window."""

    id: str
    rank: int
    points_multiplier: str
    spend: Fraction


@dataclass(frozen=True, slots=True)
class Program:
    """A published version of the program; `tiers` rise from the lowest, which needs nothing."""

    version: int
    currency: str
    tiers: tuple[Tier, ...]

    @classmethod
    def of(cls, version: int, document: ProgramDocument) -> Self:
        """The program of a document."""
        return cls(
            version,
            document.currency,
            tuple(
                Tier(
                    tier.id,
                    rank,
                    tier.points_multiplier,
                    max((Fraction(need.at_least) for need in tier.needs), default=Fraction(0)),
                )
                for rank, tier in enumerate(document.tiers)
            ),
        )

    @property
    def first(self) -> Tier:
        """The tier of customers who have reached no other."""
        return self.tiers[0]

    @property
    def highest(self) -> Tier:
        """The highest tier."""
        return self.tiers[-1]

    def tier(self, tier_id: str) -> Tier:
        """The tier with an id.

        Raises:
            KeyError: the program has no tier with this id.
        """
        for tier in self.tiers:
            if tier.id == tier_id:
                return tier
        raise KeyError(tier_id)

    def reached(self, spend: Fraction) -> Tier:
        """The highest tier that this spend within the window reaches."""
        for tier in reversed(self.tiers):
            if spend >= tier.spend:
                return tier
        return self.first

    def after(self, tier: Tier) -> Tier | None:
        """The next higher tier; None for the highest."""
        return self.tiers[tier.rank + 1] if tier.rank + 1 < len(self.tiers) else None
