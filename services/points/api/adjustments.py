"""Adjustments: corrections of a balance by hand."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AfterValidator, BaseModel, Field

from services.points.api.statements import StatementLine, line_of
from services.points.handlers import adjusting
from services.points.handlers.adjusting import Adjustment
from services.points.handlers.commands import Call, InsufficientPointsError
from services.points.store import adjustments
from services.points.store.adjustments import Made
from shared.http.auth import CustomerId, Principal, to_customer
from shared.http.bodies import BOUNDED
from shared.http.fields import OMITTED_IF_NONE
from shared.http.idempotency import documented, idempotent
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.problems import Problem
from shared.http.request import request_id
from shared.postgres.pool import Connection, Pool


def _not_zero(points: int) -> int:
    if points == 0:
        raise ValueError("must not be 0")
    return points


class AdjustmentRequest(BaseModel):
    """A correction of a balance by hand."""

    points: Annotated[
        int,
        Field(strict=True, gt=-(10**12), lt=10**12, description="Points to add, or to take if negative; not 0."),
        AfterValidator(_not_zero),
    ]
    reason: Annotated[str, Field(min_length=1, max_length=200, description="Shown in the customer's statement.")]
    note: Annotated[str | None, Field(max_length=2000, description="Shown to support only.")] = None


class AdjustmentView(BaseModel):
    """An adjustment, as support sees it."""

    transaction_id: UUID = Field(description="Id of the transaction in the customer's statement.")
    points: int = Field(description="Points added, or taken if negative.")
    reason: str | None = Field(description="Shown in the customer's statement; null once the customer was erased.")
    note: Annotated[str | None, OMITTED_IF_NONE] = Field(default=None, description="Shown to support only.")
    principal: str | None = Field(description="Who made it, as `key:ID` or `token:SUB`; null if not recorded.")
    made_at: datetime = Field(description="When it was made.")


def routes(pool: Pool) -> APIRouter:
    """The routes of adjustments."""
    router = APIRouter(tags=["points"])

    @router.get(
        "/v1/customers/{id}/adjustments",
        summary="List a customer's adjustments",
        dependencies=[Depends(to_customer("support"))],
    )
    async def list_adjustments(
        customer_id: CustomerId, limit: Limit = DEFAULT_LIMIT, after: After = None
    ) -> Page[AdjustmentView]:
        """Corrections by hand with their author and note, newest first. Needs the scope `support`."""
        cursor = decode_cursor(after, tuple[UUID])
        found = await adjustments.page(pool, customer_id, cursor[0] if cursor else None, limit + 1)
        shown: Page[Made] = page(found, limit, lambda made: (made.transaction_id,))
        return Page(data=[view(made) for made in shown.data], next=shown.next)

    @router.post(
        "/v1/customers/{id}/adjustments",
        status_code=201,
        response_model=StatementLine,
        summary="Adjust a customer's balance",
        openapi_extra=documented(required=True),
    )
    async def adjust_points(
        request: Request,
        customer_id: CustomerId,
        sent: Annotated[AdjustmentRequest, BOUNDED],
        principal: Annotated[Principal, Depends(to_customer("support"))],
    ) -> Response:
        """Add or take points by hand; they do not count toward a tier. Needs the scope `support`.

        409 `insufficient_points` if more is to be taken than is available.
        """
        adjustment = Adjustment(sent.points, sent.reason, sent.note, principal.name)

        async def run(connection: Connection) -> tuple[int, object]:
            call = Call(customer_id, request_id(request), datetime.now(UTC))
            try:
                transaction = await adjusting.adjust(connection, call, adjustment)
            except InsufficientPointsError as error:
                raise insufficient(error) from error
            return 201, line_of(transaction).model_dump(mode="json")

        return await idempotent(request, pool, principal, True, run)

    return router


def view(made: Made) -> AdjustmentView:
    """An adjustment, as support sees it."""
    return AdjustmentView(
        transaction_id=made.transaction_id,
        points=made.points,
        reason=made.reason,
        note=made.note,
        principal=made.principal,
        made_at=made.made_at,
    )


def insufficient(error: InsufficientPointsError) -> Problem:
    """The answer to a caller who asked for more points than are available."""
    return Problem(409, "insufficient_points", "The customer has too few available points.", missing=error.missing)
