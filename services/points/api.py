"""The HTTP API of points: balances, statements, receipts, adjustments, the trial balance."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from pydantic import AfterValidator, BaseModel, Field

from services.points import handlers
from services.points.handlers import Adjustment, InsufficientPointsError
from services.points.rules import receipts
from services.points.rules.ledger import Transaction
from services.points.settings import Settings
from services.points.store import accounts, statement
from services.points.store.statement import Entry, Filter, Line, PostingRow
from shared.contracts.values import Id, Instant
from shared.http.app import new_app
from shared.http.auth import CustomerId, Principal, Scope, customer_or, require, to_customer
from shared.http.idempotency import documented, idempotent
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.problems import Problem
from shared.http.request import request_id
from shared.postgres.pool import Connection, Pool

Kind = Literal["earned", "activated", "reversed", "redeemed", "restored", "held", "released", "expired", "adjusted"]

_WHERE_SET = Field(exclude_if=lambda value: value is None)


def _not_zero(points: int) -> int:
    if points == 0:
        raise ValueError("an adjustment is not 0")
    return points


class Due(BaseModel):
    """Points that fall due at an instant."""

    points: int
    at: datetime


class PointsBalance(BaseModel):
    """A customer's points, right to the second."""

    customer_id: str
    available: int
    pending: int
    held: int
    debt: int
    lifetime_earned: int = Field(description="Net of what was taken back; adjustments do not count.")
    lifetime_redeemed: int = Field(description="Net of cancellations.")
    next_activation: Annotated[Due | None, _WHERE_SET] = None
    next_expiry: Annotated[Due | None, _WHERE_SET] = None
    as_of: datetime


class StatementLine(BaseModel):
    """A transaction as a line of the customer's statement."""

    id: UUID
    kind: Kind
    points: int = Field(description="Signed: what the customer gained.")
    available_after: int
    occurred_at: datetime
    recorded_at: datetime
    reason: dict[str, Any]
    activates_at: Annotated[datetime | None, _WHERE_SET] = None
    expires_at: Annotated[datetime | None, _WHERE_SET] = None


class PostingView(BaseModel):
    """Points that went from one account to another."""

    source: str
    target: str
    points: int
    lot_id: Annotated[UUID | None, _WHERE_SET] = None


class TransactionView(StatementLine):
    """A transaction, whole: with its postings and the receipt of the decision."""

    customer_id: str
    postings: Sequence[PostingView]
    receipt: dict[str, Any]
    receipt_digest: str = Field(description="SHA-256 of the receipt as it was decided.")
    receipt_verified: bool = Field(description="Whether the receipt, rebuilt now, has that digest.")


class AdjustmentRequest(BaseModel):
    """A correction by hand."""

    points: Annotated[
        int,
        Field(strict=True, gt=-(10**12), lt=10**12, description="Up or down, not 0."),
        AfterValidator(_not_zero),
    ]
    reason: Annotated[str, Field(min_length=1, max_length=200)]
    note: Annotated[str | None, Field(max_length=2000)] = None


class TrialBalance(BaseModel):
    """The sum of every kind of account: together 0, as every transaction is."""

    accounts: dict[str, int]
    balanced: bool


def build(settings: Settings, pool: Pool) -> FastAPI:
    """The app of the points service."""
    app = new_app("points", "Wafa points", pool=pool, authenticator=settings.authenticator())
    app.include_router(_router(pool))
    return app


def _router(pool: Pool) -> APIRouter:
    routes = APIRouter(tags=["points"])
    _add_balance(routes, pool)
    _add_statement(routes, pool)
    _add_adjustments(routes, pool)
    return routes


def _add_balance(routes: APIRouter, pool: Pool) -> None:
    @routes.get(
        "/v1/customers/{id}/points",
        dependencies=[Depends(customer_or("read"))],
    )
    async def read_points(
        customer_id: CustomerId,
        as_of: Annotated[Instant | None, Query(description="As it was recorded by this instant.")] = None,
    ) -> PointsBalance:
        if as_of is None:
            found = await statement.balances(pool, customer_id)
        else:
            found = await statement.balances_as_of(pool, customer_id, as_of)
        return PointsBalance(
            customer_id=customer_id,
            available=found.available,
            pending=found.pending,
            held=found.held,
            debt=found.debt,
            lifetime_earned=found.lifetime_earned,
            lifetime_redeemed=found.lifetime_redeemed,
            as_of=as_of or datetime.now(UTC),
        )

    @routes.get("/v1/points/trial-balance", dependencies=[Depends(require("read"))])
    async def read_trial_balance() -> TrialBalance:
        async with pool.acquire() as connection:
            found = await accounts.trial_balance(connection)
        return TrialBalance(accounts=found, balanced=sum(found.values()) == 0)


def _add_statement(routes: APIRouter, pool: Pool) -> None:
    @routes.get(
        "/v1/customers/{id}/points/transactions",
        dependencies=[Depends(customer_or("read"))],
    )
    async def read_statement(
        customer_id: CustomerId,
        limit: Limit = DEFAULT_LIMIT,
        after: After = None,
        order_id: Annotated[Id | None, Query()] = None,
        kind: Annotated[Kind | None, Query()] = None,
    ) -> Page[StatementLine]:
        cursor = decode_cursor(after, tuple[int])
        wanted = Filter(kind=kind, order_id=order_id, before=cursor[0] if cursor else None)
        found = await statement.page(pool, customer_id, wanted, limit + 1)
        shown: Page[Line] = page(found, limit, lambda line: (line.sequence,))
        return Page(data=[_line(line) for line in shown.data], next=shown.next)

    @routes.get("/v1/points/transactions/{transaction_id}")
    async def read_transaction(
        transaction_id: UUID, principal: Annotated[Principal, Depends(require("customer", "read"))]
    ) -> TransactionView:
        async with pool.acquire() as connection:
            found = await statement.entries(connection, [transaction_id])
            if not found or not _may_see(principal, found[0].line.customer_id):
                raise Problem(404, "not_found", "There is no such transaction.")
            [basis] = await statement.bases(connection, found)
            return _whole(found[0], receipts.rebuild(basis), await statement.postings(connection, transaction_id))


def _add_adjustments(routes: APIRouter, pool: Pool) -> None:
    @routes.post(
        "/v1/customers/{id}/adjustments",
        status_code=201,
        response_model=StatementLine,
        openapi_extra=documented(required=True),
    )
    async def adjust_points(
        request: Request,
        customer_id: CustomerId,
        wanted: AdjustmentRequest,
        principal: Annotated[Principal, Depends(to_customer("support"))],
    ) -> Response:
        async def run(connection: Connection) -> tuple[int, object]:
            adjustment = Adjustment(customer_id, wanted.points, wanted.reason, wanted.note)
            try:
                made = await handlers.adjust(connection, adjustment, request_id(request), datetime.now(UTC))
            except InsufficientPointsError as error:
                raise Problem(
                    409, "insufficient_points", "That is more than is available.", missing=error.missing
                ) from error
            return 201, _adjusted(made).model_dump(mode="json")

        return await idempotent(request, pool, principal, True, run)


def _may_see(principal: Principal, customer_id: str) -> bool:
    return principal.is_customer(customer_id) or principal.may(Scope.READ)


def _line(line: Line) -> StatementLine:
    return StatementLine(
        id=line.id,
        kind=cast("Kind", line.kind),
        points=line.points,
        available_after=line.available_after,
        occurred_at=line.occurred_at,
        recorded_at=line.recorded_at,
        reason=line.reason,
        activates_at=line.activates_at,
        expires_at=line.expires_at,
    )


def _whole(entry: Entry, receipt: receipts.Receipt, postings: Sequence[PostingRow]) -> TransactionView:
    return TransactionView(
        **_line(entry.line).model_dump(),
        customer_id=entry.line.customer_id,
        postings=[PostingView.model_validate(one, from_attributes=True) for one in postings],
        receipt=receipt,
        receipt_digest=entry.receipt_digest.hex(),
        receipt_verified=receipts.digest(receipt) == entry.receipt_digest,
    )


def _adjusted(transaction: Transaction) -> StatementLine:
    return StatementLine(
        id=transaction.id,
        kind="adjusted",
        points=transaction.points,
        available_after=transaction.account.available,
        occurred_at=transaction.occasion.occurred_at,
        recorded_at=transaction.account.recorded_at,
        reason=dict(transaction.occasion.reason),
    )
