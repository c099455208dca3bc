"""What a new document is refused for: contradictions that no single field shows, unknown event types, and sizes.

Drafts are checked, and documents when they are published; versions that are already published are not checked again.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from services.notifications.rules.journey.document import (
    MOST_DAYS,
    Condition,
    Digest,
    EventTrigger,
    FieldCondition,
    Happened,
    InactivityTrigger,
    JourneyDocument,
    Send,
    Step,
    StopIf,
    Wait,
    WaitFor,
    branches,
)
from services.notifications.rules.journey.triggers import NAMEABLE
from shared.programs.faults import DocumentError, Fault, pointer

MOST_STEPS: Final = 50
DEEPEST: Final = 5

Place = tuple[str | int, ...]


def check(document: JourneyDocument) -> None:
    """Check that the parts of a document go together, and are not too many.

    Raises:
        DocumentError: they do not go together or are too many; it lists every fault.
    """
    faults = [
        *_wrong_trigger(document),
        *_wrong_when(document.when, ("when",), is_own=True),
        *_wrong_size(document.steps),
        *(fault for place, step in walk(document.steps) for fault in _wrong_step(place, step)),
    ]
    if faults:
        raise DocumentError(faults)


def walk(steps: Sequence[Step], places: Place = ("steps",), deepest: int = DEEPEST + 1) -> Iterator[tuple[Place, Step]]:
    """Every step with the steps of its JSON pointer, down to a depth."""
    for index, step in enumerate(steps):
        here = (*places, index)
        yield here, step
        if deepest > 1:
            for way, inner in branches(step):
                yield from walk(inner, (*here, *way), deepest - 1)


def depth(steps: Sequence[Step]) -> int:
    """How deep steps are nested: 1 without branches, 0 without steps."""
    deepest, level = 0, list(steps)
    while level:
        deepest += 1
        level = [inner for step in level for _, within in branches(step) for inner in within]
    return deepest


def _wrong_trigger(document: JourneyDocument) -> Iterator[Fault]:
    trigger = document.trigger
    if isinstance(trigger, EventTrigger):
        yield from _wrong_type(trigger.type, ("trigger", "type"))
        for index, condition in enumerate(trigger.where):
            yield from _wrong_field(condition, ("trigger", "where", index))
    elif isinstance(trigger, InactivityTrigger):
        yield from _wrong_type(trigger.of, ("trigger", "of"))


def _wrong_type(name: str, place: Place) -> Iterator[Fault]:
    if name not in NAMEABLE:
        yield Fault(pointer(*place), f"no journey can name the event type {name!r}")


def _wrong_when(conditions: Sequence[Condition], place: Place, *, is_own: bool = False) -> Iterator[Fault]:
    for index, condition in enumerate(conditions):
        here = (*place, index)
        if isinstance(condition, FieldCondition):
            yield from _wrong_field(condition, here)
        if isinstance(condition, Happened):
            yield from _wrong_type(condition.type, (*here, "type"))
            if is_own and condition.within_days is None:
                message = "nothing happened in a run that has not begun: say within how many days"
                yield Fault(pointer(*here, "within_days"), message)


def _wrong_field(condition: FieldCondition, place: Place) -> Iterator[Fault]:
    here, op, value = pointer(*place, "value"), condition.op, condition.value
    if op == "in" and not isinstance(value, tuple):
        yield Fault(here, "`in` needs a list of values")
    elif op == "in" and len(value) > 1_000:  # pyright: ignore[reportArgumentType]
        yield Fault(here, "at most 1,000 values")
    elif op == "exists" and not isinstance(value, bool):
        yield Fault(here, "`exists` needs true or false")
    elif op != "in" and isinstance(value, tuple):
        yield Fault(here, "only `in` takes a list of values")
    elif op in {"lt", "lte", "gt", "gte"} and isinstance(value, bool):
        yield Fault(here, "true and false have no order")


def _wrong_size(steps: Sequence[Step]) -> Iterator[Fault]:
    if depth(steps) > DEEPEST:
        yield Fault("/steps", f"steps are nested at most {DEEPEST} deep")
    elif (count := sum(1 for _ in walk(steps))) > MOST_STEPS:
        yield Fault("/steps", f"there are {count} steps; at most {MOST_STEPS}")


def _wrong_step(place: Place, step: Step) -> Iterator[Fault]:
    match step:
        case Wait():
            if step.days is None and step.hours is None and step.at is None:
                yield Fault(pointer(*place), "a wait needs days, hours or a local time")
            elif (step.days or 0) * 24 + (step.hours or 0) > MOST_DAYS * 24:
                yield Fault(pointer(*place), f"a wait takes at most {MOST_DAYS} days")
        case Digest() if place != ("steps", 0):
            yield Fault(pointer(*place), "a digest is the first step")
        case WaitFor():
            yield from _wrong_type(step.type, (*place, "type"))
        case StopIf():
            yield from _wrong_when(step.when, (*place, "when"))
        case Send():
            for index, channel in enumerate(step.channels):
                if channel in step.channels[:index]:
                    yield Fault(pointer(*place, "channels", index), f"{channel} is listed twice")
        case _:
            pass
