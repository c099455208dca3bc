"""Redemptions, by reward or by points, and their cancellation."""

from datetime import UTC, datetime
from typing import Annotated, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
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
from shared.http.idempotency import concerns, documented, idempotent
from shared.http.problems import Problem
from shared.http.request import request_id
from shared.postgres.pool import Connection, Pool

Points = Annotated[int, Field(strict=True, ge=1, lt=10**12)]

_WHERE_SET = Field(exclude_if=lambda value: value is None)


class RewardRedemption(BaseModel):
    """Points for a reward of the catalogue."""

    model_config = ConfigDict(extra="forbid")

    reward_id: Id
    quantity: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 1


class PointsRedemption(BaseModel):
    """Points for what the shop gives; `reference` is unique within the customer."""

    model_config = ConfigDict(extra="forbid")

    points: Points
    reference: Id


def _branch(sent: object) -> str:
    """Which of the two is meant: what is wrong with it is told, and not what the other one would need."""
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
    """Points that were spent."""

    id: UUID
    customer_id: str
    state: Literal["redeemed", "cancelled"]
    points: int
    reward_id: Annotated[str | None, _WHERE_SET] = None
    quantity: Annotated[int | None, _WHERE_SET] = None
    reference: Annotated[str | None, _WHERE_SET] = None
    hold_id: Annotated[UUID | None, _WHERE_SET] = None
    transaction_id: UUID
    created_at: datetime
    cancelled_at: Annotated[datetime | None, _WHERE_SET] = None


def routes(pool: Pool) -> APIRouter:
    """The routes of redemptions."""
    router = APIRouter(tags=["redemptions"])
    extra = documented(required=True)

    @router.post("/v1/customers/{id}/redemptions", status_code=201, response_model=RedemptionView, openapi_extra=extra)
    async def redeem(
        request: Request,
        customer_id: CustomerId,
        wanted: Annotated[AnyRedemption, BOUNDED],
        principal: Annotated[Principal, Depends(customer_or("redeem"))],
    ) -> Response:
        async def run(connection: Connection) -> tuple[int, object]:
            call = Call(customer_id, request_id(request), datetime.now(UTC))
            return 201, _view(await _redeem(connection, call, wanted))

        return await idempotent(request, pool, principal, True, run)

    @router.post("/v1/redemptions/{redemption_id}/cancel", response_model=RedemptionView, openapi_extra=extra)
    async def cancel_redemption(
        request: Request, redemption_id: UUID, principal: Annotated[Principal, Depends(require("redeem"))]
    ) -> Response:
        async def run(connection: Connection) -> tuple[int, object]:
            found = await redemptions.find(connection, redemption_id)
            if found is None:
                raise Problem(404, "not_found", "There is no such redemption.")
            concerns(request, found.customer_id)
            call = Call(found.customer_id, request_id(request), datetime.now(UTC))
            return 200, _view(await spending.cancel(connection, redemption_id, call))

        return await idempotent(request, pool, principal, True, run)

    return router


async def _redeem(connection: Connection, call: Call, wanted: RewardRedemption | PointsRedemption) -> Redemption:
    try:
        if isinstance(wanted, RewardRedemption):
            return await spending.redeem_for_reward(connection, call, ForReward(wanted.reward_id, wanted.quantity))
        return await spending.redeem_for_reference(connection, call, ForReference(wanted.points, wanted.reference))
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


def _view(one: Redemption) -> RedemptionView:
    return RedemptionView(
        id=one.id,
        customer_id=one.customer_id,
        state="redeemed" if one.cancelled_at is None else "cancelled",
        points=one.points,
        reward_id=one.reward_id,
        quantity=one.quantity,
        reference=one.reference,
        hold_id=one.hold_id,
        transaction_id=one.transaction_id,
        created_at=one.created_at,
        cancelled_at=one.cancelled_at,
    )
