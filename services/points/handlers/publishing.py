"""Earning rules: drafts are written and checked, then published to take effect."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from services.points.rules.program import checking
from services.points.rules.program import document as documents
from services.points.rules.program.document import Document
from services.points.rules.program.faults import Fault
from services.points.rules.program.lint import lint
from services.points.store import rules
from services.points.store.rules import Version
from shared.postgres.pool import Connection


class PublishedError(Exception):
    """The version is published: it never changes."""


class PastError(Exception):
    """A version cannot take effect in the past: what was judged by then was judged."""


class Written(NamedTuple):
    """A version as it is now, and doubts about it."""

    version: Version
    warnings: Sequence[Fault]


async def draft(connection: Connection, document: Document, now: datetime, principal: str) -> Written:
    """Keep a document as the next version.

    Raises:
        DocumentError: its parts do not go together.
    """
    checking.check(document)
    warnings = await _doubts(document, now)
    return Written(await rules.insert(connection, documents.dump(document), now, principal), warnings)


async def rewrite(connection: Connection, known: Version, document: Document, now: datetime, principal: str) -> Written:
    """Write a locked draft anew.

    Raises:
        PublishedError: it is no draft any more.
        DocumentError: the document's parts do not go together.
    """
    if known.effective_at is not None:
        raise PublishedError
    checking.check(document)
    warnings = await _doubts(document, now)
    return Written(await rules.update(connection, known.version, documents.dump(document), principal), warnings)


async def publish(
    connection: Connection, known: Version, effective_at: datetime | None, now: datetime, principal: str
) -> Written:
    """Let a locked draft take effect at an instant, now unless told.

    Raises:
        PublishedError: it was published before.
        PastError: the instant is over.
        DocumentError: the document's parts do not go together.
    """
    if known.effective_at is not None:
        raise PublishedError
    if effective_at is not None and effective_at < now:
        raise PastError
    document = checking.parse(known.document)
    starts = effective_at or now
    warnings = await _doubts(document, starts)
    return Written(await rules.publish(connection, known.version, now, starts, principal), warnings)


async def _doubts(document: Document, now: datetime) -> Sequence[Fault]:
    # A large document takes a while: other requests are answered meanwhile.
    return await asyncio.to_thread(lint, document, now)
