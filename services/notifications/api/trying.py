"""Previews of templates, and messages that are sent as a test."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

import uuid_utils
from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import to_json

from services.notifications.channels import port
from services.notifications.channels.opening import open_all
from services.notifications.channels.port import PutOff, Taken, UnreachableError, UnsendableError
from services.notifications.handlers.library import Library, reader_of
from services.notifications.rendering.compiled import Template, compiled, place
from services.notifications.rendering.kind import NAME, SAMPLE_READER, Rendered, facts_of
from services.notifications.rendering.renderer import MailText, Reader, SmsText, TemplateFailedError
from services.notifications.rules import gate
from services.notifications.rules.links import Links, has_unsubscribe_header
from services.notifications.rules.message import Channel, Kind
from services.notifications.rules.segments import measure
from services.notifications.rules.template.document import MAX_BYTES, TemplateDocument
from services.notifications.settings import Settings
from services.notifications.store import customers, recipients, standings, test_sends
from services.notifications.store.standings import Points
from shared.contracts.values import Id
from shared.http.auth import Principal, Scope, require
from shared.http.bodies import BOUNDED
from shared.http.fields import OMITTED_IF_NONE
from shared.http.problems import FieldError, Problem
from shared.postgres.pool import Pool
from shared.programs import store as programs
from shared.programs.kind import Key
from shared.programs.routes import DocumentId, VersionNumber

_MOST: Final = 20
"""Maximum number of messages that a caller sends as a test within an hour."""
_SECONDS: Final = 30

_TemplateId = Annotated[DocumentId, Path(alias="id", description="Id of the template.")]
_Tag = Annotated[str, Field(min_length=1, max_length=35, examples=["ar-EG"], description="Locale (BCP 47).")]


class PreviewRequest(BaseModel):
    """What to show a template with."""

    model_config = ConfigDict(extra="forbid")

    locale: _Tag
    channel: Channel = Field(description="Channel.")
    customer_id: Id | None = Field(default=None, description="A customer to show it for; default: a made-up one.")
    event: dict[str, JsonValue] | None = Field(default=None, description="Data of a trigger; default: the samples.")


class TestSendRequest(BaseModel):
    """Where to send a template as a test."""

    model_config = ConfigDict(extra="forbid")

    to: str = Field(min_length=1, max_length=320, description="E-mail address, or phone number.")
    channel: Channel = Field(description="`email` or `sms`.")
    locale: _Tag


class PreviewView(BaseModel):
    """A text of a template: the fields of its channel."""

    title: Annotated[str | None, OMITTED_IF_NONE] = Field(default=None, description="Of the inbox and push.")
    body: Annotated[str | None, OMITTED_IF_NONE] = Field(default=None, description="Of the inbox and push.")
    url: Annotated[str | None, OMITTED_IF_NONE] = Field(default=None, description="Of push, if it has one.")
    subject: Annotated[str | None, OMITTED_IF_NONE] = Field(default=None, description="Of a mail.")
    preheader: Annotated[str | None, OMITTED_IF_NONE] = Field(default=None, description="Of a mail, if it has one.")
    html: Annotated[str | None, OMITTED_IF_NONE] = Field(default=None, description="Of a mail.")
    text: Annotated[str | None, OMITTED_IF_NONE] = Field(
        default=None, description="Of a mail: its plain text; of a text message."
    )
    segments: Annotated[int | None, OMITTED_IF_NONE] = Field(
        default=None, description="Number of segments in which a text message is sent."
    )
    locale: str = Field(description="The locale of the template that was chosen.")

    @classmethod
    def of(cls, text: Rendered) -> "PreviewView":
        """The view of a text."""
        fields = {name: getattr(text, name) for name in type(text).__slots__}
        return cls(**fields, segments=measure(text.text).count if isinstance(text, SmsText) else None)


class TestSentView(BaseModel):
    """A message that was sent as a test."""

    id: UUID = Field(description="Id of the message: it is in no log.")
    locale: str = Field(description="The locale of the template that was chosen.")


@dataclass(frozen=True, slots=True)
class _Desk:
    pool: Pool
    library: Library
    settings: Settings

    async def template(self, id_: str, version: int) -> Template:
        stored = await programs.find(self.pool, Key(NAME, id_), version)
        if stored is None:
            raise Problem(404, "not_found", "There is no such version.")
        return compiled(version, TemplateDocument.model_validate(stored.document))

    async def render(
        self, template: Template, channel: Channel, tag: str, facts: Mapping[str, Any], reader: Reader
    ) -> Rendered:
        locale = template.locale(channel, tag, self.library.locale)
        if locale is None:
            raise _wrong("/channel", f"The template has no text for {channel}.")
        reader = replace(reader, locale=tag)
        try:
            # A large text takes a while, during which other requests are answered.
            return await asyncio.to_thread(self.library.templates.render, template, channel, locale, facts, reader)
        except TemplateFailedError as error:
            raise _wrong(place(channel, locale, error.field), f"{error.message}.") from None

    async def reader(self, customer_id: str) -> Reader:
        async with self.pool.acquire() as connection:
            profile = await customers.load(connection, customer_id)
            known = await recipients.load(connection, {customer_id: profile}, (), datetime.now(UTC))
            standing = (await standings.points(connection, [customer_id])).get(customer_id, Points())
        return replace(
            reader_of(known[customer_id]),
            tier=standing.tier,
            available=standing.available,
            pending=standing.pending,
            unsubscribe=SAMPLE_READER.unsubscribe,
        )

    async def count(self, principal: str) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            now = datetime.now(UTC)
            await test_sends.lock(connection, principal)
            await test_sends.forget(connection, principal, now)
            if not await test_sends.add(connection, principal, now, _MOST):
                problem = Problem(429, "too_many_tests", f"At most {_MOST} messages an hour are sent as a test.")
                raise problem.with_headers({"Retry-After": "3600"})

    async def send(self, template: Template, wanted: TestSendRequest) -> TestSentView:
        message_id = UUID(int=uuid_utils.uuid7().int)
        real = self.settings.links(message_id)
        links = None if real is None else replace(real, is_test=True)
        reader = SAMPLE_READER if links is None else replace(SAMPLE_READER, unsubscribe=links.unsubscribe)
        facts = facts_of(template.document)
        address = _address(wanted)
        text = await self.render(template, wanted.channel, wanted.locale, facts, reader)
        channels = open_all(self.settings)
        try:
            async with asyncio.timeout(_SECONDS):
                if isinstance(text, MailText):
                    answer = await channels.email.send(_mail(message_id, address, template, text, links))
                elif channels.sms is None or not isinstance(text, SmsText):
                    raise Problem(409, "no_provider", f"The settings name no provider for {wanted.channel}.")
                else:
                    answer = await channels.sms.send(port.Sms(message_id, address, f"[Test] {text.text}"))
        except (UnreachableError, TimeoutError):
            raise Problem(503, "provider_unreachable", "The provider does not answer; try again.") from None
        except UnsendableError as error:
            raise _wrong(f"/{wanted.channel}", str(error)) from None
        finally:
            await channels.close()
        if isinstance(answer, PutOff):
            raise Problem(503, "put_off", f"The provider put it off: {answer.error}")
        if not isinstance(answer, Taken):
            raise _wrong("/to", f"The provider refuses it: {answer.error}")
        return TestSentView(id=message_id, locale=text.locale)


def add(router: APIRouter, pool: Pool, library: Library, settings: Settings) -> None:
    """Add the routes."""
    desk = _Desk(pool, library, settings)

    @router.post("/v1/templates/{id}/versions/{version}/preview", summary="Show a template")
    async def preview(
        id_: _TemplateId,
        version: VersionNumber,
        wanted: Annotated[PreviewRequest, BOUNDED],
        principal: Annotated[Principal, Depends(require(Scope.MARKETING))],
    ) -> PreviewView:
        """A version, a draft too, rendered in a locale on a channel.

        Without `event` the samples are shown. A customer's name, tier and points are personal data: `customer_id` needs
        the scope `read` besides.
        """
        if wanted.customer_id is not None and not principal.may(Scope.READ):
            raise Problem(403, "missing_scope", "`customer_id` shows personal data: it needs the scope `read`.")
        if wanted.event is not None and len(to_json(wanted.event)) > MAX_BYTES:
            raise _wrong("/event", f"It has more than {MAX_BYTES} bytes.")
        template = await desk.template(id_, version)
        reader = SAMPLE_READER if wanted.customer_id is None else await desk.reader(wanted.customer_id)
        facts = facts_of(template.document) if wanted.event is None else wanted.event
        return PreviewView.of(await desk.render(template, wanted.channel, wanted.locale, facts, reader))

    @router.post("/v1/templates/{id}/versions/{version}/test-send", summary="Send a template as a test")
    async def test_send(
        id_: _TemplateId,
        version: VersionNumber,
        wanted: Annotated[TestSendRequest, BOUNDED],
        principal: Annotated[Principal, Depends(require(Scope.MARKETING))],
    ) -> TestSentView:
        """Sends a version, a draft too, with its samples, to an address; up to 20 an hour for each caller.

        The subject begins with `[Test]`, and the links to unsubscribe do nothing.
        """
        template = await desk.template(id_, version)
        _address(wanted)
        await desk.count(principal.name)
        return await desk.send(template, wanted)


def _address(wanted: TestSendRequest) -> str:
    match wanted.channel:
        case Channel.EMAIL:
            address = gate.mailbox(wanted.to)
        case Channel.SMS:
            address = gate.phone_number(wanted.to, None)
        case _:
            raise _wrong("/channel", "Only mails and text messages are sent as a test.")
    if address is None:
        raise _wrong("/to", f"It is no address for {wanted.channel}.")
    return address


def _mail(message_id: UUID, address: str, template: Template, text: MailText, links: Links | None) -> port.Mail:
    html, plain = text.html, text.text
    if links is not None:
        is_marketing = template.kind is Kind.MARKETING
        html = links.decorate(html, is_marketing=is_marketing, locale=text.locale)
        plain = links.decorate_text(plain, is_marketing=is_marketing, locale=text.locale)
    return port.Mail(
        id=message_id,
        address=address,
        topic=template.topic,
        subject=f"[Test] {text.subject}",
        html=html,
        text=plain,
        language=text.locale,
        unsubscribe=links.unsubscribe if links and has_unsubscribe_header(template.topic) else None,
        at=datetime.now(UTC),
    )


def _wrong(pointer: str, message: str) -> Problem:
    return Problem(422, "invalid_request", f"{pointer}: {message}", (FieldError(pointer=pointer, message=message),))
