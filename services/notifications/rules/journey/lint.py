"""What a valid document is warned about, in words."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from services.notifications.rules.journey.checking import Place, walk
from services.notifications.rules.journey.document import (
    BeforeTrigger,
    Condition,
    DateTrigger,
    FieldCondition,
    InactivityTrigger,
    JourneyDocument,
    Never,
    Send,
    Split,
    Step,
    StopIf,
    WaitFor,
    branches,
)
from services.notifications.rules.journey.starting import event_type
from services.notifications.rules.journey.triggers import PURCHASE
from shared.contracts.registry import TYPES
from shared.programs.faults import Fault, pointer

_ANNOUNCED = (30, 7, 1)
_OWN_FIELDS = {PURCHASE: {"purchase_number"}}
"""Fields that Wafa adds to those of the event."""


def lint(document: JourneyDocument, _moment: datetime) -> Sequence[Fault]:
    """The warnings about a valid document."""
    return [
        *_doubtful_trigger(document),
        *_doubtful_steps(document.steps),
        *_doubtful_fields(document),
        *(fault for place, step in walk(document.steps) for fault in _doubtful_step(place, step)),
        *(fault for place, steps in _sequences(document.steps) for fault in _at_once(place, steps)),
    ]


def _doubtful_trigger(document: JourneyDocument) -> Iterator[Fault]:
    trigger = document.trigger
    if isinstance(trigger, BeforeTrigger) and trigger.what == "points_expiry" and trigger.days not in _ANNOUNCED:
        message = f"points are announced 30, 7 and 1 days before they expire: nobody is told {trigger.days} days before"
        yield Fault("/trigger/days", message)
    if isinstance(trigger, DateTrigger) and isinstance(document.again, Never) and trigger.field != "first_purchase_at":
        yield Fault("/again", "the date comes every year, but each customer has one run in a lifetime")
    if not document.enabled:
        yield Fault("/enabled", "the journey is disabled: nothing starts it, and runs of older versions end")


def _doubtful_steps(steps: Sequence[Step]) -> Iterator[Fault]:
    if not any(isinstance(step, Send) for _, step in walk(steps)):
        yield Fault("/steps", "no step sends anything")
    if isinstance(steps[0], StopIf):
        yield Fault("/steps/0", "a run that stops in its first step is better not started: say it in `when`")


def _doubtful_step(place: Place, step: Step) -> Iterator[Fault]:
    match step:
        case WaitFor() if not step.then and not step.else_:
            yield Fault(
                pointer(*place), "neither way has a step: the run goes on when the event comes or the time is over"
            )
        case Split() if not any(step.arms.values()):
            yield Fault(pointer(*place, "arms"), "no arm has a step: the experiment compares nothing")
        case _:
            pass


def _doubtful_fields(document: JourneyDocument) -> Iterator[Fault]:
    """Warn of fields that the event does not have."""
    type_ = event_type(document.trigger)
    for place, condition in _fields(document):
        name = condition.path.split(".")[0]
        if type_ is None and not isinstance(document.trigger, InactivityTrigger | DateTrigger):
            continue
        if type_ is None:
            if name not in {"last_at", "days", "date", "years"}:
                yield Fault(pointer(*place, "path"), "no event starts this journey, so there is no such field")
        elif not _has(type_, name):
            yield Fault(pointer(*place, "path"), f"{type_} has no field {name!r} in the contract")


def _has(type_: str, name: str) -> bool:
    model = TYPES[type_].model if type_ in TYPES else None
    if model is None:
        return True
    aliases = {field.serialization_alias or own for own, field in model.model_fields.items()}
    own = {"role", "points"} if type_.startswith("loyalty.referral.") else _OWN_FIELDS.get(type_, set[str]())
    return name in aliases | own


def _fields(document: JourneyDocument) -> Iterator[tuple[Place, FieldCondition]]:
    trigger = document.trigger
    where: Sequence[Condition] = getattr(trigger, "where", ())
    lists: list[tuple[Place, Sequence[Condition]]] = [(("trigger", "where"), where), (("when",), document.when)]
    lists += [((*place, "when"), step.when) for place, step in walk(document.steps) if isinstance(step, StopIf)]
    for place, conditions in lists:
        for index, condition in enumerate(conditions):
            if isinstance(condition, FieldCondition):
                yield (*place, index), condition


def _sequences(steps: Sequence[Step], place: Place = ("steps",)) -> Iterator[tuple[Place, Sequence[Step]]]:
    yield place, steps
    for index, step in enumerate(steps):
        for way, inner in branches(step):
            yield from _sequences(inner, (*place, index, *way))


def _at_once(place: Place, steps: Sequence[Step]) -> Iterator[Fault]:
    """Warn of two messages on one channel without a wait between them."""
    for index, (before, step) in enumerate(pairwise(steps), 1):
        if isinstance(before, Send) and isinstance(step, Send):
            both = [channel for channel in step.channels if channel in before.channels]
            if both:
                yield Fault(pointer(*place, index), f"two messages by {both[0]} at once: put a wait between them")
