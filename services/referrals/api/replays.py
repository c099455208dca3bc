"""Replays of a draft of the referral program over the sign-ups of the last days."""

from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.referrals.handlers import replaying
from services.referrals.rules.program.kind import KIND
from services.referrals.store import replays
from services.referrals.store.replays import Replay
from shared.http.auth import Principal, require
from shared.http.bodies import BOUNDED
from shared.http.fields import OMITTED_IF_NONE
from shared.http.idempotency import documented, idempotent
from shared.http.problems import Problem
from shared.postgres import slices
from shared.postgres.pool import Connection, Pool
from shared.programs import store
from shared.programs.drafting import Author
from shared.programs.kind import Key
from shared.programs.routes import VersionNumber

_READERS: Final = [Depends(require("read", "marketing"))]
_WRITER: Final = Depends(require("marketing"))
_MOST_RUNNING: Final = 20
_MOST_DAYS: Final = 90

Outcome = Literal["blocked", "flagged", "passed"]


class ReplayRequest(BaseModel):
    """What to replay."""

    model_config = ConfigDict(extra="forbid")

    days: Annotated[
        int, Field(strict=True, ge=1, le=_MOST_DAYS, description="The sign-ups of so many days of 24 hours until now.")
    ] = _MOST_DAYS


class ChangedView(BaseModel):
    """A sign-up of which the draft would have made something else."""

    referral_id: UUID = Field(description="The id of the referral.")
    was: Outcome = Field(description="What became of it.")
    would: Outcome = Field(description="What the draft would have made of it.")


class SignalCount(BaseModel):
    """How often a signal would have held."""

    id: str = Field(description="The signal.")
    count: int = Field(description="The number of sign-ups.")


class ReplayResult(BaseModel):
    """What the draft's signals would have done, each sign-up judged by what was known at its own time."""

    sign_ups: int = Field(description="The sign-ups that were judged.")
    blocked: int = Field(description="Those that the draft rejects.")
    flagged: int = Field(description="Those that wait for a person once they have qualified.")
    passed: int = Field(description="All others.")
    changed: list[ChangedView] = Field(
        description="The sign-ups of which it makes something else, the newest first, at most 10,000."
    )
    changed_total: int = Field(description="The number of all of those.")
    points_saved: int = Field(
        description="The points of both sides of the approved referrals that the draft rejects, without voided ones."
    )
    signals: list[SignalCount] = Field(description="How often each signal holds, the most frequent first.")
    not_replayed: list[str] = Field(
        examples=[["blocklist: 10.0.0.0/7 is too wide: evidence has networks of /24 and /48"]],
        description="What the draft asks for and the stored evidence cannot answer, each with its signal.",
    )


class ReplayView(BaseModel):
    """A replay: running, done, or failed."""

    id: UUID = Field(description="Id of the replay.")
    version: int = Field(description="The version that is replayed.")
    days: int = Field(description="The days whose sign-ups are judged.")
    state: Literal["running", "done", "failed"] = Field(description="Whether there is a result, or will be one.")
    progress: float = Field(ge=0, le=1, description="The part of the sign-ups that was judged.")
    result: Annotated[ReplayResult | None, OMITTED_IF_NONE] = Field(
        default=None, description="What the draft would have done; absent until the replay is done."
    )
    failure: Annotated[str | None, OMITTED_IF_NONE] = Field(
        default=None, description="Why there is no result, in words; absent unless the replay failed."
    )

    @classmethod
    def of(cls, replay: Replay, progress: float) -> Self:
        """The view of a replay."""
        return cls(
            id=replay.id,
            version=replay.wanted.version,
            days=replay.wanted.days,
            state=replay.state,
            progress=1 if replay.state == "done" else progress,
            result=None if replay.result is None else ReplayResult.model_validate(replay.result),
            failure=replay.failure,
        )


def routes(pool: Pool) -> APIRouter:
    """The routes of replays."""
    router = APIRouter(tags=["referral programs"])

    @router.post(
        "/v1/referral-programs/{version}/replays",
        status_code=202,
        response_model=ReplayView,
        summary="Replay a draft of the referral program",
        openapi_extra=documented(required=False),
    )
    async def start_replay(
        request: Request,
        version: VersionNumber,
        principal: Annotated[Principal, _WRITER],
        wanted: Annotated[ReplayRequest | None, BOUNDED] = None,
    ) -> Response:
        """Judge the sign-ups of the last days by a draft's signals, in the background; changing the draft voids it.

        Nothing else is written: no referral changes.
        """
        days = (wanted or ReplayRequest()).days

        async def run(connection: Connection) -> tuple[int, object]:
            author = Author(principal.name, datetime.now(UTC))
            return 202, ReplayView.of(await _start(connection, version, days, author), 0)

        return await idempotent(request, pool, principal, False, run)

    @router.get("/v1/replays/{replay_id}", summary="Read a replay", dependencies=_READERS)
    async def read_replay(replay_id: Annotated[UUID, Path(description="The replay's id.")]) -> ReplayView:
        """How far a replay is, and its result once it is done."""
        replay = await replaying.find(pool, replay_id)
        if replay is None:
            raise Problem(404, "not_found", "There is no such replay.")
        return ReplayView.of(replay, await slices.progress(pool, replay_id))

    return router


async def _start(connection: Connection, number: int, days: int, author: Author) -> Replay:
    draft = await store.lock(connection, Key(KIND.name), number)
    if draft is None:
        raise Problem(404, "not_found", "There is no such version.")
    if draft.effective_at is not None:
        raise Problem(409, "already_published", "The version is published: replay a draft.")
    if await replays.count_running(connection) >= _MOST_RUNNING:
        raise Problem(409, "too_many_replays", f"{_MOST_RUNNING} replays are running: wait for one of them.")
    return await replaying.start(connection, draft, days, author)
