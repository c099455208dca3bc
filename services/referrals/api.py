"""The HTTP routes: referral codes, an advocate's referrals, and the redirect from a referral link to the shop."""

from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from fastapi import Depends, FastAPI, Path, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field, HttpUrl

from services.referrals import handlers
from services.referrals.rules.referral import Ground, State
from services.referrals.settings import Settings
from services.referrals.store import referrals
from services.referrals.store.referrals import Listed
from shared.http.app import new_app
from shared.http.auth import CustomerId, Principal, Scope, customer_or
from shared.http.idempotency import documented, idempotent
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.postgres.pool import Connection, Pool

_NEWEST: Final = 2**63 - 1
_LinkCode = Annotated[str, Path(description="A referral code, in upper or lower case.")]


class ReferralCode(BaseModel):
    """A customer's referral code, and the link that carries it."""

    model_config = ConfigDict(frozen=True)

    code: str = Field(examples=["CDFGHJKM"], description="The code, in upper case; it never changes.")
    link: str = Field(
        examples=["https://shop.example.org/r/CDFGHJKM"],
        description="A link to share: it counts the visit and redirects to the shop.",
    )


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


def build(settings: Settings, pool: Pool) -> FastAPI:
    """The service's API."""
    app = new_app("referrals", "Wafa referrals", pool=pool, authenticator=settings.authenticator())
    _add_code(app, settings, pool)
    _add_list(app, pool)
    _add_link(app, settings, pool)
    return app


def _add_code(app: FastAPI, settings: Settings, pool: Pool) -> None:
    root = str(settings.public_url).rstrip("/")

    @app.post(
        "/v1/customers/{id}/referral-code",
        response_model=ReferralCode,
        tags=["referrals"],
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


def _add_list(app: FastAPI, pool: Pool) -> None:
    @app.get(
        "/v1/customers/{id}/referrals",
        dependencies=[Depends(customer_or(Scope.READ))],
        tags=["referrals"],
        summary="List an advocate's referrals",
    )
    async def own_referrals(
        customer_id: CustomerId, limit: Limit = DEFAULT_LIMIT, after: After = None
    ) -> Page[ReferralView]:
        """Returns the referrals by the customer's code with their states and rewards, newest first, in pages."""
        cursor = decode_cursor(after, tuple[int])
        before = cursor[0] if cursor is not None else _NEWEST
        own = await referrals.list_of(pool, customer_id, before, limit + 1)
        listed = page(own, limit, lambda referral: (referral.number,))
        return Page(data=[ReferralView.of(referral) for referral in listed.data], next=listed.next)


def _add_link(app: FastAPI, settings: Settings, pool: Pool) -> None:
    @app.get(
        "/r/{code}",
        status_code=302,
        response_class=RedirectResponse,
        tags=["referrals"],
        summary="Follow a referral link",
    )
    async def follow_link(code: _LinkCode) -> RedirectResponse:
        """Counts the visit and redirects to the shop; the redirect carries the code if a customer has it."""
        owned = await handlers.follow(pool, code, datetime.now(UTC))
        target = settings.shop_url if owned is None else _with_code(settings.shop_url, owned)
        # Browsers must not cache the redirect: each visit counts.
        return RedirectResponse(str(target), status_code=302, headers={"Cache-Control": "no-store"})


def _with_code(shop_url: HttpUrl, code: str) -> str:
    parts = urlsplit(str(shop_url))
    query = f"{parts.query}&ref={code}" if parts.query else f"ref={code}"
    return urlunsplit(parts._replace(query=query))
