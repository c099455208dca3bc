"""Drives the pure rules of journeys with a list of what happened, instead of a database."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from services.notifications.rules.journey.asking import Answer, ArmAnswer, Ask, Asking
from services.notifications.rules.journey.compiled import Journey
from services.notifications.rules.journey.conditions import Standing
from services.notifications.rules.journey.document import JourneyDocument
from services.notifications.rules.journey.fields import look_up
from services.notifications.rules.journey.machine import Moment, Moved, begin, resume
from services.notifications.rules.journey.run import Run
from services.notifications.rules.journey.starting import Live, Start, new_run
from services.notifications.rules.trigger import TriggerEvent
from shared.contracts.envelope import Cause

T = TypeVar("T")

PURCHASE = "shop.purchase.completed.v1"
REVIEW = "shop.review.published.v1"
SEND: dict[str, Any] = {"kind": "send", "template": "hello", "channels": ["email"], "mode": "first"}


class Past(NamedTuple):
    """Something that happened to the customer."""

    type: str
    at: datetime
    key: str


def journey(*steps: dict[str, Any], **changes: Any) -> Journey:
    """A journey of these steps, started by purchases."""
    document = {"name": {"en": "Test"}, "trigger": {"on": "event", "type": PURCHASE}, "steps": steps, **changes}
    return Journey.of(1, JourneyDocument.model_validate(document))


def send(template: str = "hello", **changes: Any) -> dict[str, Any]:
    return {**SEND, "template": template, **changes}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def trigger(moment: datetime, key: str = "order/1", **facts: Any) -> TriggerEvent:
    return TriggerEvent(PURCHASE, "mona", key, facts, moment, Cause("root", "cause"))


def standing(zone: str = "UTC", **changes: Any) -> Standing:
    return Standing("mona", ZoneInfo(zone), **changes)


def live(compiled: Journey) -> Live:
    return Live("test", compiled, datetime.min.replace(tzinfo=UTC), kept=True, unkept=False)


def drive(asking: Asking[T], past: Sequence[Past] = (), arms: Mapping[str, str | None] | None = None) -> T:
    """The result of a computation, with answers from what happened."""
    reply: Any = None
    while True:
        try:
            question = asking.send(reply)
        except StopIteration as end:
            return end.value
        if isinstance(question, Ask):
            times = sorted(
                each.at
                for each in past
                if each.type == question.type
                and each.at > question.after
                and (question.until is None or each.at <= question.until)
                and each.key != question.besides
            )
            reply = Answer(len(times), times[0] if times else None)
        else:
            reply = ArmAnswer((arms or {})[question.experiment])


def start(compiled: Journey, event: TriggerEvent, who: Standing) -> Run:
    read = partial(look_up, event.facts)
    return new_run(UUID(int=1), live(compiled), Start(event, event.at, read), who)


def run_at(
    compiled: Journey,
    event: TriggerEvent,
    *instants: datetime,
    past: Sequence[Past] = (),
    who: Standing | None = None,
    arms: Mapping[str, str | None] | None = None,
) -> Moved:
    """A run that is moved at each of the instants; with all its requests."""
    who = who or standing()
    first, *others = instants
    moved = drive(begin(start(compiled, event, who), compiled, Moment(who, first)), past, arms)
    for now in others:
        if moved.run.due_at is None:
            break
        further = drive(resume(moved.run, compiled, Moment(who, now)), past, arms)
        moved = Moved(further.run, moved.requests + further.requests, moved.exposures + further.exposures)
    return moved


def sent(moved: Moved) -> list[tuple[str, str, datetime]]:
    """(step, template, instant) of each message that a run asked for."""
    return [(request.step, request.template, request.trigger.at) for request in moved.requests]
