"""Simulations of a draft of the tier program over the real customers."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.tiers.handlers import simulating
from services.tiers.handlers.publishing import check_moves
from services.tiers.rules.program.kind import KIND
from services.tiers.store import programs, simulations
from services.tiers.store.simulations import Moved, Simulation
from shared.contracts.values import Instant
from shared.http.auth import Principal, require
from shared.http.bodies import BOUNDED
from shared.http.fields import OMITTED_IF_NONE
from shared.http.idempotency import documented, idempotent
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.problems import FieldError, Problem
from shared.postgres import slices
from shared.postgres.pool import Connection, Pool
from shared.programs import store
from shared.programs.drafting import Author
from shared.programs.faults import DocumentError, Fault
from shared.programs.kind import Key
from shared.programs.routes import VersionNumber

SimulationId = Annotated[UUID, Path(description="The simulation's id.")]

_READERS: Final = [Depends(require("read", "marketing"))]
_WRITER: Final = Depends(require("marketing"))
_FURTHEST: Final = timedelta(days=3660)
_MOST_RUNNING: Final = 20
_MAX_SLICE: Final = 2**31 - 1


class SimulationRequest(BaseModel):
    """What to simulate."""

    model_config = ConfigDict(extra="forbid")

    at: Annotated[
        Instant | None,
        Field(
            description="The instant from which the draft would be in force, at most ten years ahead; default: now. "
            "What falls due until then is applied, without new events."
        ),
    ] = None


class TierCount(BaseModel):
    """The number of customers in a tier."""

    tier: str = Field(description="Id of the tier.")
    before: int = Field(description="Customers in it by the published versions.")
    after: int = Field(description="Customers in it by the draft.")


class Move(BaseModel):
    """The number of customers whom the draft moves from a tier to another."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    from_: str = Field(alias="from", description="Id of the tier by the published versions.")
    to: str = Field(description="Id of the tier by the draft.")
    customers: int = Field(description="How many customers move.")


class PointsCost(BaseModel):
    """The extra points of a year by the tiers' multipliers."""

    before: int = Field(
        description="By the published versions: the qualifying points of the last 365 days of each "
        "customer, times the multiplier less 1, rounded down."
    )
    after: int = Field(description="The same by the draft.")
    delta: int = Field(description="The difference.")


class Near(BaseModel):
    """The number of customers who nearly reach a tier."""

    tier: str = Field(description="Id of the tier.")
    within_tenth: int = Field(
        description="Customers below it who have at least nine tenths of every need of one of its lists of conditions."
    )


class SimulationResult(BaseModel):
    """What the draft would do to everybody of whom something has counted."""

    customers: int = Field(description="Customers of whom something has counted by then.")
    tiers: list[TierCount] = Field(description="Every tier of the draft, then those that it lacks.")
    moves: list[Move] = Field(description="Who changes the tier.")
    promoted: int = Field(description="Customers who come into a tier with a higher place in its list.")
    demoted: int = Field(description="Customers who come into a tier with a lower place in its list.")
    unchanged: int = Field(description="All others.")
    points_cost: PointsCost
    near: list[Near] = Field(description="Every tier of the draft above the first.")
    at: datetime = Field(description="The instant for which it holds.")


class SimulationView(BaseModel):
    """A simulation: running, done, or failed."""

    id: UUID = Field(description="Id of the simulation.")
    version: int = Field(description="The version that is simulated.")
    at: datetime = Field(description="The instant from which the draft would be in force.")
    state: Literal["running", "done", "failed"] = Field(description="Whether there is a result, or will be one.")
    progress: float = Field(ge=0, le=1, description="The part of the customers that was judged.")
    result: Annotated[SimulationResult | None, OMITTED_IF_NONE] = Field(
        default=None, description="What the draft would do; absent until the simulation is done."
    )
    failure: Annotated[str | None, OMITTED_IF_NONE] = Field(
        default=None, description="Why there is no result, in words; absent unless the simulation failed."
    )

    @classmethod
    def of(cls, simulation: Simulation, progress: float) -> Self:
        """The view of a simulation."""
        found = simulation.result
        result = None if found is None else SimulationResult.model_validate({**found, "at": simulation.wanted.at})
        return cls(
            id=simulation.id,
            version=simulation.wanted.version,
            at=simulation.wanted.at,
            state=simulation.state,
            progress=1 if simulation.state == "done" else progress,
            result=result,
            failure=simulation.failure,
        )


class MovedView(BaseModel):
    """A customer in the result of a simulation."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    customer_id: str = Field(description="Id of the customer.")
    from_: str = Field(alias="from", description="Id of the tier by the published versions.")
    to: str = Field(description="Id of the tier by the draft.")
    why: str = Field(
        examples=["program: silver needs spend 500.00; has 612.50"],
        description="The reason of the change, and what decided it, in words; `unchanged` where nothing changes.",
    )

    @classmethod
    def of(cls, moved: Moved) -> Self:
        """The view of a customer."""
        return cls.model_validate(
            {"customer_id": moved.customer_id, "from": moved.from_tier, "to": moved.to_tier, "why": moved.why}
        )


def routes(pool: Pool) -> APIRouter:
    """The routes of simulations."""
    router = APIRouter(tags=["tier programs"])
    _add_starting(router, pool)
    _add_reading(router, pool)
    return router


def _add_starting(router: APIRouter, pool: Pool) -> None:
    @router.post(
        "/v1/tier-programs/{version}/simulations",
        status_code=202,
        response_model=SimulationView,
        summary="Simulate a draft of the tier program",
        openapi_extra=documented(required=False),
    )
    async def start_simulation(
        request: Request,
        version: VersionNumber,
        principal: Annotated[Principal, _WRITER],
        wanted: Annotated[SimulationRequest | None, BOUNDED] = None,
    ) -> Response:
        """Judge every customer by a draft, in the background, as if it were published; changing the draft voids it."""

        async def run(connection: Connection) -> tuple[int, object]:
            now = datetime.now(UTC)
            simulation = await _start(connection, version, (wanted and wanted.at, now), principal.name)
            return 202, SimulationView.of(simulation, 0)

        return await idempotent(request, pool, principal, False, run)


async def _start(
    connection: Connection, number: int, times: tuple[datetime | None, datetime], principal: str
) -> Simulation:
    wanted_at, now = times
    draft = await store.lock(connection, Key(KIND.name), number)
    if draft is None:
        raise Problem(404, "not_found", "There is no such version.")
    if draft.effective_at is not None:
        raise Problem(409, "already_published", "The version is published: simulate a draft.")
    at = wanted_at or now
    faults = _wrong_instant(at, now) or await _occupied(connection, at)
    if not faults:
        try:
            await check_moves(connection, draft)
        except DocumentError as error:
            faults = list(error.faults)
    if faults:
        errors = [FieldError(pointer=fault.pointer, message=fault.message) for fault in faults]
        raise Problem(422, "invalid_request", f"{errors[0].pointer}: {errors[0].message}", errors)
    if await simulations.count_running(connection) >= _MOST_RUNNING:
        raise Problem(409, "too_many_simulations", f"{_MOST_RUNNING} simulations are running: wait for one of them.")
    return await simulating.start(connection, draft, at, Author(principal, now))


def _wrong_instant(at: datetime, now: datetime) -> list[Fault]:
    if at < now:
        return [Fault("/at", "This is in the past.")]
    return [Fault("/at", "This is more than ten years ahead.")] if at > now + _FURTHEST else []


async def _occupied(connection: Connection, at: datetime) -> list[Fault]:
    """One instant has one version: each is judged after the one before it."""
    versions = await programs.load_versions(connection, at, at)
    taken = [version.version for start, version in versions if start == at]
    return [Fault("/at", f"Version {number} takes effect at this very instant.") for number in taken]


def _add_reading(router: APIRouter, pool: Pool) -> None:
    async def find(simulation_id: UUID) -> Simulation:
        simulation = await simulating.find(pool, simulation_id)
        if simulation is None:
            raise Problem(404, "not_found", "There is no such simulation.")
        return simulation

    @router.get("/v1/simulations/{simulation_id}", summary="Read a simulation", dependencies=_READERS)
    async def read_simulation(simulation_id: SimulationId) -> SimulationView:
        """How far a simulation is, and its result once it is done."""
        simulation = await find(simulation_id)
        return SimulationView.of(simulation, await slices.progress(pool, simulation_id))

    @router.get(
        "/v1/simulations/{simulation_id}/customers", summary="List whom a draft would move", dependencies=_READERS
    )
    async def list_customers(
        simulation_id: SimulationId,
        from_: Annotated[str | None, Query(alias="from", max_length=128, description="Only from this tier.")] = None,
        to: Annotated[str | None, Query(max_length=128, description="Only to this tier; the same: who stays.")] = None,
        limit: Limit = DEFAULT_LIMIT,
        after: After = None,
    ) -> Page[MovedView]:
        """The customers whom the draft moves, in the order of their ids. 409 `not_done` before the result is there."""
        cursor = decode_cursor(after, tuple[int, str])
        # A forged cursor may lie outside the column's range.
        place = cursor and (min(max(cursor[0], 0), _MAX_SLICE), cursor[1])
        simulation = await find(simulation_id)
        if simulation.state != "done":
            raise Problem(409, "not_done", f"The simulation is {simulation.state}: it has no result.")
        found = await simulations.page(pool, simulation_id, (from_, to), place, limit + 1)
        listed = page(found, limit, lambda moved: (moved.slice, moved.customer_id))
        return Page(data=[MovedView.of(moved) for moved in listed.data], next=listed.next)
