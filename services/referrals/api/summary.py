"""The route of the summary: what became of links, sign-ups and referrals of late, and which signals stopped some."""

from datetime import UTC, datetime, timedelta
from typing import Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from services.referrals.rules.program.signals import words
from services.referrals.store import summary as store
from services.referrals.store.summary import Summary
from shared.http.auth import require
from shared.postgres.pool import Pool

_DAYS: Final = timedelta(days=30)


class SignalCount(BaseModel):
    """How often a signal stopped a referral."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(examples=["same_device"], description="Id of the signal.")
    words: str = Field(description="The signal in words.")
    count: int = Field(description="Number of referrals with the signal that were flagged, or rejected for fraud.")


class ReferralSummary(BaseModel):
    """What was recorded in the last 30 days."""

    model_config = ConfigDict(frozen=True)

    clicks: int = Field(description="Visits of referral links, without those of known bots.")
    sign_ups: int = Field(description="Sign-ups with a code, also those that were rejected at once.")
    qualified: int = Field(description="Referrals that an order qualified.")
    flagged: int = Field(description="Referrals that were flagged for a person's decision.")
    approved: int = Field(description="Referrals that were approved.")
    rejected: int = Field(description="Referrals that were rejected.")
    voided: int = Field(description="Approved referrals that refunds took back.")
    expired: int = Field(description="Referrals whose window passed without an order that qualifies.")
    signals: tuple[SignalCount, ...] = Field(description="The signals that stopped referrals, the most frequent first.")

    @classmethod
    def of(cls, counts: Summary) -> "ReferralSummary":
        """The summary of counts."""
        steps = counts.steps
        return cls(
            clicks=counts.clicks,
            sign_ups=counts.sign_ups,
            **{
                state: steps.get(state, 0)
                for state in ("qualified", "flagged", "approved", "rejected", "voided", "expired")
            },
            signals=tuple(SignalCount(id=id_, words=words(id_), count=count) for id_, count in counts.stopped.items()),
        )


def routes(pool: Pool) -> APIRouter:
    """The route of the summary."""
    router = APIRouter(tags=["referrals"])

    @router.get(
        "/v1/referrals/summary", dependencies=[Depends(require("read", "marketing"))], summary="Count the referrals"
    )
    async def summary() -> ReferralSummary:
        """Returns what was recorded in the last 30 days: visits, sign-ups, what became of referrals, and signals.

        What falls due counts once it is recorded, within a minute. A referral counts for each state that it reached.
        """
        async with pool.acquire() as connection:
            return ReferralSummary.of(await store.count(connection, datetime.now(UTC) - _DAYS))

    return router
