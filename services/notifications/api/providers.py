"""What providers of mail and text messages report."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import FastAPI, Path, Request
from pydantic import BaseModel, Field, SecretStr, ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.datastructures import Headers

from services.notifications.handlers import reporting
from services.notifications.handlers.reporting import Report
from services.notifications.rules.mark import Mark
from services.notifications.rules.tokens import Keys
from services.notifications.store import marks
from shared import telemetry
from shared.contracts.values import Instant
from shared.http.problems import FieldError, Problem, escape
from shared.postgres.pool import Pool

MOST_EVENTS: Final = 200
PATH: Final = "/v1/provider-events/"
_LONGEST_ID: Final = 255


class ProviderEvent(BaseModel):
    """What happened to a message, or at an address."""

    type: Annotated[str, Field(max_length=100)] = Field(
        description="`delivered`, `bounced`, `complained` or `unsubscribed`; other types are counted and skipped."
    )
    message_id: Annotated[str, Field(max_length=128)] | None = Field(
        default=None, description="Id of the message in Wafa, if the provider knows it."
    )
    address: Annotated[str, Field(min_length=1, max_length=320)] = Field(
        description="The mail address, or the phone number in E.164."
    )
    permanent: bool = Field(
        default=False, description="Of a bounce: the address does not exist, so nothing is sent to it any more."
    )
    at: Instant = Field(description="When it happened.")

    def to_report(self) -> Report | None:
        """The report; None for an unknown type."""
        mark = _MARKS.get((self.type, self.permanent if self.type == "bounced" else None))
        return None if mark is None else Report(mark, self.address.strip(), _uuid(self.message_id), self.at)


_MARKS: Final[Mapping[tuple[str, bool | None], Mark]] = {
    ("delivered", None): Mark.DELIVERED,
    ("bounced", True): Mark.BOUNCED,
    ("bounced", False): Mark.DEFERRED,
    ("complained", None): Mark.COMPLAINED,
    ("unsubscribed", None): Mark.UNSUBSCRIBED,
}


class ProviderEvents(BaseModel):
    """What a provider reports at once."""

    events: Annotated[tuple[ProviderEvent, ...], Field(max_length=MOST_EVENTS, fail_fast=True)] = Field(
        description="The events, at most 200; a body has up to 16 KB."
    )


class Received(BaseModel):
    """What became of a report."""

    state: Literal["handled", "repeated"] = Field(description="`repeated`: the same `webhook-id` was handled before.")
    events: int = Field(description="Number of events that had an effect or were in the log already.")
    skipped: int = Field(description="Number of events of unknown types.")


def add(app: FastAPI, secrets: Mapping[str, SecretStr], keys: Keys, pool: Pool) -> None:
    """Add the route; `secrets` are those of the providers, by name.

    Raises:
        ValueError: a secret is not one of Standard Webhooks.
    """
    webhooks = {name: _webhook(name, secret) for name, secret in secrets.items()}
    _add_receive(app, webhooks, keys, pool)


def _add_receive(app: FastAPI, webhooks: Mapping[str, Webhook], keys: Keys, pool: Pool) -> None:
    body = {"required": True, "content": {"application/json": {"schema": _schema()}}}

    @app.post(
        f"{PATH}{{provider}}",
        tags=["notifications"],
        summary="Report what happened to messages",
        openapi_extra={"requestBody": body},
    )
    async def receive(
        request: Request, provider: Annotated[str, Path(max_length=64, description="Name of the provider.")]
    ) -> Received:
        """Takes deliveries, bounces, complaints and unsubscriptions, signed as Standard Webhooks 1.0 says.

        401: the provider is unknown, the signature is missing or wrong, or it is older than 5 minutes. The same
        `webhook-id` again is answered 200 and has no effect.
        """
        content = await request.body()
        _verify(webhooks.get(provider), content, request)
        events = _parse(content).events
        reports = [report for report in (event.to_report() for event in events) if report is not None]
        now = datetime.now(UTC)
        async with pool.acquire() as connection, connection.transaction():
            is_new = await marks.is_new_report(connection, provider, request.headers["webhook-id"], now)
            if is_new:
                await reporting.handle(connection, keys, provider, reports, now)
        skipped = len(events) - len(reports)
        if is_new:
            for report in reports:
                telemetry.PROVIDER_EVENTS.labels(report.mark).inc()
            telemetry.PROVIDER_EVENTS.labels("unknown").inc(skipped)
        return Received(state="handled" if is_new else "repeated", events=len(reports), skipped=skipped)


def _webhook(name: str, secret: SecretStr) -> Webhook:
    try:
        return Webhook(secret.get_secret_value())
    except ValueError:
        raise ValueError(
            f"settings: WAFA_NOTIFICATIONS_PROVIDER_SECRETS: the secret of {name} is not whsec_…"
        ) from None


def _verify(webhook: Webhook | None, content: bytes, request: Request) -> None:
    """Check the signature.

    Raises:
        Problem: 401, there is no valid one.
    """
    if webhook is None or not _is_signed(webhook, content, request.headers):
        detail = "Sign the request as Standard Webhooks 1.0 says, with the secret of the provider, within 5 minutes."
        raise Problem(401, "unauthenticated", detail).with_headers({"WWW-Authenticate": 'Webhook realm="wafa"'})


def _is_signed(webhook: Webhook, content: bytes, headers: Headers) -> bool:
    if len(headers.get("webhook-id", "")) > _LONGEST_ID:
        return False
    try:
        webhook.verify(content, dict(headers), json_parse=False)
    except (WebhookVerificationError, ValueError):
        return False
    return True


def _parse(content: bytes) -> ProviderEvents:
    try:
        return ProviderEvents.model_validate_json(content)
    except ValidationError as error:
        errors = [
            FieldError(pointer="".join(f"/{escape(str(step))}" for step in item["loc"]), message=item["msg"])
            for item in error.errors(include_url=False, include_context=False)[:100]
        ]
        if any(item["type"] == "json_invalid" for item in error.errors()):
            raise Problem(400, "malformed_json", "The body is not JSON.") from None
        raise Problem(422, "invalid_request", f"{errors[0].pointer}: {errors[0].message}", errors) from None


def _schema() -> dict[str, object]:
    schema = ProviderEvents.model_json_schema()
    definitions: dict[str, dict[str, object]] = schema.pop("$defs")
    schema["properties"]["events"]["items"] = definitions["ProviderEvent"]
    return schema


def _uuid(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        return None
