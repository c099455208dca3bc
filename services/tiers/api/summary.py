"""The route of the summary: how many customers are in each tier, and what changed of late."""

from datetime import UTC, datetime, timedelta
from typing import Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from services.tiers.store import summary as store
from services.tiers.store.programs import load_program
from services.tiers.store.summary import Counts
from shared.http.auth import require
from shared.postgres.pool import Pool

_DAYS: Final = timedelta(days=30)


class TierCount(BaseModel):
    """The customers of a tier."""

    model_config = ConfigDict(frozen=True)

    tier: str = Field(examples=["silver"], description="Id of the tier.")
    customers: int = Field(description="Number of known customers who are in the tier.")


class ChangeCounts(BaseModel):
    """Numbers of changes by kind."""

    model_config = ConfigDict(frozen=True)

    promoted: int = Field(default=0, description="Promotions.")
    demoted: int = Field(default=0, description="Demotions.")
    retained: int = Field(default=0, description="Tiers kept, or with another end or multiplier.")
    corrected: int = Field(default=0, description="Corrections of the past that leave the current tier.")


class SummaryView(BaseModel):
    """The customers by tier, and the changes of the last 30 days."""

    model_config = ConfigDict(frozen=True)

    tiers: tuple[TierCount, ...] = Field(
        description="The tiers of the program in force, from the lowest; then others that customers are still in."
    )
    changes: ChangeCounts = Field(description="The changes that were recorded in the last 30 days, by kind.")


def routes(pool: Pool) -> APIRouter:
    """The route of the summary."""
    router = APIRouter(tags=["tiers"])

    @router.get("/v1/tiers/summary", dependencies=[Depends(require("read"))], summary="Count the customers by tier")
    async def summary() -> SummaryView:
        """Returns the number of customers of each tier, and of the changes of the last 30 days by kind.

        What falls due counts once it is recorded, within a minute.
        """
        now = datetime.now(UTC)
        async with pool.acquire() as connection:
            program = await load_program(connection, now)
        counts = await store.count(pool, now - _DAYS)
        return _view([tier.id for tier in program.tiers], counts)

    return router


def _view(tiers: list[str], counts: Counts) -> SummaryView:
    """The summary; customers who were never judged are in the first tier."""
    by_tier = dict.fromkeys(tiers, 0)
    for tier, number in counts.customers.items():
        name = tiers[0] if tier is None else tier
        by_tier[name] = by_tier.get(name, 0) + number
    return SummaryView(
        tiers=tuple(TierCount(tier=tier, customers=number) for tier, number in by_tier.items()),
        changes=ChangeCounts.model_validate(counts.changes),
    )
