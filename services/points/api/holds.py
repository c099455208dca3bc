"""Holds: reserve points, then capture or release them."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response
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
from shared.http.fields import OMITTED_IF_NONE
from shared.http.idempotency import concerns, documented, idempotent
from shared.http.problems import Problem
from shared.http.request import request_id
from shared.postgres.pool import Connection, Pool

State = Literal["held", "captured", "released", "expired"]
HoldId = Annotated[UUID, Path(description="The hold's id.")]

_MAX_SECONDS: Final = 366 * 86_400

Action = Callable[[Connection, Call], Awaitable[Hold]]


class HoldRequest(BaseModel):
    """Points to reserve."""

    points: Points = Field(description="How many points.")
    reference: Id = Field(description="The shop's reference, unique among the customer's holds.")
    expires_in_seconds: int = Field(
        strict=True, ge=1, le=_MAX_SECONDS, description="Seconds until the hold releases itself."
    )


class CaptureRequest(BaseModel):
    """How many of the held points to take."""

    # A mistyped name must not take everything.
    model_config = ConfigDict(extra="forbid")

    points: Points | None = Field(
        default=None, description="How many points to take; default: all. The rest is released."
    )


class HoldView(BaseModel):
    """Points that are, or were, reserved."""

    id: UUID = Field(description="Id of the hold.")
    customer_id: str = Field(description="The customer's id.")
    reference: str = Field(description="The shop's reference.")
    state: State = Field(description="`held` while open; `expired` once it released itself.")
    points: int = Field(description="Points that were reserved.")
    captured: int = Field(description="Points that were taken of them.")
    expires_at: datetime = Field(description="When the hold releases itself.")
    created_at: datetime = Field(description="When the points were reserved.")
    redemption_id: Annotated[UUID | None, OMITTED_IF_NONE] = Field(
        default=None, description="Id of the redemption that the capture made."
    )


def routes(pool: Pool) -> APIRouter:
    """The routes of holds."""
    router = APIRouter(tags=["redemptions"])
    _add_reserving(router, pool)
    _add_ending(router, pool)
    return router


def _add_reserving(router: APIRouter, pool: Pool) -> None:
    @router.post(
        "/v1/customers/{id}/holds",
        status_code=201,
        response_model=HoldView,
        summary="Reserve points",
        openapi_extra=documented(required=True),
    )
    async def hold_points(
        request: Request,
        customer_id: CustomerId,
        sent: Annotated[HoldRequest, BOUNDED],
        principal: Annotated[Principal, Depends(to_customer("redeem"))],
    ) -> Response:
        """Reserve points until they are captured or released, or the hold expires.

        The same reference again answers the first hold while it is open. 409 `insufficient_points`,
        `reference_conflict` (other points under the same reference), `reference_used` (the first hold is over).
        """
        reservation = Reservation(sent.points, sent.reference, timedelta(seconds=sent.expires_in_seconds))

        async def run(connection: Connection) -> tuple[int, object]:
            call = Call(customer_id, request_id(request), datetime.now(UTC))
            return 201, await _answer(
                connection, call, lambda connection, call: holding.reserve(connection, call, reservation)
            )

        return await idempotent(request, pool, principal, True, run)


def _add_ending(router: APIRouter, pool: Pool) -> None:
    extra = documented(required=True)

    @router.post(
        "/v1/holds/{hold_id}/capture", response_model=HoldView, summary="Capture held points", openapi_extra=extra
    )
    async def capture_hold(
        request: Request,
        hold_id: HoldId,
        principal: Annotated[Principal, Depends(require("redeem"))],
        sent: Annotated[CaptureRequest | None, BOUNDED] = None,
    ) -> Response:
        """Take all the held points, or some of them and release the rest. It makes a redemption.

        409 `hold_not_open` if the hold is over, `exceeds_hold` if it has fewer points.
        """
        points = sent.points if sent else None

        async def run(connection: Connection) -> tuple[int, object]:
            call = await _call(connection, hold_id, request)
            return 200, await _answer(
                connection, call, lambda connection, call: holding.capture(connection, hold_id, call, points)
            )

        return await idempotent(request, pool, principal, True, run)

    @router.post(
        "/v1/holds/{hold_id}/release", response_model=HoldView, summary="Release held points", openapi_extra=extra
    )
    async def release_hold(
        request: Request, hold_id: HoldId, principal: Annotated[Principal, Depends(require("redeem"))]
    ) -> Response:
        """Give the held points back. 409 `hold_not_open` if the hold is over."""

        async def run(connection: Connection) -> tuple[int, object]:
            call = await _call(connection, hold_id, request)
            return 200, await _answer(
                connection, call, lambda connection, call: holding.release(connection, hold_id, call)
            )

        return await idempotent(request, pool, principal, True, run)


async def _call(connection: Connection, hold_id: UUID, request: Request) -> Call:
    hold = await holds.find(connection, hold_id)
    if hold is None:
        raise _not_found()
    concerns(request, hold.customer_id)
    return Call(hold.customer_id, request_id(request), datetime.now(UTC))


async def _answer(connection: Connection, call: Call, act: Action) -> dict[str, object]:
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
        raise Problem(409, "exceeds_hold", "The hold has fewer points.") from error
    except NotFoundError as error:
        raise _not_found() from error


def _not_found() -> Problem:
    return Problem(404, "not_found", "There is no such hold.")


def _view(hold: Hold) -> dict[str, object]:
    return HoldView(
        id=hold.id,
        customer_id=hold.customer_id,
        reference=hold.reference,
        state=cast("State", hold.state),
        points=hold.points,
        captured=hold.captured,
        expires_at=hold.expires_at,
        created_at=hold.created_at,
        redemption_id=hold.redemption_id,
    ).model_dump(mode="json")
