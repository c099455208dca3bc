"""The catalogue of rewards: adding and changing rewards."""

from datetime import datetime

from services.points.rules.books.rewards import Reward
from services.points.store import rewards, rules
from shared.postgres.pool import Connection


class UnknownTierError(Exception):
    """No tier of the program has this id; `tiers` are those that exist."""

    def __init__(self, tiers: tuple[str, ...]) -> None:
        super().__init__(f"the tiers are {', '.join(tiers)}")
        self.tiers = tiers


class ExistsError(Exception):
    """A reward with this id exists."""


async def add(connection: Connection, reward: Reward, now: datetime) -> Reward:
    """Add a reward.

    Raises:
        UnknownTierError: its minimum tier is not a tier of the earning rules in force.
        ExistsError: a reward with its id exists.
    """
    await _check_tier(connection, reward, now)
    if not await rewards.insert(connection, reward):
        raise ExistsError
    return reward


async def change(connection: Connection, before: Reward, reward: Reward, now: datetime) -> Reward:
    """Replace a locked reward, which was `before`.

    Raises:
        UnknownTierError: its new minimum tier is not a tier of the earning rules in force.
    """
    if reward.minimum_tier != before.minimum_tier:
        await _check_tier(connection, reward, now)
    return await rewards.update(connection, reward)


async def _check_tier(connection: Connection, reward: Reward, now: datetime) -> None:
    if reward.minimum_tier is not None:
        tiers = (await rules.in_force(connection, now)).document.tiers
        if reward.minimum_tier not in tiers:
            raise UnknownTierError(tiers)
