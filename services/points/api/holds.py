"""Holds: reserve, take, give back."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.points.api.adjustments import insufficient
from services.points.api.redemptions import Points
from services.points.handlers import holding
from services.points.handlers.commands import Call, InsufficientPointsError
from services.points.handlers.holding import ExceedsHoldError, NotOpenError, Reservation
from services.points.handlers.spending import NotFoundError, ReferenceUsedError, RefusedError
from services.points.rules.books.state import Hold
from services.points.store import holds
from shared.contracts.values import Id
from shared.http.auth import CustomerId, Principal, require, to_customer
from shared.http.bodies import BOUNDED
from shared.http.idempotency import concerns, documented, idempotent
from shared.http.problems import Problem
from shared.http.request import request_id
from shared.postgres.pool import Connection, Pool

State = Literal["held", "captured", "released", "expired"]

_LONGEST_SECONDS = 366 * 86_400
_WHERE_SET = Field(exclude_if=lambda value: value is None)

Act = Callable[[Connection, Call], Awaitable[Hold]]


class HoldRequest(BaseModel):
    """Points to be reserved; `reference` is unique among the customer's holds."""

    points: Points
    reference: Id
    expires_in_seconds: Annotated[int, Field(strict=True, ge=1, le=_LONGEST_SECONDS)]


class CaptureRequest(BaseModel):
    """How many points to take; all unless told. The rest is given back."""

    # A name that is mistyped may not take everything.
    model_config = ConfigDict(extra="forbid")

    points: Points | None = None


class HoldView(BaseModel):
    """Points that are, or were, reserved."""

    id: UUID
    customer_id: str
    reference: str
    state: State
    points: int
    captured: int = Field(description="What was taken of it.")
    expires_at: datetime
    created_at: datetime
    redemption_id: Annotated[UUID | None, _WHERE_SET] = None


def routes(pool: Pool) -> APIRouter:
    """The routes of holds."""
    router = APIRouter(tags=["redemptions"])
    extra = documented(required=True)

    @router.post("/v1/customers/{id}/holds", status_code=201, response_model=HoldView, openapi_extra=extra)
    async def hold_points(
        request: Request,
        customer_id: CustomerId,
        wanted: Annotated[HoldRequest, BOUNDED],
        principal: Annotated[Principal, Depends(to_customer("redeem"))],
    ) -> Response:
        reservation = Reservation(wanted.points, wanted.reference, timedelta(seconds=wanted.expires_in_seconds))

        async def run(connection: Connection) -> tuple[int, object]:
            call = Call(customer_id, request_id(request), datetime.now(UTC))
            return 201, await _answer(connection, call, lambda one, two: holding.reserve(one, two, reservation))

        return await idempotent(request, pool, principal, True, run)

    @router.post("/v1/holds/{hold_id}/capture", response_model=HoldView, openapi_extra=extra)
    async def capture_hold(
        request: Request,
        hold_id: UUID,
        principal: Annotated[Principal, Depends(require("redeem"))],
        wanted: Annotated[CaptureRequest | None, BOUNDED] = None,
    ) -> Response:
        points = wanted.points if wanted else None

        async def run(connection: Connection) -> tuple[int, object]:
            call = await _call(connection, hold_id, request)
            return 200, await _answer(connection, call, lambda one, two: holding.capture(one, hold_id, two, points))

        return await idempotent(request, pool, principal, True, run)

    @router.post("/v1/holds/{hold_id}/release", response_model=HoldView, openapi_extra=extra)
    async def release_hold(
        request: Request, hold_id: UUID, principal: Annotated[Principal, Depends(require("redeem"))]
    ) -> Response:
        async def run(connection: Connection) -> tuple[int, object]:
            call = await _call(connection, hold_id, request)
            return 200, await _answer(connection, call, lambda one, two: holding.release(one, hold_id, two))

        return await idempotent(request, pool, principal, True, run)

    return router


async def _call(connection: Connection, hold_id: UUID, request: Request) -> Call:
    found = await holds.find(connection, hold_id)
    if found is None:
        raise Problem(404, "not_found", "There is no such hold.")
    concerns(request, found.customer_id)
    return Call(found.customer_id, request_id(request), datetime.now(UTC))


async def _answer(connection: Connection, call: Call, act: Act) -> dict[str, object]:
    try:
        return _view(await act(connection, call))
    except InsufficientPointsError as error:
        raise insufficient(error) from error
    except ReferenceUsedError as error:
        detail = "The first hold with this reference is over: use a new reference."
        raise Problem(409, "reference_used", detail, hold=_view(cast("Hold", error.first))) from error
    except RefusedError as error:
        raise Problem(409, error.code, error.detail) from error
    except NotOpenError as error:
        raise Problem(409, "hold_not_open", f"The hold is {error.state}.", state=error.state) from error
    except ExceedsHoldError as error:
        raise Problem(409, "exceeds_hold", "That is more than is held.") from error
    except NotFoundError as error:
        raise Problem(404, "not_found", "There is no such hold.") from error


def _view(one: Hold) -> dict[str, object]:
    return HoldView(
        id=one.id,
        customer_id=one.customer_id,
        reference=one.reference,
        state=cast("State", one.state),
        points=one.points,
        captured=one.captured,
        expires_at=one.expires_at,
        created_at=one.created_at,
        redemption_id=one.redemption_id,
    ).model_dump(mode="json")
