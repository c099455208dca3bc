"""The statement, and single transactions with their receipts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from services.points.handlers import verifying
from services.points.rules.ledger.transactions import Transaction
from services.points.store import adjustments, statement
from services.points.store.statement import Entry, Filter, Line, PostingRow
from shared.contracts.values import Id
from shared.http.auth import CustomerId, Principal, Scope, customer_or, require
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.problems import Problem
from shared.postgres.pool import Pool

Kind = Literal["earned", "activated", "reversed", "redeemed", "restored", "held", "released", "expired", "adjusted"]

_WHERE_SET = Field(exclude_if=lambda value: value is None)


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


class ByHand(BaseModel):
    """Who made a correction, and their note."""

    principal: str | None
    note: Annotated[str | None, _WHERE_SET] = None


class TransactionView(StatementLine):
    """A transaction, whole: with its postings and the receipt of the decision."""

    customer_id: str
    postings: Sequence[PostingView]
    receipt: dict[str, Any]
    receipt_digest: str = Field(description="SHA-256 of the receipt as it was decided.")
    receipt_verified: bool = Field(description="Whether the receipt, rebuilt now, has that digest.")
    by_hand: Annotated[ByHand | None, _WHERE_SET] = Field(
        default=None, description="Of an adjustment, to who has the scope `support`."
    )


def routes(pool: Pool) -> APIRouter:
    """The routes of statements."""
    router = APIRouter(tags=["points"])

    @router.get("/v1/customers/{id}/points/transactions", dependencies=[Depends(customer_or("read"))])
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

    @router.get("/v1/points/transactions/{transaction_id}")
    async def read_transaction(
        transaction_id: UUID, principal: Annotated[Principal, Depends(require("customer", "read"))]
    ) -> TransactionView:
        async with pool.acquire() as connection:
            found = await statement.entries(connection, [transaction_id])
            if not found or not _may_see(principal, found[0].line.customer_id):
                raise Problem(404, "not_found", "There is no such transaction.")
            receipt, proved = await verifying.rebuilt(connection, found[0])
            whole = _whole(found[0], receipt, proved, await statement.postings(connection, transaction_id))
            if found[0].line.kind == "adjusted" and principal.may(Scope.SUPPORT):
                made = await adjustments.find(connection, found[0].line.customer_id, transaction_id)
                whole.by_hand = made and ByHand(principal=made.principal, note=made.note)
            return whole

    return router


def line_of(transaction: Transaction) -> StatementLine:
    """A transaction that was just made, as a line of the statement."""
    return StatementLine(
        id=transaction.id,
        kind=cast("Kind", transaction.kind),
        points=transaction.points,
        available_after=transaction.account.available,
        occurred_at=transaction.context.occurred_at,
        recorded_at=transaction.account.recorded_at,
        reason=dict(transaction.context.reason),
        activates_at=transaction.activates_at,
        expires_at=transaction.expires_at,
    )


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


def _whole(entry: Entry, receipt: dict[str, Any], proved: bool, postings: Sequence[PostingRow]) -> TransactionView:  # noqa: FBT001 of four, one is a flag
    return TransactionView(
        **_line(entry.line).model_dump(),
        customer_id=entry.line.customer_id,
        postings=[PostingView.model_validate(one, from_attributes=True) for one in postings],
        receipt=receipt,
        receipt_digest=entry.receipt_digest.hex(),
        receipt_verified=proved,
    )
