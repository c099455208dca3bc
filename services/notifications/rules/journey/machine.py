"""The machine: moves a run through its steps as far as an instant allows.

It is a pure function of the run, its journey, what is known of the customer, and the answers to what it asks. Whoever
moves the run, however late, the steps fall due at the same instants.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import Any, Final, cast

from msgspec import structs

from services.notifications.rules.journey.asking import Answer, ArmAnswer, Ask, AskArm, Asking
from services.notifications.rules.journey.clock import DAY, after_wait, clock_of
from services.notifications.rules.journey.compiled import END, Journey, Node
from services.notifications.rules.journey.conditions import Standing, View, all_hold
from services.notifications.rules.journey.document import (
    BeforeTrigger,
    Digest,
    Send,
    Split,
    StopIf,
    Wait,
    WaitFor,
)
from services.notifications.rules.journey.fields import MISSING, look_up
from services.notifications.rules.journey.run import Ending, Exposure, Item, Run, RunState, Trace
from services.notifications.rules.trigger import Json, Request, TriggerEvent

MOST_ITEMS: Final = 100
"""Maximum number of triggers of which a digest has the facts."""

TRIGGERS: Final = "triggers"
"""What a run awaits in its digest."""

SPENT: Final = "spent"
"""The fact of a run about expiring points: how many points had left the balance when it began."""


@dataclass(slots=True)
class Moved:
    """A run after it was moved, what it asks to send, and the experiments that it reached."""

    run: Run
    requests: list[Request] = field(default_factory=list[Request])
    exposures: list[Exposure] = field(default_factory=list[Exposure])


@dataclass(frozen=True, slots=True)
class Moment:
    """When a run is moved, and what is known then.

    `upto` is the number of the last event that is known. `halted`: the journey is disabled, or its runs end.
    """

    standing: Standing
    now: datetime
    upto: int | None = None
    halted: bool = False


def begin(run: Run, journey: Journey, moment: Moment) -> Asking[Moved]:
    """Move a new run from its first step on."""
    if journey.is_digest:
        run = join(run, run.trigger)
    return (yield from _walk(Moved(run), journey, journey.first, moment))


def resume(run: Run, journey: Journey, moment: Moment) -> Asking[Moved]:
    """Move a run that waits: it goes on if its wait is over, or if what it waits for came."""
    moved = Moved(run)
    place: int | None = journey.places.get(run.step, END)
    if place == END:
        return _end(moved, RunState.DONE, None)
    node = journey.nodes[place]
    if isinstance(node.document, WaitFor):
        place = yield from _wait_for(moved, node, node.document, moment)
    elif run.due_at is None or run.due_at > moment.now:
        place = None
    else:
        _over(moved, node, run.due_at, "over")
        place = node.next
    if place is not None and moment.halted:
        return _end(moved, RunState.STOPPED, Ending.JOURNEY_STOPPED)
    return moved if place is None else (yield from _walk(moved, journey, place, moment))


def join(run: Run, trigger: TriggerEvent) -> Run:
    """A run that collects, with a further trigger; it has the facts of the oldest ones, in the order of their times."""
    items = sorted((*run.items, Item(trigger.at, trigger.facts)), key=attrgetter("at"))
    return structs.replace(run, items=tuple(items[:MOST_ITEMS]), count=run.count + 1)


def collects(run: Run, trigger: TriggerEvent) -> bool:
    """Whether a trigger joins a run: the run is in its digest, and the trigger comes before the window ends."""
    return run.awaits == TRIGGERS and run.due_at is not None and trigger.at < run.due_at


def field_of(facts: Mapping[str, Json], other: object, path: str) -> object:
    """A field of a run's event: of its facts, else of the event, or of what was kept of it."""
    found = look_up(facts, path)
    return found if found is not MISSING else look_up(other, path)


def left_of(facts: Mapping[str, Json], available: int, spent: int) -> int:
    """How many of the points that a run warns of are still there: those that expire first are spent first."""
    points, before = facts.get("points"), facts.get(SPENT)
    if not isinstance(points, int):
        return available
    used = spent - before if isinstance(before, int) else 0
    return min(available, points - used)


def _walk(moved: Moved, journey: Journey, place: int, moment: Moment) -> Asking[Moved]:
    """Take one step after another, until one waits or ends the run, or none is left."""
    following: int | None = place
    while following is not None and following != END:
        following = yield from _take(moved, journey, journey.nodes[following], moment)
    return moved if following is None else _end(moved, RunState.DONE, None)


def _take(moved: Moved, journey: Journey, node: Node, moment: Moment) -> Asking[int | None]:
    """Take a step; returns the place of the next one, or None if the run waits or ended."""
    match node.document:
        case Send():
            return _send(moved, journey, node, node.document, moment.standing)
        case Wait() | Digest():
            due_at = _end_of(moved.run, node.document, moment.standing)
            awaits = TRIGGERS if isinstance(node.document, Digest) else None
            return _over(moved, node, due_at, "over") if due_at <= moment.now else _wait(moved, node, due_at, awaits)
        case WaitFor():
            return (yield from _wait_for(moved, node, node.document, moment))
        case StopIf():
            return (yield from _stop_if(moved, node, node.document, moment))
        case Split():
            return (yield from _split(moved, node, node.document))


def _end_of(run: Run, step: Wait | Digest, standing: Standing) -> datetime:
    if isinstance(step, Digest):
        return run.fell_due_at + timedelta(hours=step.hours)
    at = None if step.at is None else clock_of(step.at)
    return after_wait(run.fell_due_at, standing.zone, step.days or 0, step.hours or 0, at)


def _wait_for(moved: Moved, node: Node, step: WaitFor, moment: Moment) -> Asking[int | None]:
    """The place after a step that waits for an event; None: it still waits."""
    run = moved.run
    until = run.fell_due_at + step.within_days * DAY
    besides = run.trigger.key if step.type == run.trigger.type else None
    ask = Ask(run.customer_id, step.type, run.fell_due_at, until, besides, moment.upto)
    first = cast("Answer", (yield ask)).first
    if first is not None:
        _over(moved, node, first, "then")
        return node.ways["then"]
    if until <= moment.now:
        _over(moved, node, until, "else")
        return node.ways["else"]
    return _wait(moved, node, until, step.type)


def _stop_if(moved: Moved, node: Node, step: StopIf, moment: Moment) -> Asking[int | None]:
    if (yield from all_hold(step.when, _view(moved.run, moment))):
        _end(_noted(moved, node, "stopped"), RunState.STOPPED, Ending.STOP_IF)
        return None
    _noted(moved, node, "passed")
    return node.next


def _split(moved: Moved, node: Node, step: Split) -> Asking[int | None]:
    run = moved.run
    ask = AskArm(run.customer_id, step.experiment, tuple(step.arms), run.fell_due_at)
    arm = cast("ArmAnswer", (yield ask)).arm
    moved.exposures.append(Exposure(step.experiment, run.customer_id, arm, run.fell_due_at))
    if arm is None:
        _end(_noted(moved, node, "holdout"), RunState.STOPPED, Ending.HOLDOUT)
        return None
    _noted(moved, node, arm)
    return node.ways.get(arm, node.next)


def _send(moved: Moved, journey: Journey, node: Node, step: Send, standing: Standing) -> int | None:
    run = moved.run
    trigger = run.trigger
    if _is_over(trigger, journey, standing):
        _end(_noted(moved, node, "over"), RunState.STOPPED, Ending.JOURNEY_STOPPED)
        return None
    facts: Mapping[str, Json] = trigger.facts
    if journey.is_digest:
        facts = {**facts, "items": [item.facts for item in run.items], "count": run.count}
    request = Request(
        trigger=replace(trigger, facts=facts, at=run.fell_due_at),
        journey=run.journey,
        run_id=run.id if journey.keeps_runs else None,
        step=node.step,
        template=step.template,
        channels=step.channels,
        mode=step.mode,
        not_after=journey.not_after,
    )
    moved.requests.append(request)
    _noted(moved, node, step.template)
    return node.next


def _is_over(trigger: TriggerEvent, journey: Journey, standing: Standing) -> bool:
    """Whether what the run warns of cannot come any more."""
    start = journey.document.trigger
    if not isinstance(start, BeforeTrigger) or start.what != "points_expiry":
        return False
    return left_of(trigger.facts, standing.available, standing.spent) <= 0


def _view(run: Run, moment: Moment) -> View:
    read: Any = partial(field_of, run.trigger.facts, run.fields)
    trigger = run.trigger
    return View(moment.standing, read, run.fell_due_at, run.since, trigger.type, trigger.key, moment.upto)


def _noted(moved: Moved, node: Node, outcome: str) -> Moved:
    run = moved.run
    entry = Trace(node.step, node.document.kind, run.fell_due_at, outcome)
    moved.run = structs.replace(run, step=node.step, trace=(*run.trace, entry))
    return moved


def _over(moved: Moved, node: Node, at: datetime, outcome: str) -> int:
    """End a wait, so that the next step falls due at `at`; returns its place."""
    run = moved.run
    entry = Trace(node.step, node.document.kind, run.fell_due_at, outcome)
    moved.run = structs.replace(
        run, step=node.step, fell_due_at=at, due_at=None, awaits=None, trace=(*run.trace, entry)
    )
    return node.next


def _wait(moved: Moved, node: Node, due_at: datetime, awaits: str | None) -> None:
    moved.run = structs.replace(moved.run, step=node.step, due_at=due_at, awaits=awaits, state=RunState.WAITING)


def _end(moved: Moved, state: RunState, reason: Ending | None) -> Moved:
    moved.run = structs.replace(moved.run, due_at=None, awaits=None, state=state, reason=reason)
    return moved
