"""The statement of a customer, and single transactions with their receipts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from services.points.handlers import verifying
from services.points.handlers.verifying import Rebuilt
from services.points.rules.ledger.transactions import Transaction
from services.points.store import adjustments, statement
from services.points.store.statement import Entry, Filter, Line, PostingRow
from shared.contracts.values import Id
from shared.http.auth import CustomerId, Principal, Scope, customer_or, require
from shared.http.fields import OMITTED_IF_NONE
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.problems import Problem
from shared.postgres.pool import Pool

Kind = Literal["earned", "activated", "reversed", "redeemed", "restored", "held", "released", "expired", "adjusted"]
TransactionId = Annotated[UUID, Path(description="The transaction's id.")]


class StatementLine(BaseModel):
    """A transaction as a line of the customer's statement."""

    id: UUID = Field(description="Id of the transaction.")
    kind: Kind = Field(description="The verb of the event that published it.")
    points: int = Field(description="Points that the customer gained, or lost if negative.")
    available_after: int = Field(description="Available points after the transaction.")
    occurred_at: datetime = Field(description="Business time: of the event that caused it.")
    recorded_at: datetime = Field(description="When it was recorded.")
    reason: dict[str, Any] = Field(description="Why it was made: `kind`, and the ids of what it is about.")
    activates_at: Annotated[datetime | None, OMITTED_IF_NONE] = Field(
        default=None, description="When its points become available; absent if they were at once."
    )
    expires_at: Annotated[datetime | None, OMITTED_IF_NONE] = Field(
        default=None, description="When its points expire; absent if they do not."
    )


class PostingView(BaseModel):
    """Points that went from one account to another."""

    source: str = Field(description="Account that the points left.")
    target: str = Field(description="Account that the points entered.")
    points: int = Field(description="How many points; above 0.")
    lot_id: Annotated[UUID | None, OMITTED_IF_NONE] = Field(
        default=None, description="Id of the lot that the points belong to, if any."
    )


class ByHand(BaseModel):
    """Who made an adjustment, and the note on it."""

    principal: str | None = Field(description="Who made it, as `key:ID` or `token:SUB`; null if not recorded.")
    note: Annotated[str | None, OMITTED_IF_NONE] = Field(default=None, description="The note for support.")


class TransactionView(StatementLine):
    """A transaction with its postings and its receipt."""

    customer_id: str = Field(description="The customer's id.")
    postings: Sequence[PostingView] = Field(description="The postings of the transaction.")
    receipt: dict[str, Any] = Field(
        description="How the points came about: the version of the rules, every rule tried, limits, the tier's extra."
    )
    receipt_digest: str = Field(description="SHA-256 of the receipt as it was decided, in hex.")
    receipt_verified: bool = Field(description="Whether the receipt, rebuilt now, has that digest.")
    unlisted_tier: Annotated[str | None, OMITTED_IF_NONE] = Field(
        default=None, description="The customer's tier of then, if the rules of the receipt do not list it."
    )
    by_hand: Annotated[ByHand | None, OMITTED_IF_NONE] = Field(
        default=None, description="Who made an adjustment; only for callers with the scope `support`."
    )


def routes(pool: Pool) -> APIRouter:
    """The routes of statements."""
    router = APIRouter(tags=["points"])

    @router.get(
        "/v1/customers/{id}/points/transactions",
        summary="List a customer's transactions",
        dependencies=[Depends(customer_or("read"))],
    )
    async def read_statement(
        customer_id: CustomerId,
        limit: Limit = DEFAULT_LIMIT,
        after: After = None,
        order_id: Annotated[Id | None, Query(description="Only transactions of this order.")] = None,
        kind: Annotated[Kind | None, Query(description="Only transactions of this kind.")] = None,
    ) -> Page[StatementLine]:
        """The customer's statement, newest first."""
        cursor = decode_cursor(after, tuple[int])
        wanted = Filter(kind=kind, order_id=order_id, before=cursor[0] if cursor else None)
        found = await statement.page(pool, customer_id, wanted, limit + 1)
        shown: Page[Line] = page(found, limit, lambda line: (line.sequence,))
        return Page(data=[_line(line) for line in shown.data], next=shown.next)

    @router.get("/v1/points/transactions/{transaction_id}", summary="Read a transaction")
    async def read_transaction(
        transaction_id: TransactionId, principal: Annotated[Principal, Depends(require("customer", "read"))]
    ) -> TransactionView:
        """A transaction with its postings and its receipt, which is rebuilt and compared with its digest."""
        async with pool.acquire() as connection:
            found = await statement.entries(connection, [transaction_id])
            if not found or not _may_see(principal, found[0].line.customer_id):
                raise Problem(404, "not_found", "There is no such transaction.")
            rebuilt = await verifying.rebuilt(connection, found[0])
            shown = _transaction(found[0], rebuilt, await statement.postings(connection, transaction_id))
            if found[0].line.kind == "adjusted" and principal.may(Scope.SUPPORT):
                made = await adjustments.find(connection, found[0].line.customer_id, transaction_id)
                shown.by_hand = made and ByHand(principal=made.principal, note=made.note)
            return shown

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


def _transaction(entry: Entry, rebuilt: Rebuilt, postings: Sequence[PostingRow]) -> TransactionView:
    return TransactionView(
        **_line(entry.line).model_dump(),
        customer_id=entry.line.customer_id,
        postings=[PostingView.model_validate(posting, from_attributes=True) for posting in postings],
        receipt=rebuilt.receipt,
        receipt_digest=entry.receipt_digest.hex(),
        receipt_verified=rebuilt.is_proved,
        unlisted_tier=rebuilt.unlisted_tier,
    )
