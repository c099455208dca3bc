"""The routes for operators that every service has: its state, and its dead letters, which can be replayed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from shared.contracts.reasons import Reason
from shared.http.auth import Principal, Scope, require
from shared.http.idempotency import documented, idempotent
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.problems import Problem
from shared.messaging import dead_letters, outbox, reports
from shared.messaging.application import HandlerFailedError
from shared.messaging.dead_letters import DeadLetter, Filter
from shared.messaging.worker import WorkerSpec
from shared.postgres.pool import Connection, Pool
from shared.process import replaying
from shared.process.dead_letters import details, summary

AT_ONCE: Final = 200
"""Maximum number of dead letters that a request replays."""

_FROZEN: Final = ConfigDict(frozen=True)
_BIGINT: Final = 2**63 - 1

LetterId = Annotated[int, Path(alias="id", ge=0, le=_BIGINT, description="Id of the dead letter.")]
OfReason = Annotated[Reason | None, Query(description="Only dead letters with this reason.")]


class PositionView(BaseModel):
    """How far a partition is handled."""

    model_config = _FROZEN

    cluster_id: str = Field(description="Id of the Kafka cluster.")
    topic: str = Field(description="The topic.")
    partition: int = Field(description="The partition.")
    next_offset: int = Field(description="The offset of the next record to handle.")
    updated_at: datetime = Field(description="When the position moved last.")
    lag: int | None = Field(description="Records to handle up to the end of the log; null if no worker saw it.")
    observed_at: datetime | None = Field(description="When a worker saw the end of the log last.")


class OutboxView(BaseModel):
    """Events that are not published yet."""

    model_config = _FROZEN

    rows: int = Field(description="Number of events.")
    age_seconds: float = Field(description="Age of the oldest in seconds; 0 if there is none.")


class ReasonCount(BaseModel):
    """The dead letters of a reason."""

    model_config = _FROZEN

    reason: str = Field(description="Why the records were refused.")
    count: int = Field(description="Number of dead letters.")
    newest_at: datetime = Field(description="When the newest was recorded.")


class JobView(BaseModel):
    """The last run of a scheduled job, on any worker."""

    model_config = _FROZEN

    name: str = Field(description="Name of the job.")
    started_at: datetime = Field(description="When it started.")
    seconds: float = Field(description="How long it took, in seconds.")
    error: str | None = Field(description="The kind of error that ended it; null if it succeeded.")


class OperationsView(BaseModel):
    """The state of a service, for operators."""

    model_config = _FROZEN

    service: str = Field(description="Name of the service.")
    positions: Sequence[PositionView] = Field(description="The position and lag of each partition.")
    outbox: OutboxView = Field(description="What waits to be published.")
    dead_letters: Sequence[ReasonCount] = Field(description="The dead letters by reason.")
    jobs: Sequence[JobView] = Field(description="The jobs that ever ran, by name.")


class LetterView(BaseModel):
    """A refused record, without its content."""

    model_config = _FROZEN

    id: int = Field(description="Id of the dead letter.")
    topic: str = Field(description="Topic of the record.")
    partition: int = Field(description="Partition of the record.")
    offset: int = Field(description="Offset of the record.")
    key: str | None = Field(description="Key of the record, at most its first 1,024 bytes.")
    type: str | None = Field(description="Type of the event, if it could be read.")
    reason: str = Field(description="Why it was refused.")
    error: str = Field(description="What is wrong with it.")
    recorded_at: datetime = Field(description="When it was refused.")
    customers: Sequence[str] = Field(description="The customers that the record names.")
    erased_at: datetime | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="When its content was erased with a customer; absent if it was not.",
    )


class WholeLetterView(LetterView):
    """A refused record with its content; bytes that are not UTF-8 are escaped."""

    key: str | None = Field(description="Key of the record.")
    value: str | None = Field(description="Value of the record.")
    headers: dict[str, str | list[str | None] | None] = Field(
        description="Headers by name; a repeated name has a list of contents."
    )
    timestamp: datetime = Field(description="Timestamp of the record.")


class ReplayView(BaseModel):
    """What came of a replay."""

    model_config = _FROZEN

    handled: int = Field(description="Records that were handled.")
    refused: int = Field(description="Records that were refused again; each is a new dead letter.")
    erased: int = Field(description="Dead letters that cannot be replayed: erased with their customer.")
    next: int | None = Field(
        description="Send it as `after` to replay the next ones of the reason; null when none is left."
    )

    @classmethod
    def of(cls, done: replaying.Replayed, following: int | None = None) -> Self:
        """The view of a replay; `following` is the id after which more are left."""
        return cls(handled=done.handled, refused=done.refused, erased=len(done.erased), next=following)


def routes(spec: WorkerSpec, pool: Pool) -> APIRouter:
    """The routes of operations of a service."""
    router = APIRouter(tags=[spec.service], prefix=f"/v1/{spec.service}")
    _add_state(router, spec, pool)
    _add_letters(router, pool)
    _add_replays(router, spec, pool)
    return router


def _add_state(router: APIRouter, spec: WorkerSpec, pool: Pool) -> None:
    @router.get("/operations", dependencies=[_ADMIN], summary="Get the state of the service")
    async def operations() -> OperationsView:
        """Returns positions and lag, the outbox, the dead letters by reason, and the last run of each job."""
        rows, age = await outbox.waiting(pool, datetime.now(UTC))
        return OperationsView(
            service=spec.service,
            positions=[PositionView.model_validate(dict(row)) for row in await reports.positions(pool)],
            outbox=OutboxView(rows=rows, age_seconds=age),
            dead_letters=[ReasonCount.model_validate(dict(row)) for row in await dead_letters.counts(pool)],
            jobs=[
                JobView(name=run.job, started_at=run.started_at, seconds=run.seconds, error=run.error)
                for run in await reports.jobs(pool)
            ],
        )


def _add_letters(router: APIRouter, pool: Pool) -> None:
    @router.get("/dead-letters", dependencies=[_ADMIN], summary="List the dead letters")
    async def letters(
        reason: OfReason = None,
        customer_id: Annotated[
            str | None, Query(max_length=128, description="Only records that name this customer.")
        ] = None,
        limit: Limit = DEFAULT_LIMIT,
        after: After = None,
    ) -> Page[LetterView]:
        """Returns refused records, newest first, without their content."""
        cursor = decode_cursor(after, tuple[int])
        async with pool.acquire() as connection:
            found = await dead_letters.page(
                connection, Filter(reason, customer_id), cursor[0] if cursor else None, limit + 1
            )
        current = page(found, limit, lambda letter: (letter.id,))
        return Page(data=[LetterView.model_validate(summary(letter)) for letter in current.data], next=current.next)

    @router.get("/dead-letters/{id}", dependencies=[_ADMIN], summary="Get a dead letter")
    async def letter(letter_id: LetterId) -> WholeLetterView:
        """Returns a refused record with its content."""
        async with pool.acquire() as connection:
            return _whole(await dead_letters.find(connection, letter_id))


def _whole(letter: DeadLetter | None) -> WholeLetterView:
    if letter is None:
        raise _unknown()
    return WholeLetterView.model_validate(details(letter))


def _add_replays(router: APIRouter, spec: WorkerSpec, pool: Pool) -> None:
    @router.post(
        "/dead-letters/replay",
        response_model=ReplayView,
        summary="Replay the dead letters of a reason",
        openapi_extra=documented(required=False),
    )
    async def replay_all(
        request: Request,
        principal: Annotated[Principal, _ADMIN],
        reason: Annotated[Reason, Query(description="The reason.")],
        after: Annotated[
            int,
            Query(ge=0, le=_BIGINT, description="Only dead letters after this id: the `next` of the last response."),
        ] = 0,
    ) -> Response:
        """Handles the oldest dead letters of a reason again, at most 200 in a request, in one transaction.

        A record that is refused again becomes a new dead letter. `next` says where to go on.
        """

        async def run(connection: Connection) -> tuple[int, ReplayView]:
            ids = await dead_letters.oldest(connection, reason, after, AT_ONCE + 1)
            taken = ids[:AT_ONCE]
            done = await _replay(connection, taken)
            return 200, ReplayView.of(done, taken[-1] if len(ids) > AT_ONCE else None)

        return await idempotent(request, pool, principal, required=False, run=run)

    @router.post(
        "/dead-letters/{id}/replay",
        response_model=ReplayView,
        summary="Replay a dead letter",
        openapi_extra=documented(required=False),
    )
    async def replay_one(request: Request, letter_id: LetterId, principal: Annotated[Principal, _ADMIN]) -> Response:
        """Handles a refused record again; if it is refused again, it becomes a new dead letter."""

        async def run(connection: Connection) -> tuple[int, ReplayView]:
            done = await _replay(connection, [letter_id])
            for letter in done.erased:
                raise Problem(409, "erased", replaying.why_not(letter))
            if not done.handled and not done.refused:
                raise _unknown()
            return 200, ReplayView.of(done)

        return await idempotent(request, pool, principal, required=False, run=run)

    async def _replay(connection: Connection, ids: Sequence[int]) -> replaying.Replayed:
        try:
            return await replaying.replay(pool, connection, spec, ids)
        except HandlerFailedError:
            message = "The handler failed for several records together; replay them one at a time."
            raise Problem(409, "handler_failed", message) from None


def _unknown() -> Problem:
    return Problem(404, "not_found", "There is no such dead letter.")


_ADMIN: Final[Any] = Depends(require(Scope.ADMIN))
