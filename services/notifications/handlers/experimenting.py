"""Puts customers into the arms of experiments, and counts who reaches the goal."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from services.notifications.rules.experiment.arms import choose, undeclared
from services.notifications.rules.journey.asking import ArmAnswer, AskArm
from services.notifications.rules.trigger import triggers
from services.notifications.store import experiments, happened
from services.notifications.store.experiments import Reached
from services.notifications.store.happened import Happening
from shared.contracts.envelope import Event
from shared.postgres.pool import Connection

Counts = Callable[[str, datetime], bool]


class Exposed(NamedTuple):
    """A customer who reaches a split at an instant; `arms` are those of the split, in their order."""

    customer_id: str
    experiment: str
    arms: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class Experiments:
    """The experiments of one database; `key` decides which arm a customer is in."""

    key: bytes

    async def arms(self, connection: Connection, asks: Sequence[AskArm]) -> Sequence[ArmAnswer]:
        """Answer in which arms locked customers are who reach splits."""
        reached = [Exposed(ask.customer_id, ask.experiment, ask.arms, ask.at) for ask in asks]
        return [ArmAnswer(arm) for arm in await self.expose(connection, reached)]

    async def expose(self, connection: Connection, reached: Sequence[Exposed]) -> list[str | None]:
        """The arms of locked customers, in their order: the recorded ones, else those that are recorded now.

        None: the customer is held out. An experiment that nobody declared has the arms of the split that comes first.
        """
        if not reached:
            return []
        known = await experiments.arms(connection, {(each.customer_id, each.experiment) for each in reached})
        new = [each for each in reached if (each.customer_id, each.experiment) not in known]
        if new:
            stored = await self._stored(connection, new)
            first: dict[tuple[str, str], Reached] = {}
            for each in new:
                arm = choose(self.key, stored[each.experiment].experiment, each.customer_id)
                first.setdefault(
                    (each.customer_id, each.experiment), Reached(each.customer_id, each.experiment, arm, each.at)
                )
            await experiments.expose(connection, list(first.values()))
            known.update((pair, each.arm) for pair, each in first.items())
        return [known[each.customer_id, each.experiment] for each in reached]

    async def _stored(self, connection: Connection, reached: Sequence[Exposed]) -> dict[str, experiments.Stored]:
        """The experiments that customers reach; those that nobody declared are stored as the splits name them."""
        ids = {each.experiment for each in reached}
        stored = await experiments.load(connection, ids)
        named = {each.experiment: each for each in reversed(reached) if each.experiment not in stored}
        if named:
            new = [undeclared(each.experiment, each.arms) for each in named.values()]
            await experiments.name(connection, new, min(each.at for each in named.values()))
            stored |= await experiments.load(connection, named.keys())
        return stored


async def convert(
    connection: Connection, goals: Collection[str], events: Sequence[Event], counts: Counts, recorded: frozenset[str]
) -> None:
    """Count the goals that events of locked customers reach, before anything of them reaches an experiment.

    `counts` says whether something that happened to a customer at an instant counts. Types of `recorded` are known to
    have happened; the others become known here, so that an exposure finds a goal that came before it was recorded.
    `goals` are the event types that are the goal of an experiment.
    """
    offered = [
        each
        for event in events
        if event.type in goals
        for each in triggers(event, wanted=False)
        if counts(each.customer_id, each.at)
    ]
    others = [
        Happening(each.customer_id, each.type, each.key, each.at) for each in offered if each.type not in recorded
    ]
    await happened.record(connection, others)
    await experiments.convert(connection, [(each.customer_id, each.type, each.at) for each in offered])
