"""An advocate's referrals."""

from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter, Depends

from services.referrals.api.views import ReferralView
from services.referrals.handlers import due
from services.referrals.settings import Settings
from services.referrals.store import referrals
from shared.http.auth import CustomerId, Scope, customer_or
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.postgres.pool import Pool

_NEWEST: Final = 2**63 - 1


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
        """Returns the referrals by the customer's codes with their states and rewards, newest first, in pages.

        Nothing in it tells about the friend: neither who it is, nor what they did.
        """
        cursor = decode_cursor(after, tuple[int])
        before = cursor[0] if cursor is not None else _NEWEST
        await due.refresh(pool, [customer_id], datetime.now(UTC), settings.key())
        own = await referrals.list_of(pool, customer_id, before, limit + 1)
        listed = page(own, limit, lambda own: (own.number,))
        return Page(data=[ReferralView.of(own.referral) for own in listed.data], next=listed.next)

    return router
