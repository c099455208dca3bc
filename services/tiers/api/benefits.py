"""The routes of benefits: what a customer has now, and using one."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.tiers.api.views import BenefitView
from services.tiers.handlers import standing
from services.tiers.handlers.benefits import NotEntitledError, UsedUpError, use
from services.tiers.handlers.opening import Call
from services.tiers.store.benefits import Use
from services.tiers.store.programs import Programs
from shared.contracts.values import Id
from shared.http.auth import CustomerId, Principal, customer_or, to_customer
from shared.http.bodies import BOUNDED
from shared.http.fields import OMITTED_IF_NONE
from shared.http.idempotency import documented, idempotent
from shared.http.languages import AcceptLanguage
from shared.http.problems import Problem
from shared.http.request import request_id
from shared.postgres.pool import Connection, Pool


class BenefitsView(BaseModel):
    """The benefits of a customer."""

    data: tuple[BenefitView, ...] = Field(description="The benefits that the customer has now, as the tier lists them.")


class UseRequest(BaseModel):
    """A use of a benefit."""

    reference: Id = Field(description="The shop's reference, unique among the customer's uses of the benefit.")


class UseView(BaseModel):
    """A use of a benefit."""

    model_config = ConfigDict(frozen=True)

    benefit: str = Field(description="Id of the benefit.")
    reference: str = Field(description="The shop's reference.")
    used_at: datetime = Field(description="When it was used.")
    left: Annotated[int | None, OMITTED_IF_NONE] = Field(
        default=None, description="How often it could be used again right after this use; absent for any number."
    )


def routes(pool: Pool) -> APIRouter:
    """The routes of benefits."""
    router = APIRouter(tags=["tiers"])
    cached = Programs()

    @router.get(
        "/v1/customers/{id}/benefits", dependencies=[Depends(customer_or("read"))], summary="List a customer's benefits"
    )
    async def benefits(customer_id: CustomerId, accept_language: AcceptLanguage = None) -> BenefitsView:
        """Returns the benefits that the customer's tier has now, and how often each can still be used."""
        seen = await standing.read(pool, cached, customer_id, datetime.now(UTC))
        return BenefitsView(data=tuple(BenefitView.of(own, accept_language) for own in seen.benefits))

    @router.post(
        "/v1/customers/{id}/benefits/{benefit}/uses",
        status_code=201,
        response_model=UseView,
        summary="Use a benefit",
        openapi_extra=documented(required=False),
    )
    async def use_benefit(
        request: Request,
        customer_id: CustomerId,
        benefit: Annotated[Id, Path(description="The benefit's id.")],
        sent: Annotated[UseRequest, BOUNDED],
        principal: Annotated[Principal, Depends(to_customer("redeem"))],
    ) -> Response:
        """Record that the customer uses a benefit now. Needs the scope `redeem`.

        The same reference again returns the first answer. 409 `not_entitled` if the tier does not have the benefit now,
        `used_up` if nothing is left of it.
        """

        async def run(connection: Connection) -> tuple[int, object]:
            call = Call(customer_id, request_id(request), principal.name, datetime.now(UTC))
            try:
                used = await use(connection, await cached.load(connection), call, benefit, sent.reference)
            except NotEntitledError:
                raise Problem(409, "not_entitled", "The customer's tier does not have this benefit now.") from None
            except UsedUpError:
                raise Problem(409, "used_up", "Nothing is left of this benefit.") from None
            return 201, _view(used).model_dump(mode="json")

        return await idempotent(request, pool, principal, False, run)

    return router


def _view(used: Use) -> UseView:
    return UseView(benefit=used.benefit, reference=used.reference, used_at=used.used_at, left=used.uses_left)
