"""A kind of document as a service would define it: toys, whose parts must be unique."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from shared.postgres.pool import Connection
from shared.programs.drafting import Program, Published, PublishRequest, RefusedError
from shared.programs.faults import DocumentError, Fault, pointer
from shared.programs.kind import Kind

Json = dict[str, Any]


class Toy(BaseModel):
    """A toy."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    from_: Annotated[str, Field(alias="from")] = "wood"
    size: Annotated[int, Field(strict=True, ge=1)]
    parts: tuple[str, ...] = ()


class CompiledToy(NamedTuple):
    version: int
    toy: Toy


def check(toy: Toy) -> None:
    faults = [
        Fault(pointer("parts", index), "listed twice")
        for index, part in enumerate(toy.parts)
        if part in toy.parts[:index]
    ]
    if faults:
        raise DocumentError(faults)


def lint(toy: Toy, moment: datetime) -> Sequence[Fault]:
    return [Fault("/size", f"too large for {moment:%Y}")] if toy.size > 100 else []


class Note(PublishRequest):
    """A toy is published with a note."""

    note: str | None = None


async def admit(connection: Connection, toy: Toy) -> None:
    """Refuse parts that are not in the database; the names of tables stand in for a table of parts."""
    for index, part in enumerate(toy.parts):
        if part.startswith("table:") and not await connection.fetchval("SELECT to_regclass($1)", part[6:]):
            raise DocumentError([Fault(pointer("parts", index), "no such table")])


async def on_publish(connection: Connection, published: Published) -> None:
    """Publish an event through the outbox; refuse a toy that has neither a note nor a part."""
    assert isinstance(published.request, Note)
    if not published.version.document["parts"] and published.request.note is None:
        raise RefusedError("note_required", "Publish an empty toy with a note.")
    if published.request.note == "":
        raise DocumentError([Fault("/note", "A note is not empty.")])
    value = f"{published.key.id}/{published.version.version}".encode()
    await connection.execute("INSERT INTO outbox (topic, key, value) VALUES ('toys', '', $1)", value)


async def warn(connection: Connection, toy: Toy, moment: datetime) -> Sequence[Fault]:
    """Warn about a material that is not in the database."""
    if not toy.from_.startswith("table:") or await connection.fetchval("SELECT to_regclass($1)", toy.from_[6:]):
        return []
    return [Fault("/from", f"no such table in {moment:%Y}")]


TOYS = Kind("toy", Toy, check, lint, CompiledToy)
TOY_PROGRAM = Program(TOYS, admit, on_publish, Note, warn)

BOX = Kind("toy_box", Toy, check, lint, CompiledToy)
"""A kind that has a single document."""
