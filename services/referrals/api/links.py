"""Referral links: each visit of a person is counted, and every visit is redirected to the shop."""

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path
from fastapi.responses import RedirectResponse

from services.referrals.handlers import codes
from services.referrals.rules.codes.sharing import link_to_shop, target, target_without_code
from services.referrals.settings import Settings
from services.referrals.store import programs
from shared.http.bots import is_bot
from shared.postgres.pool import Pool

_PATH: Final = "/r/{code}"
_LinkCode = Annotated[str, Path(description="A referral code, in upper or lower case; blanks and hyphens are ignored.")]
_UserAgent = Annotated[
    str | None, Header(alias="User-Agent", description="Visits of crawlers, and of previews in chats, are not counted.")
]


def routes(settings: Settings, pool: Pool) -> APIRouter:
    """The route of links."""
    router = APIRouter(tags=["referrals"])
    without_program = link_to_shop(str(settings.shop_url))

    async def lead(text: str, *, counts: bool) -> RedirectResponse:
        now = datetime.now(UTC)
        async with pool.acquire() as connection:
            code = await (codes.follow(connection, text, now) if counts else codes.find(connection, text))
            program = await programs.load_program(connection, now)
        link = program.link or without_program
        page = target_without_code(link) if code is None else target(link, code)
        # Browsers must not cache the redirect: each visit counts, and another version may lead elsewhere.
        return RedirectResponse(page, status_code=302, headers={"Cache-Control": "no-store"})

    @router.get(_PATH, status_code=302, response_class=RedirectResponse, summary="Follow a referral link")
    async def follow_link(code: _LinkCode, user_agent: _UserAgent = None) -> RedirectResponse:
        """Counts the visit and redirects to the page that the program in force names.

        The redirect carries the code if a customer has it.
        """
        return await lead(code, counts=not is_bot(user_agent))

    @router.head(_PATH, status_code=302, response_class=RedirectResponse, include_in_schema=False)
    async def look_at_link(code: _LinkCode) -> RedirectResponse:
        """Redirects as GET does, and counts nothing."""
        return await lead(code, counts=False)

    return router
