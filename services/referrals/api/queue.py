"""The routes of the review queue: what waits for a decision, and why."""

from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query

from services.referrals.api.views import DetailedView, ReviewView
from services.referrals.handlers import reviewing
from services.referrals.handlers.reviewing import Wanted
from services.referrals.rules.referral import State
from services.referrals.settings import Settings
from services.referrals.store.queue import Place
from shared.http.auth import require
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.problems import Problem
from shared.postgres.pool import Pool

_READERS: Final = [Depends(require("read", "marketing"))]
_INT: Final = 2**31

ReferralId = Annotated[UUID, Path(alias="id", description="Id of the referral.")]


def routes(settings: Settings, pool: Pool) -> APIRouter:
    """The routes of the review queue."""
    router = APIRouter(tags=["referrals"])
    key = settings.key()

    @router.get("/v1/referrals", dependencies=_READERS, summary="List the referrals")
    async def list_referrals(
        state: Annotated[State | None, Query(description="Only referrals in this state.")] = None,
        limit: Limit = DEFAULT_LIMIT,
        after: After = None,
    ) -> Page[ReviewView]:
        """Returns referrals with their signals and history, the highest score first, in pages.

        `state=flagged` is the review queue: what waits for a person's decision now.
        """
        cursor = decode_cursor(after, tuple[int, UUID])
        if cursor is not None and not -_INT <= cursor[0] < _INT:
            raise Problem(400, "invalid_cursor", "after: not a cursor of this list.")
        before = None if cursor is None else Place(*cursor)
        found = await reviewing.find_page(pool, Wanted(state, before, limit + 1), datetime.now(UTC), key)
        listed = page(found, limit, lambda own: (own.referral.score, own.referral.referral_id))
        return Page(data=[ReviewView.of(*own) for own in listed.data], next=listed.next)

    @router.get("/v1/referrals/{id}", dependencies=_READERS, summary="Get a referral")
    async def referral(referral_id: ReferralId) -> DetailedView:
        """Returns a referral with its signals in words, its history, and what is known of both sides, in words."""
        found = await reviewing.find(pool, referral_id, datetime.now(UTC), key)
        if found is None:
            raise Problem(404, "not_found", "There is no such referral.")
        return DetailedView.with_facts(*found[0], found[1])

    return router
