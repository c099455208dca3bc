"""The channels as the jobs use them: what is sent of a message, and over which port."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

from services.notifications.channels import port
from services.notifications.channels.port import Answer, Port, Refused
from services.notifications.handlers.library import Library, Shown, reader_of
from services.notifications.rendering.compiled import Template
from services.notifications.rendering.renderer import MailText, TemplateFailedError
from services.notifications.rules.gate import OLDEST
from services.notifications.rules.links import Links, has_unsubscribe_header
from services.notifications.rules.message import Channel, Kind
from services.notifications.rules.notice import complete
from services.notifications.rules.opting_out import with_words
from services.notifications.store import subscriptions
from services.notifications.store.mails import Mail
from services.notifications.store.subscriptions import Browser
from shared.postgres.pool import Connection

Send = Callable[[Mail, str, datetime], Awaitable[tuple[Answer, str]]]
"""Renders a message and sends it to an address; returns the answer and the locale of the text.

It raises TemplateFailedError, UnsendableError and UnreachableError.
"""


def _no_links(_message_id: UUID) -> Links | None:
    return None


_NO_PROVIDER: Final = Refused("the settings name no provider")


class Way(Protocol):
    """A channel, with what it takes to send messages on it."""

    @property
    def channel(self) -> Channel:
        """Which channel it is."""
        ...

    @property
    def connections(self) -> int:
        """How many messages can be sent at a time."""
        ...

    async def open(self, connection: Connection, messages: Sequence[Mail]) -> Send:
        """What sends these messages; reads all that it needs for them."""
        ...

    async def rest(self) -> None:
        """Close the connections that were not used for a while."""
        ...


@dataclass(frozen=True, slots=True)
class _Way:
    library: Library
    port: Port[Any] | None
    """None: the settings name no provider."""

    @property
    def connections(self) -> int:
        return 1 if self.port is None else self.port.connections

    async def rest(self) -> None:
        if self.port is not None:
            await self.port.rest()

    async def _send(self, letter: object) -> Answer:
        return _NO_PROVIDER if self.port is None else await self.port.send(letter)


@dataclass(frozen=True, slots=True)
class Mails(_Way):
    """E-mail; `links` are those of a message."""

    links: Callable[[UUID], Links | None] = _no_links
    channel = Channel.EMAIL

    async def open(self, connection: Connection, messages: Sequence[Mail]) -> Send:
        """What sends these mails."""
        del messages
        shown = await self.library.open(connection)

        async def send(mail: Mail, address: str, now: datetime) -> tuple[Answer, str]:
            template, locale = _template(self.library, shown, mail)
            facts, reader = complete(mail.trigger, mail.facts), reader_of(mail.recipient)
            links = self.links(mail.id)
            reader = replace(reader, unsubscribe=links.unsubscribe if links else None)
            text = self.library.renderer.email(template, locale, facts, reader)
            html, plain = _linked(text, links, is_marketing=mail.kind is Kind.MARKETING)
            letter = port.Mail(
                id=mail.id,
                address=address,
                topic=mail.topic,
                subject=text.subject,
                html=html,
                text=plain,
                language=text.locale,
                unsubscribe=links.unsubscribe if links and has_unsubscribe_header(mail.topic) else None,
                at=now,
            )
            return await self._send(letter), locale

        return send


@dataclass(frozen=True, slots=True)
class Texts(_Way):
    """Text messages; those of marketing end with the words in `opt_out`, by locale."""

    opt_out: Mapping[str, str] = field(default_factory=dict[str, str])
    channel = Channel.SMS

    async def open(self, connection: Connection, messages: Sequence[Mail]) -> Send:
        """What sends these text messages."""
        del messages
        shown = await self.library.open(connection)

        async def send(mail: Mail, address: str, now: datetime) -> tuple[Answer, str]:
            del now
            template, locale = _template(self.library, shown, mail)
            facts, reader = complete(mail.trigger, mail.facts), reader_of(mail.recipient)
            text = self.library.renderer.sms(template, locale, facts, reader).text
            if mail.kind is Kind.MARKETING:
                text = with_words(text, self.opt_out, locale)
            return await self._send(port.Sms(mail.id, address, text)), locale

        return send


@dataclass(frozen=True, slots=True)
class Pushes(_Way):
    """Push, to all browsers of a customer."""

    channel = Channel.PUSH

    async def open(self, connection: Connection, messages: Sequence[Mail]) -> Send:
        """What sends these pushes, to the browsers that are registered now."""
        shown = await self.library.open(connection)
        browsers = await subscriptions.load(connection, sorted({mail.customer_id for mail in messages}))

        async def send(mail: Mail, address: str, now: datetime) -> tuple[Answer, str]:
            del address
            template, locale = _template(self.library, shown, mail)
            facts, reader = complete(mail.trigger, mail.facts), reader_of(mail.recipient)
            text = self.library.renderer.push(template, locale, facts, reader)
            letter = port.Push(
                id=mail.id,
                subscriptions=[_subscription(browser) for browser in browsers.get(mail.customer_id, ())],
                title=text.title,
                body=text.body,
                url=text.url,
                language=text.locale,
                # A browser that is offline for longer would show what nobody wants to know any more.
                ttl=max(OLDEST - (now - mail.occurred_at), timedelta(0)),
                is_urgent=mail.kind is Kind.TRANSACTIONAL,
            )
            return await self._send(letter), locale

        return send


def _linked(text: MailText, links: Links | None, *, is_marketing: bool) -> tuple[str, str]:
    """The HTML and the plain text of a mail, with its links."""
    if links is None:
        return text.html, text.text
    html = links.decorate(text.html, is_marketing=is_marketing, locale=text.locale)
    return html, links.decorate_text(text.text, is_marketing=is_marketing, locale=text.locale)


def _template(library: Library, shown: Shown, mail: Mail) -> tuple[Template, str]:
    """The version of the template that a message was made with, and the locale that the customer has now.

    Raises:
        TemplateFailedError: the version is gone, or has no text of the channel.
    """
    template = shown.version(mail.template, mail.template_version)
    locale = None if template is None else template.locale(mail.channel, mail.recipient.locale, library.locale)
    if template is None or locale is None:
        raise TemplateFailedError(mail.channel, "the version of the template has no such text")
    return template, locale


def _subscription(browser: Browser) -> port.Subscription:
    return port.Subscription(browser.id, browser.endpoint, browser.p256dh, browser.auth)
