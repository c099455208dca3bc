"""Renders the messages of a customer."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import lru_cache
from html import unescape
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError

from services.notifications import wording
from services.notifications.rendering import mail
from services.notifications.rendering.compiled import Template, Texts
from services.notifications.rendering.liquid import LiquidError
from services.notifications.rendering.mail import Frame
from services.notifications.rendering.names import first_name, tidy
from services.notifications.rules.message import Channel, Kind
from services.notifications.rules.template.document import normalized

STANDING: Final = "customer"
"""The fact that has the customer's tier and points of when the message was made: templates can declare no such name."""
_DEEPEST: Final = 20
_URL: Final = re.compile(r"(?:https?:/)?/[^\s\\\x00-\x1f]*")

_BLANK: Final = "it is blank"
_OPTIONAL: Final = frozenset({"preheader", "url"})
"""The fields that may be blank."""


class TemplateFailedError(Exception):
    """A text cannot be rendered with the given facts; `field` is where it stands in the document."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.field = name
        self.message = message


@dataclass(frozen=True, slots=True)
class Reader:
    """The recipient of a message; None for what is not known."""

    id: str = ""
    name: str | None = None
    locale: str | None = None
    time_zone: str | None = None
    tier: str | None = None
    available: int = 0
    pending: int = 0
    unsubscribe: str | None = None
    """The page that ends such messages: the only one of `links`."""


@dataclass(frozen=True, slots=True)
class InAppText:
    """An inbox message, in plain text."""

    title: str
    body: str
    locale: str


@dataclass(frozen=True, slots=True)
class MailText:
    """A mail as HTML and as plain text."""

    subject: str
    preheader: str | None
    html: str
    text: str
    locale: str


@dataclass(frozen=True, slots=True)
class SmsText:
    """A text message."""

    text: str
    locale: str


@dataclass(frozen=True, slots=True)
class PushText:
    """A push notification."""

    title: str
    body: str
    url: str | None
    locale: str


@dataclass(frozen=True, slots=True)
class Renderer:
    """Renders texts with the name of the program; `zone` is that of customers whose profile has none."""

    program: str
    zone: tzinfo = UTC
    locale: str = "en"
    """The program's default locale."""
    currency: str = "USD"
    """The program's currency, of amounts that have none of their own."""

    def in_app(self, template: Template, locale: str, facts: Mapping[str, Any], reader: Reader) -> InAppText:
        """An inbox message in a locale of the template.

        Raises:
            TemplateFailedError: a value is missing or of the wrong kind, or a limit is exceeded.
        """
        say = self._speaker(template, Channel.IN_APP, locale, facts, reader)
        return InAppText(_line(say("title")), say("body"), locale)

    def email(self, template: Template, locale: str, facts: Mapping[str, Any], reader: Reader) -> MailText:
        """A mail in a locale of the template: an HTML document with its language and direction, and its plain text.

        Raises:
            TemplateFailedError: as `in_app`.
        """
        texts = template.texts(Channel.EMAIL, locale)
        say = self._speaker(template, Channel.EMAIL, locale, facts, reader)
        subject = _line(say("subject"))
        preheader = _line(say("preheader")) if "preheader" in texts else ""
        frame = Frame(
            program=wording.visible(self.program),
            subject=subject,
            preview=mail.preview(preheader) if preheader else "",
            locale=locale,
            direction=_babel(locale).text_direction,
            # The layout shows the link where the customer can say no; who writes MJML places it.
            unsubscribe=reader.unsubscribe if template.kind is Kind.MARKETING and "markdown" in texts else None,
        )
        body = "mjml" if "mjml" in texts else "markdown"
        content = say(body)
        text = mail.plain(content, frame)
        if not text.strip():
            raise TemplateFailedError(body, _BLANK)
        html = mail.framed(content, frame) if body == "mjml" else mail.document(content, frame)
        return MailText(subject, unescape(preheader) or None, html, text, locale)

    def sms(self, template: Template, locale: str, facts: Mapping[str, Any], reader: Reader) -> SmsText:
        """A text message in a locale of the template.

        Raises:
            TemplateFailedError: as `in_app`.
        """
        return SmsText(self._speaker(template, Channel.SMS, locale, facts, reader)("text"), locale)

    def push(self, template: Template, locale: str, facts: Mapping[str, Any], reader: Reader) -> PushText:
        """A push notification in a locale of the template.

        Raises:
            TemplateFailedError: as `in_app`.
        """
        say = self._speaker(template, Channel.PUSH, locale, facts, reader)
        url = say("url") if "url" in template.texts(Channel.PUSH, locale) else ""
        if url and not _URL.fullmatch(url):
            raise TemplateFailedError("url", "it is no https:// link and no path of the site")
        return PushText(_line(say("title")), say("body"), url or None, locale)

    def _speaker(
        self, template: Template, channel: Channel, locale: str, facts: Mapping[str, Any], reader: Reader
    ) -> Callable[[str], str]:
        """A function that renders a field of the texts."""
        texts = template.texts(channel, locale)
        given = self._context(template, facts, reader, locale)

        def say(name: str) -> str:
            return _rendered(texts, name, given)

        return say

    def _context(self, template: Template, facts: Mapping[str, Any], reader: Reader, locale: str) -> dict[str, Any]:
        event: dict[str, Any] = cleaned(facts)
        made: Mapping[str, Any] = event.pop(STANDING, {})
        name = tidy(reader.name)
        known = {"id": wording.visible(reader.id), "name": name, "first_name": first_name(name, reader.locale)}
        known |= {"locale": reader.locale, "tier": made.get("tier") or wording.visible(reader.tier or "")}
        return {
            **{declared: event[declared] for declared in template.document.samples if declared in event},
            "customer": {
                **{name: value for name, value in known.items() if value},
                "points": {
                    "available": made.get("available", reader.available),
                    "pending": made.get("pending", reader.pending),
                },
            },
            "program": wording.visible(self.program),
            "links": {} if reader.unsubscribe is None else {"unsubscribe": reader.unsubscribe},
            "event": event,
            wording.LOCALE: _reading_locale(reader.locale, locale),
            wording.CURRENCY: self.currency,
            wording.TIME_ZONE: self.zone if reader.time_zone is None else _zone(reader.time_zone, self.zone),
        }


def cleaned(value: Any, depth: int = 0) -> Any:  # noqa: ANN401 any JSON value
    """A JSON value without invisible characters in its strings, and cut where it is very deep.

    What is null or blank is left out: it is missing, as what is absent.
    """
    if isinstance(value, str):
        return wording.visible(value)
    if depth >= _DEEPEST:
        return ""
    if isinstance(value, list):
        return [cleaned(item, depth + 1) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, Mapping):
        items = ((str(name), cleaned(item, depth + 1)) for name, item in value.items())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return {name: item for name, item in items if item is not None and item != ""}
    return value


def _rendered(texts: Texts, name: str, given: Mapping[str, Any]) -> str:
    try:
        text = texts[name].render(given).strip()
    except LiquidError as error:
        raise TemplateFailedError(name, str(error).partition("\n")[0]) from None
    except (ValueError, ArithmeticError, RecursionError, TypeError, LookupError) as error:
        raise TemplateFailedError(name, f"{type(error).__name__}: {error}") from None
    if not text and name not in _OPTIONAL:
        raise TemplateFailedError(name, _BLANK)
    return text


def _line(text: str) -> str:
    return " ".join(text.split())


@lru_cache(maxsize=1024)
def _zone(name: str, default: tzinfo) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return default  # the time zone database no longer has it


@lru_cache(maxsize=1024)
def _reading_locale(tag: str | None, locale: str) -> Locale:
    """The locale for numbers and dates: the reader's, if its language is that of the text."""
    language = normalized(locale).split("-")[0]
    if tag is None or normalized(tag).split("-")[0] != language:
        return _babel(locale)
    return _babel(tag)


@lru_cache(maxsize=512)
def _babel(tag: str) -> Locale:
    parts = tag.replace("-", "_").split("_")
    while parts:
        try:
            return Locale.parse("_".join(parts))
        except (UnknownLocaleError, ValueError):
            parts.pop()
    return Locale.parse("en")
