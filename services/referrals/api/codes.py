"""A customer's referral code."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from services.referrals import handlers
from services.referrals.settings import Settings
from shared.http.auth import CustomerId, Principal, Scope, customer_or
from shared.http.idempotency import documented, idempotent
from shared.postgres.pool import Connection, Pool


class ReferralCode(BaseModel):
    """A customer's referral code, and the link that carries it."""

    model_config = ConfigDict(frozen=True)

    code: str = Field(examples=["CDFGHJKM"], description="The code, in upper case; it never changes.")
    link: str = Field(
        examples=["https://shop.example.org/r/CDFGHJKM"],
        description="A link to share: it counts the visit and redirects to the shop.",
    )


def routes(settings: Settings, pool: Pool) -> APIRouter:
    """The route of codes."""
    router = APIRouter(tags=["referrals"])
    root = str(settings.public_url).rstrip("/")

    @router.post(
        "/v1/customers/{id}/referral-code",
        response_model=ReferralCode,
        summary="Get or create a customer's referral code",
        openapi_extra=documented(required=False),
    )
    async def referral_code(
        request: Request, customer_id: CustomerId, principal: Annotated[Principal, Depends(customer_or(Scope.READ))]
    ) -> Response:
        """Returns the code and its link, which are the same each time; creates the code at the first call."""

        async def run(connection: Connection) -> tuple[int, ReferralCode]:
            code = await handlers.find_or_make_code(connection, customer_id, datetime.now(UTC))
            return 200, ReferralCode(code=code, link=f"{root}/r/{code}")

        return await idempotent(request, pool, principal, required=False, run=run)

    return router
