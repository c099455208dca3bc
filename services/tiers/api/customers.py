"""The routes of a customer's tier: what it is, its history, and giving it by hand."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from services.tiers.api.views import ChangeView, TierView
from services.tiers.handlers import standing
from services.tiers.handlers.assigning import Given, UnknownTierError, assign
from services.tiers.handlers.opening import Call
from services.tiers.store import timelines
from services.tiers.store.programs import Programs
from shared.contracts.values import Flag, Id, Instant
from shared.http.auth import CustomerId, Principal, customer_or, to_customer
from shared.http.auth.principal import Kind
from shared.http.bodies import BOUNDED
from shared.http.idempotency import documented, idempotent
from shared.http.languages import AcceptLanguage
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.problems import FieldError, Problem
from shared.http.request import request_id
from shared.postgres.pool import Connection, Pool


def _not_blank(note: str) -> str:
    if not note.strip():
        raise ValueError("say why the tier is given by hand")
    return note


class Assigning(BaseModel):
    """A tier to give by hand."""

    # A mistyped `until` must not give the tier for good.
    model_config = ConfigDict(extra="forbid")

    tier: Id = Field(examples=["gold"], description="Id of a tier of the program in force.")
    until: Instant | None = Field(
        default=None,
        description="When it ends, like a `valid_until`; ahead of now. Without it the tier is held as if reached now.",
    )
    locked: Flag = Field(
        default=False, description="Whether nothing but another tier given by hand moves the customer until then."
    )
    note: Annotated[str, Field(max_length=2000, description="Why; shown to support only."), AfterValidator(_not_blank)]


def routes(pool: Pool) -> APIRouter:
    """The routes of a customer's tier and its history."""
    router = APIRouter(tags=["tiers"])
    cached = Programs()
    _add_reading(router, pool, cached)
    _add_assigning(router, pool, cached)
    return router


def _add_reading(router: APIRouter, pool: Pool, cached: Programs) -> None:
    @router.get("/v1/customers/{id}/tier", dependencies=[Depends(customer_or("read"))], summary="Get a customer's tier")
    async def tier(customer_id: CustomerId, accept_language: AcceptLanguage = None) -> TierView:
        """Returns the tier as of now, what counts, and what is missing to the next tier and to keep this one.

        An unknown customer is in the first tier.
        """
        return TierView.of(await standing.read(pool, cached, customer_id, datetime.now(UTC)), accept_language)

    @router.get("/v1/customers/{id}/tier/history", summary="List the changes of a customer's tier")
    async def history(
        customer_id: CustomerId,
        principal: Annotated[Principal, Depends(customer_or("read", "support"))],
        limit: Limit = DEFAULT_LIMIT,
        after: After = None,
    ) -> Page[ChangeView]:
        """Returns every change of the tier or of its past, newest first, in pages.

        Who gave a tier by hand, and why, is not shown to the customer.
        """
        cursor = decode_cursor(after, tuple[int])
        recorded = await timelines.history(pool, customer_id, cursor[0] if cursor else None, limit + 1)
        listed = page(recorded, limit, lambda change: (change.number,))
        with_author = principal.kind is not Kind.CUSTOMER
        return Page(data=[ChangeView.of(own, with_author=with_author) for own in listed.data], next=listed.next)


def _add_assigning(router: APIRouter, pool: Pool, cached: Programs) -> None:
    @router.put(
        "/v1/customers/{id}/tier",
        response_model=TierView,
        summary="Give a customer a tier by hand",
        openapi_extra=documented(required=False),
    )
    async def assign_tier(
        request: Request,
        customer_id: CustomerId,
        sent: Annotated[Assigning, BOUNDED],
        principal: Annotated[Principal, Depends(to_customer("support"))],
        accept_language: AcceptLanguage = None,
    ) -> Response:
        """Put the customer into a tier now; it replaces a tier that was given before. Needs the scope `support`.

        Returns the tier as of now. 422 for an unknown tier, an `until` that is not ahead, or `locked` without `until`.
        """

        async def run(connection: Connection) -> tuple[int, object]:
            call = Call(customer_id, request_id(request), principal.name, datetime.now(UTC))
            _check(sent, call.now)
            given = Given(sent.tier, sent.until, sent.locked, sent.note)
            try:
                seen = await assign(connection, await cached.load(connection), call, given)
            except UnknownTierError as error:
                raise _invalid("/tier", f"is none of the program in force: {', '.join(error.tiers)}") from None
            return 200, TierView.of(seen, accept_language).model_dump(mode="json", by_alias=True)

        return await idempotent(request, pool, principal, False, run)


def _check(sent: Assigning, now: datetime) -> None:
    """Refuse an `until` that is not ahead, and a lock without one.

    Raises:
        Problem: 422, with the pointer.
    """
    if sent.until is not None and sent.until <= now:
        raise _invalid("/until", "has to be ahead of now")
    if sent.locked and sent.until is None:
        raise _invalid("/until", "is required with locked: say when the lock ends", "/locked")


def _invalid(pointer: str, message: str, *others: str) -> Problem:
    errors = [FieldError(pointer=each, message=message) for each in (pointer, *others)]
    return Problem(422, "invalid_request", f"{pointer}: {message}", errors)
