"""What a customer has, and the trial balance."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from services.points.handlers import balances
from services.points.store import accounts
from shared.contracts.values import Instant
from shared.http.auth import CustomerId, customer_or, require
from shared.postgres.pool import Pool

_WHERE_SET = Field(exclude_if=lambda value: value is None)


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


class TrialBalance(BaseModel):
    """The sum of every kind of account: together 0, as every transaction is."""

    accounts: dict[str, int]
    balanced: bool


def routes(pool: Pool) -> APIRouter:
    """The routes of balances."""
    router = APIRouter(tags=["points"])

    @router.get("/v1/customers/{id}/points", dependencies=[Depends(customer_or("read"))])
    async def read_points(
        customer_id: CustomerId,
        as_of: Annotated[
            Instant | None,
            Query(description="As it was recorded by this instant; of a coming one: if nothing else happens."),
        ] = None,
    ) -> PointsBalance:
        now = datetime.now(UTC)
        if as_of is None:
            found = await balances.balance(pool, customer_id, now)
        else:
            found = await balances.balance_as_of(pool, customer_id, as_of)
        account = found.account
        return PointsBalance(
            customer_id=customer_id,
            available=account.available,
            pending=account.pending,
            held=account.held,
            debt=account.debt,
            lifetime_earned=account.earned,
            lifetime_redeemed=account.redeemed,
            next_activation=_due(found.next_activation),
            next_expiry=_due(found.next_expiry),
            as_of=as_of or now,
        )

    @router.get("/v1/points/trial-balance", dependencies=[Depends(require("read"))])
    async def read_trial_balance() -> TrialBalance:
        async with pool.acquire() as connection:
            found = await accounts.trial_balance(connection)
        return TrialBalance(accounts=found, balanced=sum(found.values()) == 0)

    return router


def _due(due: balances.Due | None) -> Due | None:
    return None if due is None else Due(points=due.points, at=due.at)
