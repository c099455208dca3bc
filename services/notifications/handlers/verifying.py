"""Verifies the database."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from services.notifications.handlers.library import Library, Shown, reader_of
from services.notifications.rules.gate import Recipient
from services.notifications.rules.notice import complete
from services.notifications.store import auditing, auditing_runs, auditing_webhooks, searching, totals
from services.notifications.store.auditing import Content
from shared.postgres import checks
from shared.postgres.checks import Check
from shared.postgres.pool import Connection, Pool


async def verify(library: Library, pool: Pool, sample: int, now: datetime) -> AsyncIterator[Check]:
    """Check the database as of `now`, from one snapshot; render `sample` messages again."""
    async with checks.snapshot(pool) as connection:
        async for check in checks.ask(connection, (*auditing.queries(now), *auditing_runs.queries(now))):
            yield check
        ids = await auditing.sample(connection, sample)
        shown = await library.open(connection)
        yield await checks.judge("messages can be rendered", ids, partial(_not_rendered, connection, library, shown))
        async for check in checks.ask(connection, (*auditing_webhooks.queries(now), searching.QUERY, totals.QUERY)):
            yield check


async def _not_rendered(connection: Connection, library: Library, shown: Shown, ids: Sequence[UUID]) -> list[str]:
    return [
        str(content.id) for content in await auditing.load(connection, ids) if not _renders(library, shown, content)
    ]


def _renders(library: Library, shown: Shown, content: Content) -> bool:
    template = shown.version(content.template, content.template_version)
    if template is None or content.channel not in template.locales:
        return False
    try:
        locale = template.locale(content.channel, content.locale, library.locale)
        assert locale is not None, "the default locale is on every channel"
        facts = complete(content.trigger, content.facts)
        library.templates.render(template, content.channel, locale, facts, reader_of(Recipient(content.profile)))
    except Exception:  # noqa: BLE001 whatever fails, the message cannot be rendered
        return False
    return True
