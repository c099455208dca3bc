"""Balances of customers, and the trial balance of the program."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from services.points.handlers import balances
from services.points.store import accounts
from shared.contracts.values import Instant
from shared.http.auth import CustomerId, customer_or, require
from shared.http.fields import OMITTED_IF_NONE
from shared.postgres.pool import Pool


class Due(BaseModel):
    """Points that become available, or expire, at an instant."""

    points: int = Field(description="How many points.")
    at: datetime = Field(description="The instant.")


class PointsBalance(BaseModel):
    """A customer's points, right to the second."""

    customer_id: str = Field(description="The customer's id.")
    available: int = Field(description="Points that can be redeemed.")
    pending: int = Field(description="Points that were earned and are not available yet.")
    held: int = Field(description="Points that are reserved by holds.")
    debt: int = Field(description="Points taken back beyond what was available; new points pay it first.")
    lifetime_earned: int = Field(description="Points ever earned, less those taken back; without adjustments.")
    lifetime_redeemed: int = Field(description="Points ever redeemed, less those of cancelled redemptions.")
    next_activation: Annotated[Due | None, OMITTED_IF_NONE] = Field(
        default=None, description="The pending points that become available next; absent if none will."
    )
    next_expiry: Annotated[Due | None, OMITTED_IF_NONE] = Field(
        default=None, description="The available points that expire next; absent if none will."
    )
    as_of: datetime = Field(description="The instant of the balance.")


class TrialBalance(BaseModel):
    """The sums of all accounts by kind. They add up to 0, as the postings of every transaction do."""

    accounts: dict[str, int] = Field(description="Sum of all accounts of a kind, by kind.")
    balanced: bool = Field(description="Whether the sums add up to 0.")


def routes(pool: Pool) -> APIRouter:
    """The routes of balances."""
    router = APIRouter(tags=["points"])

    @router.get(
        "/v1/customers/{id}/points",
        summary="Read a customer's balance",
        dependencies=[Depends(customer_or("read"))],
    )
    async def read_points(
        customer_id: CustomerId,
        as_of: Annotated[
            Instant | None,
            Query(description="The balance as recorded by this instant; ahead of now: if nothing else happens."),
        ] = None,
    ) -> PointsBalance:
        """The balance with everything that is due by now. An unknown customer has zeros, not 404."""
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

    @router.get("/v1/points/trial-balance", summary="Read the trial balance", dependencies=[Depends(require("read"))])
    async def read_trial_balance() -> TrialBalance:
        """The sum of all accounts by kind: customers' accounts and the program's. `balanced` if they add up to 0."""
        async with pool.acquire() as connection:
            sums = await accounts.trial_balance(connection)
        return TrialBalance(accounts=sums, balanced=sum(sums.values()) == 0)

    return router


def _due(due: balances.Maturity | None) -> Due | None:
    return None if due is None else Due(points=due.points, at=due.at)
