"""Records what became of messages after they were sent, and tells of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from services.notifications.handlers import announcing
from services.notifications.handlers.announcing import SOURCE
from services.notifications.rules import mark as marks
from services.notifications.rules.mark import BY_MACHINE, UNTOLD, Mark
from services.notifications.store import customers
from services.notifications.store import marks as stored
from services.notifications.store.marks import Sent
from shared.contracts.envelope import Cause, Publication, publication
from shared.contracts.loyalty import MessageChanged
from shared.postgres.pool import Connection

_SOONEST: Final = timedelta(seconds=2)
"""No person opens a message so soon after it was sent; scanners of mail servers do."""


class Marking(NamedTuple):
    """A mark of a message, when it was set, and the reason that is told with it."""

    message: Sent
    mark: Mark
    at: datetime
    reason: str | None = None


async def visit(connection: Connection, message_id: UUID, mark: Mark, *, by_person: bool, now: datetime) -> None:
    """Record that a message was opened, or a link in it followed (`mark`: by a person); an unknown one is none."""
    message = (await stored.find(connection, [message_id])).get(message_id)
    if message is None:
        return
    is_soon = message.sent_at is None or now - message.sent_at < _SOONEST
    by_machine = {human: machine for machine, human in BY_MACHINE.items()}
    wanted = mark if by_person and not is_soon else by_machine[mark]
    known = {known for known, _ in (await stored.of(connection, [message_id])).get(message_id, ())}
    if wanted not in known:
        await customers.lock(connection, [message.customer_id])
        await record(connection, [Marking(message, wanted, now)])


async def record(connection: Connection, markings: Sequence[Marking], cause: str | None = None) -> None:
    """Set marks of messages of locked customers, and tell of those that are new.

    What a machine did is not told once a person did it. `cause` is the request that brought the news.
    """
    before = await stored.of(connection, [marking.message.id for marking in markings])
    new = await stored.add(connection, [(marking.message.id, marking.mark, marking.at) for marking in markings])
    told = [
        _publication(marking, cause)
        for marking in markings
        if (marking.message.id, marking.mark) in new and _is_told(marking, before)
    ]
    await announcing.announce(connection, told)


def _is_told(marking: Marking, before: Mapping[UUID, Sequence[tuple[Mark, datetime]]]) -> bool:
    known = {mark for mark, _ in before.get(marking.message.id, ())}
    return marking.mark not in UNTOLD and BY_MACHINE.get(marking.mark) not in known


def _publication(marking: Marking, cause: str | None) -> Publication:
    message = marking.message
    data = MessageChanged(
        customer_id=message.customer_id,
        message_id=str(message.id),
        trigger=message.trigger,
        template=message.template,
        template_version=message.template_version,
        locale=message.locale,
        channel=message.channel,
        reason=marking.reason,
        journey=message.trigger,
        run_id=None if message.run_id is None else str(message.run_id),
        human=marks.is_human(marking.mark),
    )
    root = message.cause
    caused = root if cause is None else Cause(root.correlation_id, cause, root.traceparent)
    return publication(marks.type_of(marking.mark), marking.at, data, caused, SOURCE)
