"""Journeys: drafts and versions, and the runs of a customer."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from services.notifications.handlers.library import Library
from services.notifications.rules.journey.checking import walk
from services.notifications.rules.journey.document import JourneyDocument, Send
from services.notifications.rules.journey.kind import KIND
from services.notifications.rules.journey.live import Inside
from services.notifications.rules.journey.run import Ending, Run, RunState
from services.notifications.store import publications, runs
from shared.contracts.values import Id
from shared.http.auth import Scope, require
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.problems import Problem
from shared.postgres.pool import Connection, Pool
from shared.programs import store
from shared.programs.drafting import Program, Published, PublishRequest, RefusedError
from shared.programs.faults import DocumentError, Fault, pointer
from shared.programs.kind import Key
from shared.programs.routes import DocumentId, Place, many_documents

_PLACE: Final = Place("/v1/journeys", tag="journeys", noun="journey")
_LATEST: Final = datetime.max.replace(tzinfo=UTC)
_LAST_ID: Final = UUID(int=2**128 - 1)
_WHERE_SET: Final = Field(exclude_if=lambda value: value is None)
MOST_JOURNEYS: Final = 100
"""Maximum number of journeys that have a published version."""


class JourneyPublishRequest(PublishRequest):
    """When a version takes effect, and what becomes of the customers who are inside an older one."""

    inside: Annotated[
        Inside,
        Field(
            description="`go_on`: their runs go on with the version that they began with. `move`: they go on with the "
            "new version from their next step on, if it has the step at which they wait. `stop`: they end at their "
            "next step."
        ),
    ] = Inside.GO_ON


class TraceView(BaseModel):
    """What a step of a run did."""

    step: str = Field(description="Path of the step, such as `0` or `3/bonus/0`.")
    kind: str = Field(description="Kind of the step.")
    at: datetime = Field(description="When the step fell due.")
    outcome: str = Field(
        description="Of `send` the template, of `split` the arm, of `wait_for` the way (`then`, `else`), else what "
        "happened (`over`, `passed`, `stopped`, `holdout`)."
    )


class RunView(BaseModel):
    """A run: one customer's way through a version of a journey."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    id: UUID = Field(description="Id of the run.")
    customer_id: str = Field(description="Id of the customer.")
    journey: str = Field(description="Id of the journey.")
    version: int = Field(description="The version by which it goes.")
    state: RunState = Field(description="`waiting`, `done`, or `stopped` before its last step.")
    reason: Annotated[Ending | None, _WHERE_SET] = Field(default=None, description="Why it stopped.")
    trigger: str = Field(description="What started it: the type of the event, or `date`.")
    key: str = Field(description="Names the trigger among those of the customer.")
    started_at: datetime = Field(description="The time of the trigger.")
    step: str = Field(description="Path of the step at hand, or of the last one.")
    due_at: Annotated[datetime | None, _WHERE_SET] = Field(default=None, description="When its wait is over.")
    awaits: Annotated[str | None, _WHERE_SET] = Field(
        default=None, description="The event type that ends its wait; `triggers` in a digest."
    )
    trace: Sequence[TraceView] = Field(description="What its steps did, in order.")

    @classmethod
    def of(cls, run: Run) -> "RunView":
        """A stored run."""
        return cls(
            id=run.id,
            customer_id=run.customer_id,
            journey=run.journey,
            version=run.version,
            state=run.state,
            reason=run.reason,
            trigger=run.trigger.type,
            key=run.trigger.key,
            started_at=run.started_at,
            step=run.step,
            due_at=run.due_at,
            awaits=run.awaits,
            trace=[TraceView(step=each.step, kind=each.kind, at=each.at, outcome=each.outcome) for each in run.trace],
        )


class InsideView(BaseModel):
    """The number of runs of a version that wait."""

    version: int = Field(description="Number of the version.")
    runs: int = Field(description="Number of its runs that wait.")


async def _admit(library: Library, connection: Connection, document: JourneyDocument) -> None:
    """Refuse templates that are not published, and channels that they do not have."""
    templates, now = await library.open(connection), datetime.now(UTC)
    faults: list[Fault] = []
    for place, step in walk(document.steps):
        if not isinstance(step, Send):
            continue
        template = templates.in_force(step.template, now) or templates.in_force(step.template, _LATEST)
        if template is None:
            faults.append(Fault(pointer(*place, "template"), f"no template {step.template!r} is published"))
            continue
        for index, channel in enumerate(step.channels):
            if channel not in template.locales:
                message = f"the template {step.template!r} has no texts for {channel}"
                faults.append(Fault(pointer(*place, "channels", index), message))
    if faults:
        raise DocumentError(faults)


async def _on_publish(connection: Connection, published: Published) -> None:
    """Store what becomes of runs; refuse a journey too many."""
    request = published.request
    assert isinstance(request, JourneyPublishRequest), "the program names its request"
    if await store.count_published(connection, published.key) >= MOST_JOURNEYS:
        raise RefusedError("too_many_journeys", f"At most {MOST_JOURNEYS} journeys can be published.")
    await publications.add(connection, published.key.id, published.version.version, request.inside)


_JourneyId = Annotated[DocumentId, Path(alias="id", description="Id of the journey.")]


def routes(pool: Pool, library: Library) -> APIRouter:
    """The routes of journeys and of their runs."""
    program = Program(KIND, partial(_admit, library), _on_publish, JourneyPublishRequest)
    router = many_documents(pool, program, _PLACE)
    _add_runs(router, pool)
    return router


def _add_runs(router: APIRouter, pool: Pool) -> None:
    @router.get(
        f"{_PLACE.path}/{{id}}/runs",
        dependencies=[Depends(require(Scope.READ, Scope.SUPPORT))],
        summary="List a customer's runs of the journey",
    )
    async def list_runs(
        id_: _JourneyId,
        customer_id: Annotated[Id, Query(description="Id of the customer.")],
        limit: Limit = DEFAULT_LIMIT,
        after: After = None,
    ) -> Page[RunView]:
        """The stored runs with what each step did, newest first.

        Runs that end at once are not stored where the journey may always start again: their messages are their record.
        """
        await _check(pool, id_)
        before = decode_cursor(after, tuple[datetime, UUID]) or (_LATEST, _LAST_ID)
        listed = page(
            await runs.page(pool, id_, customer_id, before, limit + 1), limit, lambda run: (run.started_at, run.id)
        )
        return Page(data=[RunView.of(run) for run in listed.data], next=listed.next)

    @router.get(
        f"{_PLACE.path}/{{id}}/inside",
        dependencies=[Depends(require(Scope.READ, Scope.MARKETING))],
        summary="Count the customers inside the journey",
    )
    async def count_inside(id_: _JourneyId) -> Page[InsideView]:
        """The number of runs that wait, by version: what a publication lets go on, moves, or stops."""
        await _check(pool, id_)
        counted = await runs.inside(pool, id_)
        return Page(data=[InsideView(version=version, runs=number) for version, number in counted], next=None)


async def _check(pool: Pool, id_: str) -> None:
    if not await store.page(pool, Key(KIND.name, id_), 2**31 - 1, 1):
        raise Problem(404, "not_found", "There is no such journey.")
