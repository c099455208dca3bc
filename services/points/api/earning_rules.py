"""Earning rules, as one versioned document."""

from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from services.points.handlers import publishing
from services.points.handlers.publishing import PastError, PublishedError, Written
from services.points.rules.program.document import Document
from services.points.rules.program.faults import DocumentError
from services.points.store import rules
from services.points.store.rules import Version
from shared.contracts.values import Instant
from shared.http.auth import Principal, require
from shared.http.bodies import BOUNDED
from shared.http.idempotency import documented, idempotent
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.preconditions import check_if_match, etag, tagged
from shared.http.preconditions import documented as with_if_match
from shared.http.problems import FieldError, Problem
from shared.postgres.pool import Connection, Pool

_MOST = 2**31 - 1
_WHERE_SET = Field(exclude_if=lambda value: value is None)

VersionNumber = Annotated[int, Path(ge=1, le=_MOST)]


class Warning_(BaseModel):  # noqa: N801 `Warning` is Python's own
    """A doubt about a document that was taken all the same."""

    model_config = ConfigDict(title="Warning")

    pointer: str
    message: str


class VersionView(BaseModel):
    """A version of the earning rules."""

    version: int
    status: Literal["draft", "published"]
    effective_at: Annotated[datetime | None, _WHERE_SET] = None
    created_at: datetime
    published_at: Annotated[datetime | None, _WHERE_SET] = None
    created_by: Annotated[str | None, _WHERE_SET] = Field(default=None, description="Who wrote it, as `key:ID`.")
    changed_by: Annotated[str | None, _WHERE_SET] = Field(default=None, description="Who wrote the draft anew last.")
    published_by: Annotated[str | None, _WHERE_SET] = None
    etag: str
    document: dict[str, Any]
    warnings: Annotated[Sequence[Warning_] | None, _WHERE_SET] = Field(
        default=None, description="What is doubtful about it, told when it is written or published."
    )


class Publishing(BaseModel):
    """When a version takes effect; now unless told."""

    model_config = ConfigDict(extra="forbid")

    effective_at: Instant | None = None


def routes(pool: Pool) -> APIRouter:
    """The routes of earning rules."""
    router = APIRouter(tags=["earning rules"])
    _add_reading(router, pool)
    _add_writing(router, pool)
    return router


def _add_reading(router: APIRouter, pool: Pool) -> None:
    readers = [Depends(require("read", "marketing"))]

    @router.get("/v1/earning-rules", dependencies=readers)
    async def list_versions(limit: Limit = DEFAULT_LIMIT, after: After = None) -> Page[VersionView]:
        cursor = decode_cursor(after, tuple[int])
        # A cursor that somebody made up may lie outside the column's range.
        before = min(max(cursor[0], 0), _MOST) if cursor else _MOST
        found = await rules.page(pool, before, limit + 1)
        shown: Page[Version] = page(found, limit, lambda one: (one.version,))
        return Page(data=[_view(one) for one in shown.data], next=shown.next)

    @router.get("/v1/earning-rules/{version}", response_model=VersionView, dependencies=readers)
    async def read_version(version: VersionNumber) -> Response:
        found = await rules.find(pool, version)
        if found is None:
            raise _not_found()
        return tagged(Response(to_json(_view(found)), 200, media_type="application/json"))


def _add_writing(router: APIRouter, pool: Pool) -> None:
    writer = Depends(require("marketing"))

    @router.post(
        "/v1/earning-rules", status_code=201, response_model=VersionView, openapi_extra=documented(required=False)
    )
    async def draft_version(
        request: Request, document: Annotated[Document, BOUNDED], principal: Annotated[Principal, writer]
    ) -> Response:
        async def run(connection: Connection) -> tuple[int, object]:
            return 201, await _written(publishing.draft(connection, document, datetime.now(UTC), principal.name))

        return tagged(await idempotent(request, pool, principal, False, run))

    @router.put(
        "/v1/earning-rules/{version}",
        response_model=VersionView,
        openapi_extra=with_if_match(required=True),
    )
    async def rewrite_draft(
        request: Request,
        version: VersionNumber,
        document: Annotated[Document, BOUNDED],
        principal: Annotated[Principal, writer],
    ) -> Response:
        async with pool.acquire() as connection, connection.transaction():
            known = await _locked(connection, version)
            if known.effective_at is None:
                check_if_match(request, _etag(known), required=True)
            written = await _written(publishing.rewrite(connection, known, document, datetime.now(UTC), principal.name))
        return tagged(Response(to_json(written), 200, media_type="application/json"))

    @router.post(
        "/v1/earning-rules/{version}/publish",
        response_model=VersionView,
        openapi_extra={
            "parameters": [
                header for one in (documented, with_if_match) for header in one(required=False)["parameters"]
            ]
        },
    )
    async def publish_version(
        request: Request,
        version: VersionNumber,
        principal: Annotated[Principal, writer],
        wanted: Annotated[Publishing | None, BOUNDED] = None,
    ) -> Response:
        effective_at = wanted.effective_at if wanted else None

        async def run(connection: Connection) -> tuple[int, object]:
            known = await _locked(connection, version)
            if known.effective_at is None:
                check_if_match(request, _etag(known))
            try:
                published = publishing.publish(connection, known, effective_at, datetime.now(UTC), principal.name)
                return 200, await _written(published)
            except ValidationError as error:
                raise _invalid_now(error, known) from error

        return tagged(await idempotent(request, pool, principal, False, run))


async def _written(write: Awaitable[Written]) -> VersionView:
    try:
        version, warnings = await write
    except PublishedError as error:
        raise Problem(409, "already_published", "A published version never changes: make the next one.") from error
    except PastError as error:
        field = FieldError(pointer="/effective_at", message="This is in the past.")
        raise Problem(422, "invalid_request", "/effective_at: This is in the past.", (field,)) from error
    except DocumentError as error:
        errors = [FieldError(pointer=one.pointer, message=one.message) for one in error.faults]
        raise Problem(422, "invalid_request", f"{errors[0].pointer}: {errors[0].message}", errors) from error
    told = [Warning_(pointer=one.pointer, message=one.message) for one in warnings]
    return _view(version).model_copy(update={"warnings": told})


def _invalid_now(error: ValidationError, known: Version) -> RequestValidationError:
    """A draft that a release before took, told of as if it had been sent now."""
    return RequestValidationError(
        [{**one, "loc": ("body", *one["loc"])} for one in error.errors()], body=known.document
    )


async def _locked(connection: Connection, version: int) -> Version:
    found = await rules.lock(connection, version)
    if found is None:
        raise _not_found()
    return found


def _not_found() -> Problem:
    return Problem(404, "not_found", "There is no such version.")


def _etag(version: Version) -> str:
    return etag(version.version, version.revision, version.effective_at is not None)


def _view(one: Version) -> VersionView:
    return VersionView(
        version=one.version,
        status="draft" if one.effective_at is None else "published",
        effective_at=one.effective_at,
        created_at=one.created_at,
        published_at=one.published_at,
        created_by=one.created_by,
        changed_by=one.changed_by,
        published_by=one.published_by,
        etag=_etag(one),
        document=one.document,
    )
