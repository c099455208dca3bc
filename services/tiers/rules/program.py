"""The tier program: which tiers there are, and what each needs."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.contracts.values import Currency, Id, Money

Multiplier = Annotated[str, StringConstraints(pattern=r"^(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{0,8}[1-9])?$")]
"""A decimal string in its one canonical form: "1", "1.25", "1.5"; no trailing zeros."""


class NeedDocument(BaseModel):
    """What has to be reached in a metric, in its own unit (`spend`: the program's currency)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: Literal["spend"]
    at_least: Money


class TierDocument(BaseModel):
    """A tier; `points_multiplier` is what its members' points are multiplied by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Id
    points_multiplier: Multiplier
    needs: tuple[NeedDocument, ...]


class ProgramDocument(BaseModel):
    """A version's content: the tiers, the lowest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    currency: Currency
    tiers: Annotated[tuple[TierDocument, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Tier:
    """A tier; it is reached when `spend`, exact, was spent within the window."""

    id: str
    rank: int
    points_multiplier: str
    spend: Fraction


@dataclass(frozen=True, slots=True)
class Program:
    """A published version of the program; `tiers` go from the lowest, which needs nothing, to the highest."""

    version: int
    currency: str
    tiers: tuple[Tier, ...]

    @classmethod
    def of(cls, version: int, document: ProgramDocument) -> Self:
        """The program that a document describes."""
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
        """The tier of everybody who has reached no other."""
        return self.tiers[0]

    @property
    def highest(self) -> Tier:
        """The tier that no other is above."""
        return self.tiers[-1]

    def tier(self, tier_id: str) -> Tier:
        """The tier of that id.

        Raises:
            KeyError: the program has no such tier.
        """
        for tier in self.tiers:
            if tier.id == tier_id:
                return tier
        raise KeyError(tier_id)

    def reached(self, spend: Fraction) -> Tier:
        """The highest tier that this much within the window reaches."""
        for tier in reversed(self.tiers):
            if spend >= tier.spend:
                return tier
        return self.first

    def after(self, tier: Tier) -> Tier | None:
        """The tier above, None above the highest."""
        return self.tiers[tier.rank + 1] if tier.rank + 1 < len(self.tiers) else None
