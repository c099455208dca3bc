"""The catalogue of rewards: what is added to it, and what changes."""

from datetime import datetime

from services.points.rules.books.rewards import Reward
from services.points.store import rewards, rules
from shared.postgres.pool import Connection


class UnknownTierError(Exception):
    """No tier of the program has this id; tells which there are."""

    def __init__(self, tiers: tuple[str, ...]) -> None:
        super().__init__(f"the tiers are {', '.join(tiers)}")
        self.tiers = tiers


class ExistsError(Exception):
    """There is a reward with this id."""


async def add(connection: Connection, reward: Reward, now: datetime) -> Reward:
    """Add a reward.

    Raises:
        UnknownTierError: its minimum tier is none of the earning rules in force.
        ExistsError: its id is taken.
    """
    await _check_tier(connection, reward, now)
    if not await rewards.insert(connection, reward):
        raise ExistsError
    return reward


async def change(connection: Connection, known: Reward, reward: Reward, now: datetime) -> Reward:
    """Write a locked reward anew, that is `known` as it was.

    Raises:
        UnknownTierError: its new minimum tier is none of the earning rules in force.
    """
    if reward.minimum_tier != known.minimum_tier:
        await _check_tier(connection, reward, now)
    return await rewards.update(connection, reward)


async def _check_tier(connection: Connection, reward: Reward, now: datetime) -> None:
    if reward.minimum_tier is not None:
        tiers = (await rules.in_force(connection, now)).document.tiers
        if reward.minimum_tier not in tiers:
            raise UnknownTierError(tiers)
