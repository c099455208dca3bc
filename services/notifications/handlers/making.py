"""Makes messages of what journeys ask to send."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import uuid_utils

from services.notifications.handlers import announcing
from services.notifications.handlers.judging import Judge
from services.notifications.handlers.library import Library, Shown
from services.notifications.rendering.compiled import Template
from services.notifications.rendering.renderer import STANDING
from services.notifications.rules import gate, profile
from services.notifications.rules.gate import Candidate, Hold, Recipient, Send, Skip, Verdict
from services.notifications.rules.message import Channel, Reason, State
from services.notifications.rules.profile import Profile
from services.notifications.rules.trigger import Request
from services.notifications.store import messages, standings
from services.notifications.store.messages import Message
from services.notifications.store.standings import Points
from shared import telemetry
from shared.contracts.envelope import Publication
from shared.contracts.loyalty import MessageChanged
from shared.postgres.pool import Connection

FIRST_STEP: Final = "0"

_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Maker:
    """What messages are made with: the templates, and the gate."""

    library: Library
    judge: Judge


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A request, with the version of the template that it is made with, and what the gate is asked."""

    request: Request
    template: Template
    candidates: Sequence[Candidate]


async def make(
    maker: Maker, connection: Connection, requests: Sequence[Request], customers: Mapping[str, Profile], now: datetime
) -> list[Publication]:
    """Store the messages of requests to locked customers, and return what to announce; those made before stay.

    Nothing is rendered. None is made about what was before an erasure, and for customers who were erased and have not
    registered again.
    """
    if not requests:
        return []
    templates = await maker.library.open(connection)
    wanted = [each for request in requests for each in _wanted(templates, request, customers, now)]
    asked = [(each.request.trigger.customer_id, candidate) for each in wanted for candidate in each.candidates]
    known = await maker.judge.recipients(connection, customers, asked, now)
    standing = await standings.points(
        connection, {each.request.trigger.customer_id for each in wanted if each.template.shows_standing}
    )
    new = [
        message
        for each in wanted
        for customer_id in (each.request.trigger.customer_id,)
        for message in _messages(maker, each, known[customer_id], _facts(each, standing), now)
    ]
    added = await messages.add(connection, new, now)
    telemetry.DUPLICATES.labels("natural_key").inc(len(new) - len(added))
    return [_publication(message) for message in new if message.id in added and message.state in announcing.TYPES]


def _wanted(templates: Shown, request: Request, customers: Mapping[str, Profile], now: datetime) -> Iterator[_Wanted]:
    trigger = request.trigger
    customer = customers[trigger.customer_id]
    template = templates.in_force(request.template, now)
    # A journey cannot be published without its templates.
    if template is None or customer.is_erased or not profile.is_after_erasure(customer, trigger.at):
        return
    kind, topic, not_after = template.kind, template.topic, request.not_after
    candidates = [Candidate(kind, topic, channel, trigger.at, now, not_after) for channel in request.channels]
    yield _Wanted(request, template, candidates)


def _facts(wanted: _Wanted, standing: Mapping[str, Points]) -> str:
    """The facts of messages as JSON, with what is of the instant at which they are made."""
    trigger = wanted.request.trigger
    if not wanted.template.shows_standing:
        return _ENCODER.encode(trigger.facts).decode()
    customer = standing.get(trigger.customer_id, Points())._asdict()
    return _ENCODER.encode({**trigger.facts, STANDING: customer}).decode()


def _messages(maker: Maker, wanted: _Wanted, recipient: Recipient, facts: str, now: datetime) -> Iterator[Message]:
    request, template = wanted.request, wanted.template
    trigger = request.trigger
    verdicts = [
        (candidate, _verdict(maker.judge, template, candidate, recipient, now)) for candidate in wanted.candidates
    ]
    tried: dict[str, str] = {}
    if request.mode == "first":
        chosen = _first(verdicts)
        tried = {each.channel.value: _reason(verdict) for each, verdict in verdicts[: verdicts.index(chosen)]}
        verdicts = [chosen]
    # Of a backfill nothing is left but the inbox message: it tells that the others were too late.
    has_inbox = any(each.channel is Channel.IN_APP and isinstance(verdict, Send) for each, verdict in verdicts)
    late = {
        each.channel.value: verdict.reason.value
        for each, verdict in verdicts
        if has_inbox and isinstance(verdict, Skip) and gate.is_too_old(each, now)
    }
    occasion = trigger.key if request.step == FIRST_STEP else f"{trigger.key}#{request.step}"
    for candidate, verdict in verdicts:
        channel = candidate.channel
        if channel.value in late:
            continue
        state, reason, due_at = _state(channel, verdict, now)
        yield Message(
            id=_new_id(),
            request=request,
            occasion=occasion,
            channel=channel,
            kind=template.kind,
            topic=template.topic,
            template_version=template.version,
            locale=template.locale(channel, recipient.locale, maker.library.locale) or maker.library.locale,
            state=state,
            reason=reason,
            facts=facts,
            due_at=due_at,
            unsent=(tried | (late if channel is Channel.IN_APP else {})) or None,
        )


def _verdict(judge: Judge, template: Template, candidate: Candidate, recipient: Recipient, now: datetime) -> Verdict:
    """Whether a message may go now, by what is known; a mail is judged again when it is sent."""
    if candidate.channel not in template.locales:
        return Skip(Reason.TEMPLATE_ERROR)
    return gate.judge(candidate, recipient, now, judge.limits)


def _first(verdicts: Sequence[tuple[Candidate, Verdict]]) -> tuple[Candidate, Verdict]:
    """The first channel that may send; else the first that holds; else the first."""
    for kind in (Send, Hold):
        for candidate, verdict in verdicts:
            if isinstance(verdict, kind):
                return candidate, verdict
    return verdicts[0]


def _reason(verdict: Verdict) -> str:
    assert not isinstance(verdict, Send), "what may be sent is chosen"
    return verdict.reason.value


def _state(channel: Channel, verdict: Verdict, now: datetime) -> tuple[State, Reason | None, datetime | None]:
    match verdict:
        case Send():
            return (State.SENT, None, None) if channel is Channel.IN_APP else (State.QUEUED, None, now)
        case Hold(until, reason):
            return State.HELD, reason, until
        case Skip(reason):
            return State.SKIPPED, reason, None


def _new_id() -> UUID:
    return UUID(int=uuid_utils.uuid7().int)


def _publication(message: Message) -> Publication:
    request = message.request
    trigger = request.trigger
    data = MessageChanged(
        customer_id=trigger.customer_id,
        message_id=str(message.id),
        trigger=request.journey,
        template=request.template,
        template_version=message.template_version,
        locale=message.locale,
        channel=message.channel,
        reason=message.reason,
    )
    return announcing.publish(message.state, trigger.at, data, trigger.cause)
