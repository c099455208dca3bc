"""Folds what happened to customers into their runs: in the order of the log, due steps first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from msgspec import structs

from services.notifications.rules.journey.asking import Asking
from services.notifications.rules.journey.conditions import Standing, View
from services.notifications.rules.journey.live import InForce
from services.notifications.rules.journey.machine import Moment, Moved, begin, collects, join, resume
from services.notifications.rules.journey.run import Exposure, Run, RunState
from services.notifications.rules.journey.starting import Field, Live, Start, may_start, new_run, trigger_of, wants
from services.notifications.rules.trigger import Request, TriggerEvent


class Incoming(NamedTuple):
    """Something that happened to a customer, with the journeys that it may start.

    `field` reads the event. Events after `since` count as having happened in the run. `number` is that of the last
    event known by then; None: all are known.
    """

    trigger: TriggerEvent
    field: Field
    since: datetime
    number: int | None
    lives: Sequence[Live]


@dataclass(slots=True)
class Known:
    """What the database knows of triggers and runs: (customer, journey, key) that are used up, and the last starts."""

    used: set[tuple[str, str, str]] = field(default_factory=set[tuple[str, str, str]])
    last: dict[tuple[str, str], datetime] = field(default_factory=dict[tuple[str, str], datetime])


@dataclass(slots=True)
class Outcome:
    """What a fold leaves: new runs and changed ones, messages to make, and experiments that were reached."""

    new: dict[UUID, Run] = field(default_factory=dict[UUID, Run])
    changed: dict[UUID, Run] = field(default_factory=dict[UUID, Run])
    requests: list[Request] = field(default_factory=list[Request])
    exposures: list[Exposure] = field(default_factory=list[Exposure])


@dataclass(frozen=True, slots=True)
class World:
    """What the folds of all customers of a batch share. `new_id` makes an id for a run."""

    in_force: InForce
    known: Known
    now: datetime
    new_id: Callable[[], UUID]


@dataclass(slots=True)
class Fold:
    """The fold of one customer, whose open `runs` are those that are due or wait for an event."""

    standing: Standing
    runs: dict[UUID, Run]
    world: World
    outcome: Outcome

    def run(self, incoming: Sequence[Incoming]) -> Asking[None]:
        """Move what is due, then take what happened in its order."""
        now = self.world.now
        due = sorted((run.due_at, run.id) for run in self.runs.values() if run.due_at is not None and run.due_at <= now)
        for _, run_id in due:
            yield from self._resume(self.runs[run_id], incoming[0].number if incoming else None)
        for each in incoming:
            type_ = each.trigger.type
            for run in [run for run in self.runs.values() if run.awaits == type_]:
                yield from self._resume(run, each.number)
            for live in each.lives:
                yield from self._start(live, each)

    def _resume(self, run: Run, upto: int | None) -> Asking[None]:
        way = self.world.in_force.way(run)
        moment = Moment(self.standing, self.world.now, upto, way.halted)
        moved = yield from resume(run, way.journey, moment)
        if moved.run is not run and moved.run.version != way.journey.version:
            moved.run = structs.replace(moved.run, version=way.journey.version)
        self._take(run, moved)

    def _start(self, live: Live, incoming: Incoming) -> Asking[None]:
        """Start a run, or let the trigger join one that collects; a trigger does so once, for ever."""
        trigger = trigger_of(live, incoming.trigger, incoming.field)
        known, standing = self.world.known, self.standing
        used = (trigger.customer_id, live.id, trigger.key)
        if used in known.used:
            return
        journey = live.journey
        host = (
            next((run for run in self.runs.values() if run.journey == live.id and collects(run, trigger)), None)
            if journey.is_digest
            else None
        )
        last = known.last.get(used[:2])
        if host is None and not may_start(journey.document.again, last, trigger.at):
            return
        if journey.document.when:
            view = View(
                standing, incoming.field, trigger.at, incoming.since, trigger.type, trigger.key, incoming.number
            )
            if not (yield from wants(journey, view)):
                return
        known.used.add(used)
        run = new_run(self.world.new_id(), live, Start(trigger, incoming.since, incoming.field), standing)
        if host is not None:
            self._join(host, run)
            return
        known.last[used[:2]] = trigger.at if last is None else max(last, trigger.at)
        moved = yield from begin(run, journey, Moment(standing, self.world.now, incoming.number))
        self._take(None, moved, keep=journey.keeps_runs)

    def _join(self, host: Run, run: Run) -> None:
        joined = join(host, run.trigger)
        self._take(host, Moved(joined))
        self.outcome.new[run.id] = structs.replace(run, state=RunState.JOINED)

    def _take(self, before: Run | None, moved: Moved, *, keep: bool = True) -> None:
        """Take over a run that was moved, and what it asks for."""
        run, outcome = moved.run, self.outcome
        outcome.requests += moved.requests
        outcome.exposures += moved.exposures
        if not keep or run is before:
            return
        if run.due_at is None:
            self.runs.pop(run.id, None)
        else:
            self.runs[run.id] = run
        if before is None or run.id in outcome.new:
            outcome.new[run.id] = run
        else:
            outcome.changed[run.id] = run
