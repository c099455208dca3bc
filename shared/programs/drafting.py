"""Writes drafts and publishes them, within a transaction of the caller."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Generic, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.values import Instant
from shared.postgres.pool import Connection
from shared.programs import store
from shared.programs.faults import DocumentError, Fault
from shared.programs.kind import D, Key, Kind, dump, examine
from shared.programs.store import Publication, Version

# One thread: checks and lints are Python, so each further thread would only slow the event loop down more.
_EXAMINERS: Final = ThreadPoolExecutor(1, "programs")


class AlreadyPublishedError(Exception):
    """The version is published: it never changes."""


class RefusedError(Exception):
    """The service does not let a version be published; `code` is for programs, `detail` for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class PublishRequest(BaseModel):
    """When a version takes effect."""

    model_config = ConfigDict(extra="forbid")

    effective_at: Annotated[
        Instant | None,
        Field(description="The instant from which the version is in force, not in the past; default: now."),
    ] = None

    @property
    def comment(self) -> str | None:
        """The note that is stored with the version; a kind whose requests have one returns it."""
        return None


class Published(NamedTuple):
    """A version that was just published, within the same transaction."""

    key: Key
    version: Version
    request: PublishRequest
    """The body of the request: the kind's own model, where it has one."""


async def _admit_all(_connection: Connection, _document: Any) -> None:  # noqa: ANN401 any document
    pass


async def _warn_of_nothing(_connection: Connection, _document: Any, _moment: datetime) -> Sequence[Fault]:  # noqa: ANN401 any document
    return ()


async def _trigger_nothing(_connection: Connection, _published: Published) -> None:
    pass


@dataclass(frozen=True, eq=False)
class Program(Generic[D]):
    """A kind of document with what its service does in the transaction of a write.

    `admit` refuses a document for what only the database shows (a journey's template that does not exist), at draft and
    at publish. `warn` returns the warnings that only the database shows, about a document that would be in force from
    an instant on. `on_publish` does what publishing triggers; it may refuse too. `admit` and `on_publish` raise
    `DocumentError` for what is wrong in the document or in the request, and `RefusedError` for anything else.
    """

    kind: Kind[D, Any]
    admit: Callable[[Connection, D], Awaitable[None]] = _admit_all
    on_publish: Callable[[Connection, Published], Awaitable[None]] = _trigger_nothing
    request: type[PublishRequest] = PublishRequest
    warn: Callable[[Connection, D, datetime], Awaitable[Sequence[Fault]]] = _warn_of_nothing


class Author(NamedTuple):
    """The author of a write, and its time."""

    principal: str
    now: datetime


class Written(NamedTuple):
    """A version as it was just written, and the warnings about it."""

    version: Version
    warnings: Sequence[Fault]


async def draft(connection: Connection, program: Program[D], key: Key, document: D, author: Author) -> Written:
    """Store a document as the next version of a document, which may be new.

    Raises:
        DocumentError: the document is refused.
    """
    warnings = await _examine(connection, program, document, author.now)
    version = await store.insert(connection, key, dump(document), author.now, author.principal)
    return Written(version, warnings)


async def create(connection: Connection, program: Program[D], key: Key, document: D, author: Author) -> Written | None:
    """Store a document as version 1 of a new document; None if a document has this id.

    Raises:
        DocumentError: the document is refused.
    """
    warnings = await _examine(connection, program, document, author.now)
    version = await store.insert_first(connection, key, dump(document), author.now, author.principal)
    return None if version is None else Written(version, warnings)


async def rewrite(connection: Connection, program: Program[D], locked: Version, document: D, author: Author) -> Written:
    """Replace the document of a locked draft.

    Raises:
        AlreadyPublishedError: the version is not a draft any more.
        DocumentError: the document is refused.
    """
    if locked.effective_at is not None:
        raise AlreadyPublishedError
    warnings = await _examine(connection, program, document, author.now)
    key = Key(program.kind.name, locked.id)
    return Written(await store.update(connection, key, locked.version, dump(document), author.principal), warnings)


async def publish(
    connection: Connection, program: Program[Any], locked: Version, request: PublishRequest, author: Author
) -> Written:
    """Publish a locked draft, and do what that triggers.

    Raises:
        AlreadyPublishedError: the version was published before.
        DocumentError: the instant is in the past, or the document is refused by now.
        pydantic.ValidationError: the model does not take the stored draft any more.
        RefusedError: the service does not let it be published.
    """
    if locked.effective_at is not None:
        raise AlreadyPublishedError
    effective_at = request.effective_at or author.now
    if effective_at < author.now:
        raise DocumentError([Fault("/effective_at", "This is in the past.")])
    document = program.kind.model.model_validate(locked.document)
    warnings = await _examine(connection, program, document, effective_at)
    key = Key(program.kind.name, locked.id)
    publication = Publication(author.now, effective_at, author.principal, request.comment)
    version = await store.publish(connection, key, locked.version, publication)
    await program.on_publish(connection, Published(key, version, request))
    return Written(version, warnings)


async def _examine(connection: Connection, program: Program[D], document: D, moment: datetime) -> Sequence[Fault]:
    # A large document takes a while, during which other requests are answered.
    loop = asyncio.get_running_loop()
    warnings = await loop.run_in_executor(_EXAMINERS, examine, program.kind, document, moment)
    await program.admit(connection, document)
    return [*warnings, *await program.warn(connection, document, moment)]
