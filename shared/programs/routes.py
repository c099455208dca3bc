"""The routes of documents: `one_document` for a kind that has one, `many_documents` for a kind that has many by id."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field, StringConstraints, ValidationError, create_model
from pydantic_core import to_json

from shared.http.auth import Principal, require
from shared.http.bodies import BOUNDED
from shared.http.idempotency import documented, idempotent
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.preconditions import check_if_match, tagged
from shared.http.preconditions import documented as with_if_match
from shared.http.problems import FieldError, Problem
from shared.postgres.pool import Connection, Pool
from shared.programs import drafting, store
from shared.programs.drafting import AlreadyPublishedError, Author, Program, PublishRequest, RefusedError, Written
from shared.programs.faults import DocumentError
from shared.programs.kind import Key
from shared.programs.store import Summary, Version
from shared.programs.views import (
    DocumentVersionView,
    DocumentView,
    VersionView,
    document_view,
    etag_of,
    view,
    written_view,
)

_MAX_VERSION: Final = 2**31 - 1
_READERS: Final = [Depends(require("read", "marketing"))]
_WRITER: Final = Depends(require("marketing"))

VersionNumber = Annotated[int, Path(ge=1, le=_MAX_VERSION, description="Number of the version.")]
DocumentId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]

Named = Callable[..., Awaitable[Key]]
"""A dependency that returns the document that a path names."""


@dataclass(frozen=True, slots=True)
class Place:
    """Path, tag and noun of a kind's routes: `/v1/templates`, `templates`, `template`."""

    path: str
    tag: str
    noun: str


@dataclass(frozen=True, slots=True)
class _Versions:
    """The common parts of the routes of a document's versions."""

    pool: Pool
    program: Program[Any]
    named: Named
    path: str
    noun: str
    model: type[VersionView]


def one_document(pool: Pool, program: Program[Any], place: Place) -> APIRouter:
    """Routes of a kind that has one document: `{path}`, `{path}/{version}`, `{path}/{version}/publish`."""

    async def named() -> Key:
        return Key(program.kind.name)

    router = APIRouter(tags=[place.tag])
    versions = _Versions(pool, program, named, place.path, place.noun, VersionView)
    _add_reading(router, versions)
    _add_writing(router, versions)
    _add_publishing(router, versions)
    return router


def many_documents(pool: Pool, program: Program[Any], place: Place) -> APIRouter:
    """Routes of a kind that has documents by id: `{path}`, and `{path}/{id}/versions` as for one document."""

    async def named(
        id_: Annotated[DocumentId, Path(alias="id", description=f"Id of the {place.noun}.")],
    ) -> Key:
        return Key(program.kind.name, id_)

    router = APIRouter(tags=[place.tag])
    _add_documents(router, pool, program, place)
    versions = _Versions(pool, program, named, f"{place.path}/{{id}}/versions", place.noun, DocumentVersionView)
    _add_reading(router, versions)
    _add_writing(router, versions)
    _add_publishing(router, versions)
    return router


def _add_documents(router: APIRouter, pool: Pool, program: Program[Any], place: Place) -> None:
    kind = program.kind
    named = Annotated[DocumentId, Field(description=f"Id of the {place.noun}.")]
    new: Any = create_model(f"New{kind.model.__name__}", __base__=kind.model, id=(named, ...))

    @router.get(place.path, summary=f"List the {place.tag}", dependencies=_READERS)
    async def list_documents(limit: Limit = DEFAULT_LIMIT, after: After = None) -> Page[DocumentView]:
        """Every document with its newest version and the version in force, newest document first."""
        cursor = decode_cursor(after, tuple[datetime, str])
        summaries = await store.summaries(pool, kind.name, datetime.now(UTC), cursor, limit + 1)
        listed: Page[Summary] = page(summaries, limit, lambda summary: (summary.created_at, summary.id))
        return Page(data=[document_view(summary) for summary in listed.data], next=listed.next)

    @router.post(
        place.path,
        status_code=201,
        response_model=DocumentVersionView,
        summary=f"Create a {place.noun}",
        openapi_extra=documented(required=False),
    )
    async def create_document(
        request: Request,
        sent: Annotated[new, BOUNDED],  # pyright: ignore[reportInvalidTypeForm, reportUnknownParameterType]
        principal: Annotated[Principal, _WRITER],
    ) -> Response:
        """Check a document and store it as the draft of version 1. 409 `exists` if the id is taken."""
        document = kind.model.model_validate(sent.model_dump(mode="json", by_alias=True, exclude={"id"}))

        async def run(connection: Connection) -> tuple[int, object]:
            key, author = Key(kind.name, sent.id), Author(principal.name, datetime.now(UTC))
            try:
                written = await drafting.create(connection, program, key, document, author)
            except DocumentError as error:
                raise _refused(error) from error
            if written is None:
                raise Problem(409, "exists", f"A {place.noun} with this id exists: create its next version.")
            return 201, written_view(written)

        return tagged(await idempotent(request, pool, principal, False, run))


def _add_reading(router: APIRouter, versions: _Versions) -> None:
    pool, model = versions.pool, versions.model
    name = Depends(versions.named)

    @router.get(
        versions.path,
        response_model=Page[model],
        summary=f"List the versions of the {versions.noun}",
        dependencies=_READERS,
    )
    async def list_versions(key: Annotated[Key, name], limit: Limit = DEFAULT_LIMIT, after: After = None) -> Any:  # noqa: ANN401 see response_model
        """Drafts and published versions, newest first."""
        cursor = decode_cursor(after, tuple[int])
        # A forged cursor may lie outside the column's range.
        before = min(max(cursor[0], 0), _MAX_VERSION) if cursor else _MAX_VERSION
        rows = await store.page(pool, key, before, limit + 1)
        if not rows and cursor is None:
            raise _not_found(f"There is no such {versions.noun}.")
        listed: Page[Version] = page(rows, limit, lambda version: (version.version,))
        return Page[model](data=[view(version) for version in listed.data], next=listed.next)

    @router.get(
        f"{versions.path}/{{version}}",
        response_model=model,
        summary=f"Read a version of the {versions.noun}",
        dependencies=_READERS,
    )
    async def read_version(key: Annotated[Key, name], version: VersionNumber) -> Response:
        """The version with its document. The header `ETag` is what `If-Match` of a write takes."""
        stored = await store.find(pool, key, version)
        if stored is None:
            raise _not_found()
        return tagged(Response(to_json(view(stored)), 200, media_type="application/json"))


def _add_writing(router: APIRouter, versions: _Versions) -> None:
    pool, program = versions.pool, versions.program
    kind, name = program.kind, Depends(versions.named)

    @router.post(
        versions.path,
        status_code=201,
        response_model=versions.model,
        summary=f"Draft a version of the {versions.noun}",
        openapi_extra=documented(required=False),
    )
    async def draft_version(
        request: Request,
        document: Annotated[kind.model, BOUNDED],  # pyright: ignore[reportInvalidTypeForm, reportUnknownParameterType]
        principal: Annotated[Principal, _WRITER],
        key: Annotated[Key, name],
    ) -> Response:
        """Check a document and store it as the draft of the next version. Warnings do not refuse it."""

        async def run(connection: Connection) -> tuple[int, object]:
            author = Author(principal.name, datetime.now(UTC))
            return 201, await _answer(drafting.draft(connection, program, key, document, author))

        return tagged(await idempotent(request, pool, principal, False, run))

    @router.put(
        f"{versions.path}/{{version}}",
        response_model=versions.model,
        summary=f"Replace a draft of the {versions.noun}",
        openapi_extra=with_if_match(required=True),
    )
    async def rewrite_draft(
        request: Request,
        version: VersionNumber,
        document: Annotated[kind.model, BOUNDED],  # pyright: ignore[reportInvalidTypeForm, reportUnknownParameterType]
        principal: Annotated[Principal, _WRITER],
        key: Annotated[Key, name],
    ) -> Response:
        """Check a document and store it in place of the draft's. 409 `already_published` if it is not a draft."""
        async with pool.acquire() as connection, connection.transaction():
            locked = await _locked(connection, key, version)
            if locked.effective_at is None:
                check_if_match(request, etag_of(locked), required=True)
            author = Author(principal.name, datetime.now(UTC))
            written = await _answer(drafting.rewrite(connection, program, locked, document, author))
        return tagged(Response(to_json(written), 200, media_type="application/json"))


def _add_publishing(router: APIRouter, versions: _Versions) -> None:
    pool, program = versions.pool, versions.program
    name = Depends(versions.named)
    body: Any = program.request | None
    headers = [header for document in (documented, with_if_match) for header in document(required=False)["parameters"]]

    @router.post(
        f"{versions.path}/{{version}}/publish",
        response_model=versions.model,
        summary=f"Publish a draft of the {versions.noun}",
        openapi_extra={"parameters": headers},
    )
    async def publish_version(
        request: Request,
        version: VersionNumber,
        principal: Annotated[Principal, _WRITER],
        key: Annotated[Key, name],
        wanted: Annotated[body, BOUNDED] = None,  # pyright: ignore[reportInvalidTypeForm, reportUnknownParameterType]
    ) -> Response:
        """Check the draft again and put it into force, now or at an instant ahead. From then on it never changes."""
        sent: PublishRequest = wanted or program.request()

        async def run(connection: Connection) -> tuple[int, object]:
            locked = await _locked(connection, key, version)
            if locked.effective_at is None:
                check_if_match(request, etag_of(locked))
            author = Author(principal.name, datetime.now(UTC))
            try:
                return 200, await _answer(drafting.publish(connection, program, locked, sent, author))
            except ValidationError as error:
                raise _invalid_now(error, locked) from error

        return tagged(await idempotent(request, pool, principal, False, run))


async def _answer(write: Awaitable[Written]) -> VersionView:
    try:
        return written_view(await write)
    except AlreadyPublishedError as error:
        raise Problem(409, "already_published", "A published version never changes: make the next one.") from error
    except RefusedError as error:
        raise Problem(409, error.code, error.detail) from error
    except DocumentError as error:
        raise _refused(error) from error


def _refused(error: DocumentError) -> Problem:
    errors = [FieldError(pointer=fault.pointer, message=fault.message) for fault in error.faults]
    return Problem(422, "invalid_request", f"{errors[0].pointer}: {errors[0].message}", errors)


def _invalid_now(error: ValidationError, stored: Version) -> RequestValidationError:
    """The answer for a draft that an earlier release accepted: the same as if it were sent now."""
    errors = [{**cast("dict[str, Any]", fault), "loc": ("body", *fault["loc"])} for fault in error.errors()]
    return RequestValidationError(errors, body=stored.document)


async def _locked(connection: Connection, key: Key, version: int) -> Version:
    locked = await store.lock(connection, key, version)
    if locked is None:
        raise _not_found()
    return locked


def _not_found(detail: str = "There is no such version.") -> Problem:
    return Problem(404, "not_found", detail)
