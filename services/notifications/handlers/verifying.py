"""Verifies the database."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from services.notifications.rendering import TEMPLATE_VERSION, Reader, Templates
from services.notifications.store import auditing, auditing_webhooks
from services.notifications.store.auditing import Content
from shared.postgres import checks
from shared.postgres.checks import Check
from shared.postgres.pool import Connection, Pool


async def verify(templates: Templates, pool: Pool, sample: int, now: datetime) -> AsyncIterator[Check]:
    """Check the database as of `now`, from one snapshot; render `sample` mails again."""
    async with checks.snapshot(pool) as connection:
        async for check in checks.ask(connection, auditing.queries(now)):
            yield check
        ids = await auditing.sample(connection, sample, TEMPLATE_VERSION)
        yield await checks.judge("mails can be rendered", ids, partial(_not_rendered, connection, templates))
        async for check in checks.ask(connection, auditing_webhooks.queries(now)):
            yield check


async def _not_rendered(connection: Connection, templates: Templates, ids: Sequence[UUID]) -> list[str]:
    return [str(content.id) for content in await auditing.load(connection, ids) if not _renders(templates, content)]


def _renders(templates: Templates, content: Content) -> bool:
    reader = Reader(content.profile.name, content.profile.locale, content.profile.time_zone)
    try:
        templates.mail(content.trigger, content.facts, reader)
    except Exception:  # noqa: BLE001 whatever fails, the mail cannot be rendered
        return False
    return True
