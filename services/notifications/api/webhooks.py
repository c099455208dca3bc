"""Endpoints of webhooks, and their deliveries."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self
from uuid import UUID

import uuid_utils
from fastapi import Depends, FastAPI, Path, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.responses import Response

from services.notifications.rules import webhook
from services.notifications.rules.webhook import Disabled, Endpoint, State
from services.notifications.settings import Settings
from services.notifications.store import deliveries, endpoints
from services.notifications.store.deliveries import Delivery
from shared.http.auth import Principal, Scope, require
from shared.http.bodies import BOUNDED, at_most
from shared.http.fields import OMITTED_IF_NONE
from shared.http.guard import LONGEST_URL, Guard, RefusedUrl
from shared.http.idempotency import documented, idempotent
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.problems import FieldError, Problem
from shared.postgres.pool import Connection, Pool

MOST: Final = 50
"""Maximum number of endpoints."""

_MOST_TYPES: Final = 50
_TAG: Final = "webhooks"
_ABSENT: Final = Field(default_factory=lambda: None)

EndpointId = Annotated[str, Path(alias="id", min_length=1, max_length=128, description="Id of the endpoint.")]
DeliveryId = Annotated[str, Path(alias="delivery_id", min_length=1, max_length=128, description="Id of the delivery.")]
Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=LONGEST_URL,
        description="Where webhooks are sent: an https:// URL that leads to public addresses.",
        examples=["https://shop.example.org/hooks/wafa"],
    ),
]
Types = Annotated[
    list[Annotated[str, Field(max_length=128), AfterValidator(webhook.check_type)]],
    at_most(_MOST_TYPES),
    Field(
        description="The types of events that are sent, or all that begin alike; empty: every `loyalty.*` event.",
        examples=[["loyalty.points.*", "loyalty.tier.promoted.v1"]],
    ),
]
Description = Annotated[str, Field(max_length=500)]
ByAdmin = Annotated[Principal, Depends(require(Scope.ADMIN))]


class EndpointBody(BaseModel):
    """An endpoint to be added."""

    model_config = ConfigDict(extra="forbid")

    url: Url
    types: Annotated[Types, Field(default_factory=list)]
    description: Description | None = Field(default=None, description="What it is for.")


class EndpointChange(BaseModel):
    """The fields to change: an absent one stays as it is; null clears the description."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[Url, _ABSENT]
    types: Annotated[Types, _ABSENT]
    enabled: Annotated[
        bool,
        Field(strict=True, description="Whether webhooks are sent; what waits goes on when it is enabled again."),
        _ABSENT,
    ]
    description: Description | None = Field(default=None, description="What it is for.")


class EndpointView(BaseModel):
    """An endpoint."""

    id: UUID = Field(description="Id of the endpoint.")
    url: str = Field(description="Where webhooks are sent.")
    types: Sequence[str] = Field(description="The types of events that are sent; empty: every `loyalty.*` event.")
    description: Annotated[str | None, OMITTED_IF_NONE] = Field(default=None, description="What it is for.")
    enabled: bool = Field(description="Whether webhooks are sent.")
    disabled_reason: Annotated[Disabled | None, OMITTED_IF_NONE] = Field(
        default=None,
        description="Why Wafa disabled it: `gone` (it answered 410) or `failing` (only failures for five days).",
    )
    failing_since: Annotated[datetime | None, OMITTED_IF_NONE] = Field(
        default=None, description="The first failure since the last success."
    )
    secret_version: int = Field(description="How many secrets it has had.")
    created_at: datetime = Field(description="When it was added.")

    @classmethod
    def of(cls, endpoint: Endpoint) -> Self:
        """The view of an endpoint."""
        return cls(
            id=endpoint.id,
            url=endpoint.url,
            types=endpoint.types,
            description=endpoint.description,
            enabled=endpoint.enabled,
            disabled_reason=endpoint.disabled_reason,
            failing_since=endpoint.failing_since,
            secret_version=endpoint.generation,
            created_at=endpoint.created_at,
        )


class EndpointWithSecret(EndpointView):
    """An endpoint with its new secret, which is shown only here."""

    secret: str = Field(description="The secret that signs, as `whsec_` and base64.")


class AttemptView(BaseModel):
    """An attempt to deliver."""

    at: datetime = Field(description="When it began.")
    seconds: float = Field(description="How long it took.")
    status: Annotated[int | None, OMITTED_IF_NONE] = Field(default=None, description="The status of the answer.")
    error: Annotated[str | None, OMITTED_IF_NONE] = Field(default=None, description="Why there is no answer.")
    excerpt: Annotated[str | None, OMITTED_IF_NONE] = Field(
        default=None, description="The beginning of the answer, in printable characters."
    )


class DeliveryView(BaseModel):
    """A webhook to an endpoint."""

    id: UUID = Field(description="Id of the delivery.")
    webhook_id: str = Field(description="The header `webhook-id`: the id of the event.")
    type: str = Field(description="Type of the event.")
    customer_id: str = Field(description="The customer whom the event is about.")
    state: State = Field(description="`pending`, `delivered`, or `failed` once it is not tried any more.")
    created_at: datetime = Field(description="When it was made.")
    next_attempt_at: Annotated[datetime | None, OMITTED_IF_NONE] = Field(
        default=None, description="When it is tried next; absent if it is not pending."
    )
    attempts: Sequence[AttemptView] = Field(description="The attempts, oldest first; the last 50.")

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """The view of a delivery."""
        return cls(
            id=delivery.id,
            webhook_id=delivery.webhook_id,
            type=delivery.type,
            customer_id=delivery.customer_id,
            state=delivery.state,
            created_at=delivery.created_at,
            next_attempt_at=delivery.due_at,
            attempts=[AttemptView.model_validate(entry) for entry in delivery.log],
        )


def add(app: FastAPI, pool: Pool, guard: Guard, settings: Settings) -> None:
    """Add the routes."""
    master = None if settings.secret is None else settings.secret.get_secret_value()
    _add_reading(app, pool)
    _add_creating(app, pool, guard, master)
    _add_changing(app, pool, guard)
    _add_rotating(app, pool, master)
    _add_deliveries(app, pool)


def _add_reading(app: FastAPI, pool: Pool) -> None:
    @app.get(
        "/v1/webhook-endpoints",
        dependencies=[Depends(require(Scope.ADMIN))],
        tags=[_TAG],
        summary="List the endpoints of webhooks",
    )
    async def list_endpoints(limit: Limit = DEFAULT_LIMIT, after: After = None) -> Page[EndpointView]:
        """All endpoints, newest first, without their secrets."""
        cursor = decode_cursor(after, tuple[UUID])
        found = await endpoints.page(pool, None if cursor is None else cursor[0], limit + 1)
        shown: Page[Endpoint] = page(found, limit, lambda endpoint: (endpoint.id,))
        return Page(data=[EndpointView.of(endpoint) for endpoint in shown.data], next=shown.next)


def _add_creating(app: FastAPI, pool: Pool, guard: Guard, master: str | None) -> None:
    @app.post(
        "/v1/webhook-endpoints",
        status_code=201,
        response_model=EndpointWithSecret,
        tags=[_TAG],
        summary="Add an endpoint for webhooks",
        openapi_extra=documented(required=False),
    )
    async def add_endpoint(request: Request, body: Annotated[EndpointBody, BOUNDED], principal: ByAdmin) -> Response:
        """Adds an endpoint. It gets the events of its types that are handled from now on, signed with the secret.

        Webhooks are those of [Standard Webhooks](https://www.standardwebhooks.com) 1.0. 409 `too_many_endpoints`: there
        are 50; `no_secret`: the setting that secrets follow from is not set. 422: the URL may not be called.
        """
        _check_url(guard, body.url)
        secret_of = _secrets(master)

        async def run(connection: Connection) -> tuple[int, EndpointView]:
            if await endpoints.count(connection) >= MOST:
                raise Problem(409, "too_many_endpoints", f"There are {MOST} endpoints already; delete one first.")
            endpoint = Endpoint(
                id=UUID(int=uuid_utils.uuid7().int),
                url=body.url,
                types=tuple(dict.fromkeys(body.types)),
                description=body.description,
                enabled=True,
                disabled_reason=None,
                generation=1,
                rotated_at=(),
                failing_since=None,
                failed_at=None,
                created_at=datetime.now(UTC),
            )
            await endpoints.add(connection, endpoint)
            return 201, EndpointView.of(endpoint)

        return secret_of.shown(await idempotent(request, pool, principal, required=False, run=run))


def _add_changing(app: FastAPI, pool: Pool, guard: Guard) -> None:
    @app.patch(
        "/v1/webhook-endpoints/{id}",
        dependencies=[Depends(require(Scope.ADMIN))],
        tags=[_TAG],
        summary="Change an endpoint of webhooks",
    )
    async def change_endpoint(endpoint_id: EndpointId, body: Annotated[EndpointChange, BOUNDED]) -> EndpointView:
        """Changes the fields that are sent. Deliveries that wait go to the new URL.

        Enabling an endpoint forgets its failures, and what waits for it goes on.
        """
        if "url" in body.model_fields_set:
            _check_url(guard, body.url)
        wanted = _uuid(endpoint_id)
        async with pool.acquire() as connection, connection.transaction():
            endpoint = await endpoints.lock(connection, wanted)
            if endpoint is None:
                raise _no_endpoint()
            changed = replace(endpoint, **body.model_dump(exclude_unset=True))
            if "enabled" in body.model_fields_set:
                changed = replace(changed, disabled_reason=None, failing_since=None, failed_at=None)
            await endpoints.save(connection, changed)
        return EndpointView.of(changed)

    @app.delete(
        "/v1/webhook-endpoints/{id}",
        status_code=204,
        dependencies=[Depends(require(Scope.ADMIN))],
        tags=[_TAG],
        summary="Delete an endpoint of webhooks",
    )
    async def delete_endpoint(endpoint_id: EndpointId) -> None:
        """Deletes an endpoint with its deliveries: nothing more is sent to it."""
        async with pool.acquire() as connection:
            if not await endpoints.delete(connection, _uuid(endpoint_id), datetime.now(UTC)):
                raise _no_endpoint()


def _add_rotating(app: FastAPI, pool: Pool, master: str | None) -> None:
    @app.post(
        "/v1/webhook-endpoints/{id}/rotate",
        response_model=EndpointWithSecret,
        tags=[_TAG],
        summary="Give an endpoint of webhooks a new secret",
        openapi_extra=documented(required=False),
    )
    async def rotate(request: Request, endpoint_id: EndpointId, principal: ByAdmin) -> Response:
        """Returns a new secret. For 24 hours the old one signs as well: the header has two signatures."""
        wanted = _uuid(endpoint_id)
        secret_of = _secrets(master)

        async def run(connection: Connection) -> tuple[int, EndpointView]:
            endpoint = await endpoints.lock(connection, wanted)
            if endpoint is None:
                raise _no_endpoint()
            rotated_at = webhook.rotated(endpoint, datetime.now(UTC))
            changed = replace(endpoint, generation=endpoint.generation + 1, rotated_at=rotated_at)
            await endpoints.save(connection, changed)
            return 200, EndpointView.of(changed)

        return secret_of.shown(await idempotent(request, pool, principal, required=False, run=run))


def _add_deliveries(app: FastAPI, pool: Pool) -> None:
    @app.get(
        "/v1/webhook-endpoints/{id}/deliveries",
        dependencies=[Depends(require(Scope.ADMIN))],
        tags=[_TAG],
        summary="List the deliveries to an endpoint",
    )
    async def list_deliveries(
        endpoint_id: EndpointId, limit: Limit = DEFAULT_LIMIT, after: After = None
    ) -> Page[DeliveryView]:
        """The webhooks of the last 30 days, newest first, with the attempts to deliver each."""
        wanted = _uuid(endpoint_id)
        cursor = decode_cursor(after, tuple[UUID])
        if not await endpoints.exists(pool, wanted):
            raise _no_endpoint()
        found = await deliveries.page(pool, wanted, None if cursor is None else cursor[0], limit + 1)
        shown: Page[Delivery] = page(found, limit, lambda delivery: (delivery.id,))
        return Page(data=[DeliveryView.of(delivery) for delivery in shown.data], next=shown.next)

    @app.post(
        "/v1/webhook-endpoints/{id}/deliveries/{delivery_id}/resend",
        status_code=202,
        response_model=DeliveryView,
        tags=[_TAG],
        summary="Send a webhook again",
        openapi_extra=documented(required=False),
    )
    async def resend(
        request: Request, endpoint_id: EndpointId, delivery_id: DeliveryId, principal: ByAdmin
    ) -> Response:
        """Makes a delivery due now, whatever became of it, with the same `webhook-id` and all attempts before it.

        409 `endpoint_disabled`: nothing is sent to the endpoint.
        """
        wanted, of = _uuid(delivery_id), _uuid(endpoint_id)

        async def run(connection: Connection) -> tuple[int, DeliveryView]:
            endpoint = await endpoints.lock(connection, of)
            delivery = endpoint and await deliveries.resend(connection, wanted, of, datetime.now(UTC))
            if endpoint is None or delivery is None:
                raise Problem(404, "not_found", "There is no such delivery.")
            if not endpoint.enabled:
                raise Problem(409, "endpoint_disabled", "The endpoint is disabled: enable it first.")
            return 202, DeliveryView.of(delivery)

        return await idempotent(request, pool, principal, required=False, run=run)


@dataclass(frozen=True, slots=True)
class _Secrets:
    """Shows secrets in answers. What is stored for the idempotency key is the answer without its secret."""

    master: str

    def shown(self, answer: Response) -> Response:
        """An answer that has an endpoint, with the endpoint's newest secret."""
        content: dict[str, Any] = json.loads(bytes(answer.body))
        secret = webhook.secret(self.master, UUID(content["id"]), content["secret_version"])
        body = to_json(content | {"secret": webhook.in_words(secret)})
        headers = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        return Response(body, answer.status_code, headers, "application/json")


def _secrets(master: str | None) -> _Secrets:
    if master is None:
        raise Problem(409, "no_secret", "WAFA_NOTIFICATIONS_SECRET is not set: secrets of endpoints follow from it.")
    return _Secrets(master)


def _check_url(guard: Guard, url: str) -> None:
    try:
        guard.check(url)
    except RefusedUrl as refused:
        message = f"The URL {refused}."
        raise Problem(
            422, "invalid_request", f"/url: {message}", (FieldError(pointer="/url", message=message),)
        ) from None


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise _no_endpoint() from None


def _no_endpoint() -> Problem:
    return Problem(404, "not_found", "There is no such endpoint.")
