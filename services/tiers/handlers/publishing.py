"""What a draft of the tier program is refused and warned about for what only the database shows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import Field

from services.tiers.rules.program.checking import missing_moves
from services.tiers.rules.program.document import ProgramDocument
from services.tiers.rules.program.lint import idle_moves, unpriced
from services.tiers.store import programs, publications, simulations
from shared.contracts.values import Flag
from shared.postgres.orders import count_currencies
from shared.postgres.pool import Connection
from shared.programs.drafting import Published, PublishRequest, RefusedError
from shared.programs.faults import DocumentError, Fault
from shared.programs.store import Version


class PublishTierProgram(PublishRequest):
    """When a version of the tier program takes effect, and why without a simulation."""

    without_simulation: Annotated[
        Flag, Field(description="Publish although no simulation of this very draft is finished; needs a note.")
    ] = False
    note: Annotated[str | None, Field(max_length=500, description="Why; it is stored with the version.")] = None

    @property
    def comment(self) -> str | None:
        """The note."""
        return self.note


async def admit(connection: Connection, published: Published) -> None:
    """Let a version be published that is the last to take effect, moves everybody, and was simulated.

    From its instant on a job applies it to every customer.

    Raises:
        DocumentError: a later version is published, a tier's members have nowhere to go, or the note is missing.
        RefusedError: `simulation_required`, there is no finished simulation of this very draft.
    """
    version, request = published.version, published.request
    assert isinstance(request, PublishTierProgram)
    assert version.effective_at is not None
    # Each version is checked against the one before it: publications wait for each other.
    await programs.lock(connection)
    last = await programs.load_last(connection, version.version)
    faults = missing_moves(last.program, ProgramDocument.model_validate(version.document))
    if version.effective_at <= last.effective_at:
        message = (
            f"version {last.program.version} takes effect at {last.effective_at:%Y-%m-%dT%H:%M:%SZ}: take effect later"
        )
        faults.insert(0, Fault("/effective_at", message))
    if request.without_simulation and not (request.note or "").strip():
        faults.append(Fault("/note", "say why it is published without a simulation"))
    if faults:
        raise DocumentError(faults)
    if not request.without_simulation and not await is_simulated(connection, version):
        raise RefusedError(
            "simulation_required",
            "No simulation of this very draft is finished: simulate it, or publish `without_simulation` with a `note`.",
        )
    assert version.published_at is not None
    await publications.add(connection, version.version, version.effective_at, version.published_at)


async def check_moves(connection: Connection, draft: Version) -> None:
    """Check that a draft says where the members of every tier go that it lacks.

    Raises:
        DocumentError: `moves` lacks a tier of the version that takes effect last.
    """
    last = await programs.load_last(connection, draft.version)
    faults = missing_moves(last.program, ProgramDocument.model_validate(draft.document))
    if faults:
        raise DocumentError(faults)


async def is_simulated(connection: Connection, draft: Version) -> bool:
    """Whether a simulation of this revision of a draft is finished."""
    return await simulations.is_simulated(connection, draft.version, draft.revision)


async def warn(connection: Connection, document: ProgramDocument, _moment: datetime) -> Sequence[Fault]:
    """Warnings about a document beside what customers have bought, and the version that takes effect before it."""
    last = await programs.load_last(connection, None)
    counts = await count_currencies(connection)
    return [*missing_moves(last.program, document), *idle_moves(last.program, document), *unpriced(document, counts)]
