"""Moves runs of journeys: by what happens to customers, and by time; in set-based statements for many customers."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import uuid_utils

from services.notifications.rules.journey.asking import ArmAnswer, Ask, AskArm, Asking, Question, Reply
from services.notifications.rules.journey.conditions import Standing
from services.notifications.rules.journey.document import Always
from services.notifications.rules.journey.fold import Fold, Incoming, Known, Outcome, World
from services.notifications.rules.journey.live import InForce
from services.notifications.rules.journey.machine import TRIGGERS
from services.notifications.rules.journey.run import Run
from services.notifications.rules.journey.starting import trigger_of
from services.notifications.store import happened, runs
from shared.postgres.pool import Connection

MOST_RUNS: Final = 1_000
"""Maximum number of open runs that a transaction loads."""

Arms = Callable[[Connection, Sequence[AskArm]], Awaitable[Sequence[ArmAnswer]]]
"""Answers which arms of experiments customers are in."""


async def first_arms(_connection: Connection, asks: Sequence[AskArm]) -> Sequence[ArmAnswer]:
    """The first arm for everybody: without an experiment, nobody is compared."""
    return [ArmAnswer(ask.arms[0]) for ask in asks]


@dataclass(frozen=True, slots=True)
class Mover:
    """Moves runs as of `now` by the journeys in force."""

    in_force: InForce
    arms: Arms
    now: datetime

    async def move(
        self,
        connection: Connection,
        standings: Mapping[str, Standing],
        incoming: Mapping[str, Sequence[Incoming]],
    ) -> Outcome:
        """Move the runs of locked customers: what is due, then what happened to each of them in its order.

        Stores the runs; returns what they leave, with the messages to make.
        """
        happening = [each for own in incoming.values() for each in own]
        awaited = {each.trigger.type for each in happening} & self.in_force.awaited
        if any(live.journey.is_digest for each in happening for live in each.lives):
            awaited.add(TRIGGERS)
        own: dict[str, dict[UUID, Run]] = {}
        if self.in_force.waits:
            for run in await runs.load_open(connection, standings.keys(), self.now, awaited, MOST_RUNS):
                own.setdefault(run.customer_id, {})[run.id] = run
        outcome = Outcome()
        world = World(self.in_force, await _known(connection, happening), self.now, _new_id)
        folds = [
            Fold(standings[customer_id], own.get(customer_id, {}), world, outcome).run(incoming.get(customer_id, ()))
            for customer_id in dict.fromkeys([*own, *incoming])
        ]
        await _answer_all(connection, folds, self.arms)
        await runs.add(connection, list(outcome.new.values()), self.now)
        await runs.save(connection, list(outcome.changed.values()))
        return outcome


async def _known(connection: Connection, happening: Sequence[Incoming]) -> Known:
    """What is stored of the triggers that may start runs."""
    kept: dict[tuple[str, str, str], None] = {}
    unkept: dict[tuple[str, str, str], None] = {}
    started: dict[tuple[str, str], None] = {}
    made: dict[tuple[str, str], None] = {}
    for each in happening:
        customer_id = each.trigger.customer_id
        for live in each.lives:
            key = trigger_of(live, each.trigger, each.field).key
            if live.kept:
                kept[customer_id, live.id, key] = None
            if live.kept and live.unkept:
                unkept[customer_id, live.id, key] = None
            if not isinstance(live.journey.document.again, Always):
                started[customer_id, live.id] = None
                if live.unkept:
                    made[customer_id, live.id] = None
    used = await runs.used(connection, list(kept)) | await runs.sent(connection, list(unkept))
    last = await runs.last_starts(connection, started)
    for pair, at in (await runs.last_sent(connection, made)).items():
        last[pair] = max(last.get(pair, at), at)
    return Known(used, last)


async def _answer_all(connection: Connection, folds: Iterable[Asking[None]], arms: Arms) -> None:
    """Run computations side by side: in each round all their questions are answered at once."""
    asking: list[tuple[Asking[None], Question]] = []
    for fold in folds:
        try:
            asking.append((fold, next(fold)))
        except StopIteration:
            continue
    while asking:
        replies = await _answer(connection, [question for _, question in asking], arms)
        further: list[tuple[Asking[None], Question]] = []
        for (fold, _), reply in zip(asking, replies, strict=True):
            try:
                further.append((fold, fold.send(reply)))
            except StopIteration:
                continue
        asking = further


async def _answer(connection: Connection, questions: Sequence[Question], arms: Arms) -> list[Reply]:
    replies: list[Any] = [None] * len(questions)
    of_events = [(place, each) for place, each in enumerate(questions) if isinstance(each, Ask)]
    of_arms = [(place, each) for place, each in enumerate(questions) if isinstance(each, AskArm)]
    for (place, _), reply in zip(
        of_events, await happened.answer(connection, [each for _, each in of_events]), strict=True
    ):
        replies[place] = reply
    if of_arms:
        for (place, _), reply in zip(of_arms, await arms(connection, [each for _, each in of_arms]), strict=True):
            replies[place] = reply
    return replies


def _new_id() -> UUID:
    return UUID(int=uuid_utils.uuid7().int)
