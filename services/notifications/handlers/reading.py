"""Renders the messages of an inbox when they are read."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import structlog

from services.notifications.handlers.library import Library, reader_of
from services.notifications.handlers.library import Shown as Published
from services.notifications.rendering.compiled import Template
from services.notifications.rendering.renderer import Reader, TemplateFailedError
from services.notifications.rules.gate import Recipient
from services.notifications.rules.message import Channel
from services.notifications.rules.notice import complete
from services.notifications.store import customers
from services.notifications.store.messages import InboxMessage
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


async def render(
    source: Pool | Connection, library: Library, customer_id: str, messages: Sequence[InboxMessage]
) -> list[Shown]:
    """The texts of a customer's messages; those that cannot be rendered are left out and logged."""
    if not messages:
        return []
    if isinstance(source, Pool):
        async with source.acquire() as connection:
            return await render(connection, library, customer_id, messages)
    published = await library.open(source)
    reader = reader_of(Recipient(await customers.load(source, customer_id)))
    texts = (_shown(library, published, message, reader) for message in messages)
    return [text for text in texts if text is not None]


def _shown(library: Library, published: Published, message: InboxMessage, reader: Reader) -> Shown | None:
    title, body, locale = message.title, message.body, message.locale
    if title is None or body is None:
        template = published.version(message.template, message.template_version)
        try:
            text = library.renderer.in_app(
                *_in_locale(template, message, library), complete(message.trigger, message.facts or {}), reader
            )
        except TemplateFailedError as error:
            _log.error("inbox_message_not_rendered", message_id=str(message.id), error=str(error))
            return None
        title, body, locale = text.title, text.body, text.locale
    return Shown(message.id, message.trigger, title, body, locale, message.created_at, message.read_at)


def _in_locale(template: Template | None, message: InboxMessage, library: Library) -> tuple[Template, str]:
    locale = None if template is None else template.locale(Channel.IN_APP, message.locale, library.locale)
    if template is None or locale is None:
        raise TemplateFailedError("in_app", "the version of the template has no such text")
    return template, locale
