"""The responses of the routes of documents."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.http.preconditions import etag
from shared.programs.drafting import Written
from shared.programs.kind import ONLY
from shared.programs.store import Summary, Version

_WHERE_SET = Field(exclude_if=lambda value: value is None)


class Warning_(BaseModel):  # noqa: N801 `Warning` is Python's own
    """A warning about a document that is accepted nevertheless."""

    model_config = ConfigDict(title="Warning")

    pointer: str = Field(description="JSON pointer (RFC 6901) to the place in the document.")
    message: str = Field(description="What is doubtful there, in words.")


class VersionView(BaseModel):
    """A version of a document: a draft, or published for good."""

    version: int = Field(description="Number of the version, counted from 1.")
    status: Literal["draft", "published"] = Field(description="A draft can be replaced, a published version cannot.")
    effective_at: Annotated[datetime | None, _WHERE_SET] = Field(
        default=None, description="Instant from which the version is in force; absent in a draft."
    )
    created_at: datetime = Field(description="When the draft was created.")
    published_at: Annotated[datetime | None, _WHERE_SET] = Field(
        default=None, description="When the version was published; absent in a draft."
    )
    created_by: Annotated[str | None, _WHERE_SET] = Field(
        default=None,
        description="Who created the draft, as `key:ID` or `token:SUB`; absent if it ships with the product.",
    )
    changed_by: Annotated[str | None, _WHERE_SET] = Field(
        default=None, description="Who replaced the draft last; absent if nobody did."
    )
    published_by: Annotated[str | None, _WHERE_SET] = Field(
        default=None, description="Who published the version; absent in a draft."
    )
    note: Annotated[str | None, _WHERE_SET] = Field(
        default=None, description="What the publisher wrote about the publication, if anything."
    )
    etag: str = Field(description="Entity tag for `If-Match`; equal to the header `ETag`.")
    document: dict[str, Any] = Field(description="The document, with every default spelled out.")
    warnings: Annotated[Sequence[Warning_] | None, _WHERE_SET] = Field(
        default=None, description="What is doubtful about the document; only in answers to writes."
    )


class DocumentVersionView(VersionView):
    """A version of one of many documents: a draft, or published for good."""

    id: str = Field(description="Id of the document.")


class DocumentView(BaseModel):
    """One of many documents, without its content."""

    id: str = Field(description="Id of the document.")
    created_at: datetime = Field(description="When its first version was created.")
    newest: int = Field(description="Number of its newest version, draft or published.")
    in_force: Annotated[int | None, _WHERE_SET] = Field(
        default=None, description="Number of the version in force now; absent if none is."
    )


def etag_of(version: Version) -> str:
    """The entity tag of a version: it changes with every write."""
    return etag(version.version, version.revision, version.effective_at is not None)


def view(version: Version) -> VersionView:
    """A version as the API shows it."""
    shown = VersionView(
        version=version.version,
        status="draft" if version.effective_at is None else "published",
        effective_at=version.effective_at,
        created_at=version.created_at,
        published_at=version.published_at,
        created_by=version.created_by,
        changed_by=version.changed_by,
        published_by=version.published_by,
        note=version.note,
        etag=etag_of(version),
        document=version.document,
    )
    return shown if version.id == ONLY else DocumentVersionView(**dict(shown), id=version.id)


def written_view(written: Written) -> VersionView:
    """A version as the answer to its write shows it, with its warnings."""
    warnings = [Warning_(pointer=fault.pointer, message=fault.message) for fault in written.warnings]
    return view(written.version).model_copy(update={"warnings": warnings})


def document_view(summary: Summary) -> DocumentView:
    """A document as the list of its kind shows it."""
    return DocumentView(id=summary.id, created_at=summary.created_at, newest=summary.newest, in_force=summary.in_force)
