"""Corrections by hand."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AfterValidator, BaseModel, Field

from services.points.api.statements import StatementLine, line_of
from services.points.handlers import adjusting
from services.points.handlers.adjusting import Adjustment
from services.points.handlers.commands import Call, InsufficientPointsError
from shared.http.auth import CustomerId, Principal, to_customer
from shared.http.bodies import BOUNDED
from shared.http.idempotency import documented, idempotent
from shared.http.problems import Problem
from shared.http.request import request_id
from shared.postgres.pool import Connection, Pool


def _not_zero(points: int) -> int:
    if points == 0:
        raise ValueError("an adjustment is not 0")
    return points


class AdjustmentRequest(BaseModel):
    """A correction by hand."""

    points: Annotated[
        int,
        Field(strict=True, gt=-(10**12), lt=10**12, description="Up or down, not 0."),
        AfterValidator(_not_zero),
    ]
    reason: Annotated[str, Field(min_length=1, max_length=200)]
    note: Annotated[str | None, Field(max_length=2000)] = None


def routes(pool: Pool) -> APIRouter:
    """The routes of adjustments."""
    router = APIRouter(tags=["points"])

    @router.post(
        "/v1/customers/{id}/adjustments",
        status_code=201,
        response_model=StatementLine,
        openapi_extra=documented(required=True),
    )
    async def adjust_points(
        request: Request,
        customer_id: CustomerId,
        wanted: Annotated[AdjustmentRequest, BOUNDED],
        principal: Annotated[Principal, Depends(to_customer("support"))],
    ) -> Response:
        async def run(connection: Connection) -> tuple[int, object]:
            call = Call(customer_id, request_id(request), datetime.now(UTC))
            try:
                made = await adjusting.adjust(connection, call, Adjustment(wanted.points, wanted.reason, wanted.note))
            except InsufficientPointsError as error:
                raise insufficient(error) from error
            return 201, line_of(made).model_dump(mode="json")

        return await idempotent(request, pool, principal, True, run)

    return router


def insufficient(error: InsufficientPointsError) -> Problem:
    """What a caller is told that wanted more than there is."""
    return Problem(409, "insufficient_points", "That is more than is available.", missing=error.missing)
