"""The routes of decisions about referrals: of one, or of many."""

from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from services.referrals.api.queue import ReferralId
from services.referrals.api.views import ReviewView
from services.referrals.handlers import reviewing
from services.referrals.handlers.deciding import Call, Refused, decide_on
from services.referrals.rules.deciding import Decision
from services.referrals.settings import Settings
from shared.contracts.envelope import Cause
from shared.http.auth import Principal, require
from shared.http.bodies import BOUNDED
from shared.http.idempotency import documented, idempotent
from shared.http.problems import Problem
from shared.http.request import request_id
from shared.postgres.pool import Connection, Pool

_DECIDER: Final = Depends(require("marketing"))

_REFUSALS: Final = {
    Refused.NOT_FOUND: (404, "There is no such referral."),
    Refused.NOT_FLAGGED: (409, "The referral waits for no decision (any more)."),
}


def _not_blank(note: str) -> str:
    if not note.strip():
        raise ValueError("say why")
    return note


Note = Annotated[
    str,
    StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00]*$"),
    AfterValidator(_not_blank),
    Field(description="Why; it stays in the history of the referral.", examples=["One person with three phones."]),
]


class DecisionRequest(BaseModel):
    """A decision about a referral."""

    model_config = ConfigDict(extra="forbid")

    decision: Decision = Field(description="`approve` takes the flag away, `reject` is final.")
    note: Note


class DecisionsRequest(DecisionRequest):
    """A decision about many referrals."""

    ids: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=200, description="Ids of the referrals.")]


class RefusedView(BaseModel):
    """A referral that was not decided."""

    model_config = ConfigDict(frozen=True)

    id: UUID = Field(description="Id of the referral.")
    code: Refused = Field(
        examples=["not_flagged"],
        description="`not_flagged`: it waits for no decision (any more); `not_found`: it does not exist.",
    )


class Decisions(BaseModel):
    """What became of each of many decisions."""

    model_config = ConfigDict(frozen=True)

    done: tuple[UUID, ...] = Field(description="Ids of the referrals that were decided.")
    refused: tuple[RefusedView, ...] = Field(description="Those that were not, each with a code.")


def routes(settings: Settings, pool: Pool) -> APIRouter:
    """The routes of decisions."""
    router = APIRouter(tags=["referrals"])
    key = settings.key()

    @router.post(
        "/v1/referrals/{id}/decision",
        response_model=ReviewView,
        summary="Decide about a referral",
        openapi_extra=documented(required=False),
    )
    async def decide(
        request: Request,
        referral_id: ReferralId,
        sent: Annotated[DecisionRequest, BOUNDED],
        principal: Annotated[Principal, _DECIDER],
    ) -> Response:
        """Decide about a flagged referral, or overturn a rejection for `fraud` or `undecided`. Needs `marketing`.

        `approve` takes the flag away: the referral is approved when its hold is over, at once if it is. `reject` is
        final. 409 `not_flagged` if the referral waits for no decision (any more).
        """

        async def run(connection: Connection) -> tuple[int, object]:
            decided = await decide_on(connection, [referral_id], _call(request, principal, sent), key)
            for _, code in decided.refused:
                status, detail = _REFUSALS[code]
                raise Problem(status, code, detail)
            referral, history = await reviewing.read(connection, referral_id)
            # The answer is stored for a week, also when a customer is erased meanwhile: without notes.
            told = [step._replace(note=None) for step in history]
            return 200, ReviewView.of(referral, told).model_dump(mode="json")

        return await idempotent(request, pool, principal, required=False, run=run)

    @router.post(
        "/v1/referrals/decisions",
        response_model=Decisions,
        summary="Decide about many referrals",
        openapi_extra=documented(required=False),
    )
    async def decide_many(
        request: Request, sent: Annotated[DecisionsRequest, BOUNDED], principal: Annotated[Principal, _DECIDER]
    ) -> Response:
        """Decide about up to 200 referrals in the same way, each on its own. Needs the scope `marketing`.

        Returns the ids of those that were decided, and the others, each with the code of its refusal.
        """

        async def run(connection: Connection) -> tuple[int, object]:
            decided = await decide_on(connection, sent.ids, _call(request, principal, sent), key)
            refused = tuple(RefusedView(id=id_, code=code) for id_, code in decided.refused)
            return 200, Decisions(done=tuple(decided.done), refused=refused).model_dump(mode="json")

        return await idempotent(request, pool, principal, required=False, run=run)

    return router


def _call(request: Request, principal: Principal, sent: DecisionRequest) -> Call:
    cause = Cause.of_request(request_id(request))
    return Call(sent.decision, sent.note, principal.name, cause, datetime.now(UTC))
