"""An advocate's referrals."""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from services.referrals.handlers import due
from services.referrals.rules.referral import Ground, State
from services.referrals.settings import Settings
from services.referrals.store import referrals
from services.referrals.store.referrals import Listed
from shared.http.auth import CustomerId, Scope, customer_or
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.postgres.pool import Pool

_NEWEST: Final = 2**63 - 1


class ReferralView(BaseModel):
    """A referral as its advocate sees it: without the friend's identity and purchases."""

    model_config = ConfigDict(frozen=True)

    referral_id: UUID = Field(description="The id of the referral.")
    state: State = Field(description="The state of the referral, as its latest published event has it.")
    reason: Ground | None = Field(description="Why the referral was rejected or voided; null in other states.")
    signed_up_at: datetime = Field(description="When the friend signed up with the code.")
    approved_at: datetime | None = Field(description="When the referral was approved; null where it never was.")
    closed_at: datetime | None = Field(description="When the referral was rejected or voided; null in other states.")
    advocate_points: int = Field(description="The points that the referral gives the advocate; 0 unless approved.")
    friend_points: int = Field(description="The points that the referral gives the friend; 0 unless approved.")

    @classmethod
    def of(cls, listed: Listed) -> "ReferralView":
        """The view of a referral."""
        referral = listed.referral
        stands = referral.state is State.APPROVED
        return cls(
            referral_id=referral.referral_id,
            state=referral.state,
            reason=referral.reason,
            signed_up_at=referral.signed_up_at,
            approved_at=referral.approved_at,
            closed_at=referral.closed_at,
            advocate_points=(referral.advocate_points or 0) if stands else 0,
            friend_points=(referral.friend_points or 0) if stands else 0,
        )


def routes(settings: Settings, pool: Pool) -> APIRouter:
    """The route of an advocate's referrals."""
    router = APIRouter(tags=["referrals"])

    @router.get(
        "/v1/customers/{id}/referrals",
        dependencies=[Depends(customer_or(Scope.READ))],
        summary="List an advocate's referrals",
    )
    async def own_referrals(
        customer_id: CustomerId, limit: Limit = DEFAULT_LIMIT, after: After = None
    ) -> Page[ReferralView]:
        """Returns the referrals by the customer's code with their states and rewards, newest first, in pages."""
        cursor = decode_cursor(after, tuple[int])
        before = cursor[0] if cursor is not None else _NEWEST
        await due.refresh(pool, [customer_id], datetime.now(UTC), settings.key())
        own = await referrals.list_of(pool, customer_id, before, limit + 1)
        listed = page(own, limit, lambda referral: (referral.number,))
        return Page(data=[ReferralView.of(referral) for referral in listed.data], next=listed.next)

    return router
