"""Rewards of the catalogue: who may have them, and when."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple


class Reward(NamedTuple):
    """A reward as its row; `stock` None is without end, `name` is by locale."""

    id: str
    name: Mapping[str, str]
    points: int
    kind: str
    stock: int | None
    limit_per_customer: int | None
    minimum_tier: str | None
    starts_at: datetime | None
    ends_at: datetime | None
    revision: int
    created_at: datetime

    def is_open(self, now: datetime) -> bool:
        """Whether it is on offer: from its start on, and before its end."""
        return (self.starts_at is None or self.starts_at <= now) and (self.ends_at is None or now < self.ends_at)


def tier_suffices(tier: str | None, minimum: str, ladder: Sequence[str]) -> bool:
    """Whether a tier is at least the minimum; `ladder` are the program's tiers from the lowest one up.

    Who was never promoted is in the lowest one. A tier that the ladder does not know is only itself.
    """
    own = ladder[0] if tier is None else tier
    if own == minimum:
        return True
    return own in ladder and minimum in ladder and ladder.index(own) > ladder.index(minimum)
