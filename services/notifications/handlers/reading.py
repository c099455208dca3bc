"""Renders the messages of an inbox when they are read."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import structlog

from services.notifications.handlers import announcing
from services.notifications.handlers.library import Library, reader_of
from services.notifications.handlers.library import Shown as Published
from services.notifications.rendering.compiled import Template
from services.notifications.rendering.renderer import Reader, TemplateFailedError
from services.notifications.rules.message import Channel, Reason, State
from services.notifications.rules.notice import complete
from services.notifications.store import customers, recipients
from services.notifications.store import messages as store
from services.notifications.store.messages import FailedMessage, InboxMessage
from shared.contracts.envelope import Cause, Publication
from shared.contracts.loyalty import MessageChanged
from shared.postgres.pool import Connection, Pool

_log = structlog.stdlib.get_logger(__name__)


class Shown(NamedTuple):
    """A message of the inbox with its text."""

    id: UUID
    trigger: str
    title: str
    body: str
    locale: str
    created_at: datetime
    read_at: datetime | None


async def show(pool: Pool, library: Library, customer_id: str, messages: Sequence[InboxMessage]) -> list[Shown]:
    """The texts of a customer's messages. Those that cannot be rendered are left out, and have failed from then on."""
    if not messages:
        return []
    async with pool.acquire() as connection:
        shown = await render(connection, library, customer_id, messages)
        failed = {message.id for message in messages} - {text.id for text in shown}
        if failed:
            await _fail(connection, customer_id, sorted(failed))
    return shown


async def render(
    connection: Connection, library: Library, customer_id: str, messages: Sequence[InboxMessage]
) -> list[Shown]:
    """The texts of a customer's messages; those that cannot be rendered are left out and logged."""
    published = await library.open(connection)
    profile = await customers.load(connection, customer_id)
    known = await recipients.load(connection, {customer_id: profile}, (), datetime.now(UTC))
    reader = reader_of(known[customer_id])
    texts = (_shown(library, published, message, reader) for message in messages)
    return [text for text in texts if text is not None]


async def _fail(connection: Connection, customer_id: str, ids: Sequence[UUID]) -> None:
    async with connection.transaction():
        await customers.lock(connection, [customer_id])
        failed = await store.fail(connection, ids, datetime.now(UTC))
        await announcing.announce(connection, [_of_failure(message) for message in failed])


def _of_failure(message: FailedMessage) -> Publication:
    data = MessageChanged(
        customer_id=message.customer_id,
        message_id=str(message.id),
        trigger=message.trigger,
        template=message.template,
        template_version=message.template_version,
        locale=message.locale,
        channel=Channel.IN_APP,
        reason=Reason.TEMPLATE_ERROR,
    )
    cause = Cause(message.correlation_id, message.causation_id, message.traceparent)
    return announcing.publish(State.FAILED, message.occurred_at, data, cause)


def _shown(library: Library, published: Published, message: InboxMessage, reader: Reader) -> Shown | None:
    title, body, locale = message.title, message.body, message.locale
    if title is None or body is None:
        template = published.version(message.template, message.template_version)
        try:
            text = library.renderer.in_app(
                *_in_locale(template, reader, library), complete(message.trigger, message.facts or {}), reader
            )
        except TemplateFailedError as error:
            _log.error("inbox_message_not_rendered", message_id=str(message.id), error=str(error))
            return None
        title, body, locale = text.title, text.body, text.locale
    return Shown(message.id, message.trigger, title, body, locale, message.created_at, message.read_at)


def _in_locale(template: Template | None, reader: Reader, library: Library) -> tuple[Template, str]:
    locale = None if template is None else template.locale(Channel.IN_APP, reader.locale, library.locale)
    if template is None or locale is None:
        raise TemplateFailedError("in_app", "the version of the template has no such text")
    return template, locale
