"""Referral links: each visit is counted, and redirected to the shop."""

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

from fastapi import APIRouter, Path
from fastapi.responses import RedirectResponse
from pydantic import HttpUrl

from services.referrals import handlers
from services.referrals.settings import Settings
from shared.postgres.pool import Pool

_LinkCode = Annotated[str, Path(description="A referral code, in upper or lower case.")]


def routes(settings: Settings, pool: Pool) -> APIRouter:
    """The route of links."""
    router = APIRouter(tags=["referrals"])

    @router.get(
        "/r/{code}",
        status_code=302,
        response_class=RedirectResponse,
        summary="Follow a referral link",
    )
    async def follow_link(code: _LinkCode) -> RedirectResponse:
        """Counts the visit and redirects to the shop; the redirect carries the code if a customer has it."""
        owned = await handlers.follow(pool, code, datetime.now(UTC))
        target = settings.shop_url if owned is None else _with_code(settings.shop_url, owned)
        # Browsers must not cache the redirect: each visit counts.
        return RedirectResponse(str(target), status_code=302, headers={"Cache-Control": "no-store"})

    return router


def _with_code(shop_url: HttpUrl, code: str) -> str:
    parts = urlsplit(str(shop_url))
    query = f"{parts.query}&ref={code}" if parts.query else f"ref={code}"
    return urlunsplit(parts._replace(query=query))
