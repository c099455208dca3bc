"""Push subscriptions: the browsers of a customer."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self
from uuid import UUID

import uuid_utils
from fastapi import Depends, FastAPI, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from services.notifications.api.preferences import erased
from services.notifications.channels.push.encryption import BadKeysError, check_keys
from services.notifications.handlers import choosing
from services.notifications.handlers.choosing import ErasedCustomerError
from services.notifications.store import subscriptions
from services.notifications.store.subscriptions import Browser
from shared.http.auth import CustomerId, Principal, Scope, customer_or
from shared.http.bodies import BOUNDED
from shared.http.guard import LONGEST_URL, Guard, RefusedUrl
from shared.http.idempotency import documented, idempotent
from shared.http.problems import FieldError, Problem
from shared.postgres.pool import Connection, Pool

_PATH: Final = "/v1/customers/{id}/push-subscriptions"
_SubscriptionId = Annotated[
    str, Path(alias="sid", min_length=1, max_length=128, description="Id of the push subscription.")
]


class SubscriptionKeys(BaseModel):
    """The keys of a browser, in base64url; with them only this browser can read what is pushed (RFC 8291)."""

    p256dh: str = Field(max_length=200, description="Public key: a point of P-256, uncompressed.")
    auth: str = Field(max_length=100, description="Secret of 16 bytes.")


class SubscriptionRequest(BaseModel):
    """A push subscription, as `PushSubscription.toJSON()` of a browser gives it."""

    endpoint: str = Field(
        max_length=LONGEST_URL,
        description="URL of the push service, over https.",
        examples=["https://push.example.org/send/c3Vic2NyaXB0aW9u"],
    )
    keys: SubscriptionKeys = Field(description="Keys of the browser.")


class SubscriptionView(BaseModel):
    """A push subscription."""

    model_config = ConfigDict(frozen=True)

    id: UUID = Field(description="Id of the subscription.")
    endpoint: str = Field(description="URL of the push service.")
    created_at: datetime = Field(description="When it was registered last.")

    @classmethod
    def of(cls, browser: Browser) -> Self:
        """The view of a browser."""
        return cls(id=browser.id, endpoint=browser.endpoint, created_at=browser.created_at)


def add(app: FastAPI, guard: Guard, pool: Pool) -> None:
    """Add the routes of push subscriptions; `guard` says which push services may be called."""
    _add_register(app, guard, pool)
    _add_remove(app, pool)


def _add_register(app: FastAPI, guard: Guard, pool: Pool) -> None:
    @app.post(
        _PATH,
        status_code=201,
        response_model=SubscriptionView,
        tags=["notifications"],
        summary="Register a browser for pushed messages",
        openapi_extra=documented(required=False),
    )
    async def register(
        request: Request,
        customer_id: CustomerId,
        wanted: Annotated[SubscriptionRequest, BOUNDED],
        principal: Annotated[Principal, Depends(customer_or(Scope.SUPPORT))],
    ) -> Response:
        """Registers a push subscription, as a browser gives it.

        The same endpoint again keeps its id; it belongs to the customer who registered it last. Of a customer's
        subscriptions the newest ten are kept. 409 `erased`: the customer was erased and has not registered again.
        """
        _check(guard, wanted)
        now = datetime.now(UTC)
        browser = Browser(_new_id(), customer_id, wanted.endpoint, wanted.keys.p256dh, wanted.keys.auth, now)

        async def run(connection: Connection) -> tuple[int, Any]:
            try:
                return 201, SubscriptionView.of(await choosing.register(connection, browser))
            except ErasedCustomerError:
                raise erased() from None

        return await idempotent(request, pool, principal, required=False, run=run)


def _add_remove(app: FastAPI, pool: Pool) -> None:
    @app.delete(
        f"{_PATH}/{{sid}}",
        status_code=204,
        dependencies=[Depends(customer_or(Scope.SUPPORT))],
        tags=["notifications"],
        summary="Remove a browser",
    )
    async def remove(customer_id: CustomerId, sid: _SubscriptionId) -> None:
        """Removes a push subscription of the customer, if there is one: a repeat changes nothing."""
        try:
            wanted = UUID(sid)
        except ValueError:
            raise _unknown() from None
        async with pool.acquire() as connection:
            await subscriptions.remove(connection, customer_id, wanted)


def _check(guard: Guard, wanted: SubscriptionRequest) -> None:
    """Check what a customer sent.

    Raises:
        Problem: 422, with the pointer of what does not fit.
    """
    try:
        guard.check(wanted.endpoint)
        wanted.endpoint.encode("ascii")
    except RefusedUrl as error:
        raise _invalid("/endpoint", str(error)) from error
    except UnicodeEncodeError as error:
        raise _invalid("/endpoint", "The URL has characters that are not ASCII.") from error
    try:
        check_keys(wanted.keys.p256dh, wanted.keys.auth)
    except BadKeysError as error:
        raise _invalid("/keys", str(error)) from error


def _invalid(pointer: str, message: str) -> Problem:
    return Problem(422, "invalid_request", f"{pointer}: {message}", [FieldError(pointer=pointer, message=message)])


def _unknown() -> Problem:
    return Problem(404, "not_found", "There is no such push subscription.")


def _new_id() -> UUID:
    return UUID(int=uuid_utils.uuid7().int)
