"""Rewards of the catalogue: when they are on offer, and for which tiers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple


class Reward(NamedTuple):
    """A reward as its row; a `stock` of None is unlimited, `name` is by locale."""

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
        """Whether it is on offer: from its start until before its end."""
        return (self.starts_at is None or self.starts_at <= now) and (self.ends_at is None or now < self.ends_at)


def tier_suffices(tier: str | None, minimum: str, ladder: Sequence[str]) -> bool:
    """Whether a tier is at least the minimum; `ladder` has the program's tiers from the lowest one up.

    A customer who was never promoted (None) is in the lowest tier. A tier that the ladder lacks equals only itself.
    """
    own = ladder[0] if tier is None else tier
    if own == minimum:
        return True
    return own in ladder and minimum in ladder and ladder.index(own) > ladder.index(minimum)
