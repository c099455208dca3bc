"""Redemptions, for a reward or for a shop's reference, and their cancellation."""

from datetime import UTC, datetime
from typing import Annotated, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from services.points.api.adjustments import insufficient
from services.points.handlers import spending
from services.points.handlers.commands import Call, InsufficientPointsError
from services.points.handlers.spending import ForReference, ForReward, NotFoundError, ReferenceUsedError, RefusedError
from services.points.store import redemptions
from services.points.store.redemptions import Redemption
from shared.contracts.values import Id
from shared.http.auth import CustomerId, Principal, customer_or, require
from shared.http.bodies import BOUNDED
from shared.http.fields import OMITTED_IF_NONE
from shared.http.idempotency import answer_of, concerns, documented, idempotent, idempotent_at_once
from shared.http.problems import Problem
from shared.http.request import request_id
from shared.postgres.answers import Answer
from shared.postgres.pool import Connection, Pool

Points = Annotated[int, Field(strict=True, ge=1, lt=10**12)]
RedemptionId = Annotated[UUID, Path(description="The redemption's id.")]


class RewardRedemption(BaseModel):
    """A redemption for a reward of the catalog."""

    model_config = ConfigDict(extra="forbid")

    reward_id: Id = Field(description="Id of the reward.")
    quantity: int = Field(default=1, strict=True, ge=1, le=10_000, description="How many of it.")


class PointsRedemption(BaseModel):
    """A redemption for something that the shop gives."""

    model_config = ConfigDict(extra="forbid")

    points: Points = Field(description="How many points.")
    reference: Id = Field(description="The shop's reference, unique among the customer's redemptions.")


def _branch(sent: object) -> str:
    """Which of the two the caller means, so that errors are about that one only."""
    return (
        "by reward"
        if isinstance(sent, RewardRedemption) or (isinstance(sent, dict) and "reward_id" in sent)
        else "by points"
    )


AnyRedemption = Annotated[
    Annotated[RewardRedemption, Tag("by reward")] | Annotated[PointsRedemption, Tag("by points")],
    Discriminator(_branch),
]


class RedemptionView(BaseModel):
    """Points that were redeemed."""

    id: UUID = Field(description="Id of the redemption.")
    customer_id: str = Field(description="The customer's id.")
    state: Literal["redeemed", "cancelled"] = Field(description="`cancelled` once its points were given back.")
    points: int = Field(description="Points that were redeemed.")
    reward_id: Annotated[str | None, OMITTED_IF_NONE] = Field(default=None, description="Id of the reward, if for one.")
    quantity: Annotated[int | None, OMITTED_IF_NONE] = Field(default=None, description="How many of the reward.")
    reference: Annotated[str | None, OMITTED_IF_NONE] = Field(
        default=None, description="The shop's reference, if redeemed by one."
    )
    hold_id: Annotated[UUID | None, OMITTED_IF_NONE] = Field(
        default=None, description="Id of the hold, if captured from one."
    )
    transaction_id: UUID = Field(description="Id of the transaction that took the points.")
    created_at: datetime = Field(description="When the points were redeemed.")
    cancelled_at: Annotated[datetime | None, OMITTED_IF_NONE] = Field(
        default=None, description="When the redemption was cancelled."
    )


def routes(pool: Pool) -> APIRouter:
    """The routes of redemptions."""
    router = APIRouter(tags=["redemptions"])
    extra = documented(required=True)

    @router.post(
        "/v1/customers/{id}/redemptions",
        status_code=201,
        response_model=RedemptionView,
        summary="Redeem points",
        openapi_extra=extra,
    )
    async def redeem(
        request: Request,
        customer_id: CustomerId,
        sent: Annotated[AnyRedemption, BOUNDED],
        principal: Annotated[Principal, Depends(customer_or("redeem"))],
    ) -> Response:
        """Redeem points for a reward, or for what the shop gives under a reference.

        The same reference again answers the first redemption while it stands. 409 `insufficient_points`,
        `reference_conflict` (other points under the same reference), `reference_used` (the first was cancelled); for a
        reward also `not_in_window`, `tier_too_low`, `limit_reached`, `out_of_stock`.
        """

        def call() -> Call:
            return Call(customer_id, request_id(request), datetime.now(UTC), answer)

        def answer(redemption: Redemption) -> Answer | None:
            return answer_of(request, 201, _view(redemption))

        async def run(connection: Connection) -> tuple[int, object]:
            return 201, _view(await _redeem(connection, call(), sent))

        if isinstance(sent, PointsRedemption):
            wanted = ForReference(sent.points, sent.reference)
            return await idempotent_at_once(
                request, pool, principal, run, lambda connection: spending.redeem_unlocked(connection, call(), wanted)
            )
        return await idempotent(request, pool, principal, True, run)

    @router.post(
        "/v1/redemptions/{redemption_id}/cancel",
        response_model=RedemptionView,
        summary="Cancel a redemption",
        openapi_extra=extra,
    )
    async def cancel_redemption(
        request: Request, redemption_id: RedemptionId, principal: Annotated[Principal, Depends(require("redeem"))]
    ) -> Response:
        """Give the same lots back with their dates, and the stock. Cancelling again has no effect."""

        async def run(connection: Connection) -> tuple[int, object]:
            redemption = await redemptions.find(connection, redemption_id)
            if redemption is None:
                raise Problem(404, "not_found", "There is no such redemption.")
            concerns(request, redemption.customer_id)
            call = Call(redemption.customer_id, request_id(request), datetime.now(UTC))
            return 200, _view(await spending.cancel(connection, redemption_id, call))

        return await idempotent(request, pool, principal, True, run)

    return router


async def _redeem(connection: Connection, call: Call, sent: RewardRedemption | PointsRedemption) -> Redemption:
    try:
        if isinstance(sent, RewardRedemption):
            return await spending.redeem_for_reward(connection, call, ForReward(sent.reward_id, sent.quantity))
        return await spending.redeem_for_reference(connection, call, ForReference(sent.points, sent.reference))
    except InsufficientPointsError as error:
        raise insufficient(error) from error
    except ReferenceUsedError as error:
        detail = "The first redemption with this reference was cancelled: use a new reference."
        raise Problem(
            409, "reference_used", detail, redemption=_view(cast("Redemption", error.first)).model_dump(mode="json")
        ) from error
    except RefusedError as error:
        raise Problem(409, error.code, error.detail) from error
    except NotFoundError as error:
        raise Problem(404, "not_found", "There is no such reward.") from error


def _view(redemption: Redemption) -> RedemptionView:
    return RedemptionView(
        id=redemption.id,
        customer_id=redemption.customer_id,
        state="redeemed" if redemption.cancelled_at is None else "cancelled",
        points=redemption.points,
        reward_id=redemption.reward_id,
        quantity=redemption.quantity,
        reference=redemption.reference,
        hold_id=redemption.hold_id,
        transaction_id=redemption.transaction_id,
        created_at=redemption.created_at,
        cancelled_at=redemption.cancelled_at,
    )
