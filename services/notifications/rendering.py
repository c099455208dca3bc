"""Renders messages from Liquid templates, in the customer's language.

A template file is `<trigger>.<channel>.<language>.liquid`. Its first line is the title (the subject of a mail), the
rest is the body. Titles and inbox bodies are plain text; bodies of mails are HTML with every value escaped, inside the
layout that all mails share.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import lru_cache
from importlib import resources
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError
from inscriptis import get_text
from inscriptis.css_profiles import STRICT_CSS_PROFILE
from inscriptis.model.config import ParserConfig
from liquid import BoundTemplate, CachingDictLoader, DictLoader, Environment, StrictUndefined
from liquid.exceptions import LiquidError
from markupsafe import Markup

from services.notifications import wording
from services.notifications.rules import notice
from services.notifications.rules.notice import Channel, Fact, Trigger

TEMPLATE_VERSION: Final = 2
"""Version of the template files, stored with each message; raise it when a file changes."""

LANGUAGES: Final = ("en", "ar")
"""The languages that have templates; the first is the fallback."""

_LONGEST_NAME: Final = 80
# A name with an address, a link or several lines is not a name: somebody wants it mailed to a stranger.
_NO_NAME: Final = re.compile(r"://|www\.|@|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", re.IGNORECASE)
_SUFFIX: Final = ".liquid"
_TEXT: Final = ParserConfig(css=STRICT_CSS_PROFILE)


class TemplateFailedError(Exception):
    """A template cannot be rendered with the given facts."""


@dataclass(frozen=True, slots=True)
class Reader:
    """The recipient of a text, from the profile; None for what the profile does not have."""

    name: str | None = None
    locale: str | None = None
    time_zone: str | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """An inbox message, in plain text."""

    title: str
    body: str
    language: str


@dataclass(frozen=True, slots=True)
class MailText:
    """The content of a mail as HTML and as plain text."""

    subject: str
    html: str
    text: str
    language: str


class _Limited(Environment):
    """Liquid with limits on every resource that a template can use."""

    block_nesting_limit = 10
    context_depth_limit = 10
    loop_iteration_limit = 1_000
    local_namespace_limit = 20_000
    output_stream_limit = 100_000


@dataclass(frozen=True, slots=True)
class _Pair:
    title: BoundTemplate
    body: BoundTemplate


class Templates:
    """All templates, compiled. They render a few thousand messages a second.

    Raises:
        LiquidError, FileNotFoundError: a template is malformed or missing.
    """

    def __init__(self, program: str, zone: tzinfo = UTC) -> None:
        """`zone` is the time zone for customers whose profile has none."""
        sources = _read_sources()
        # Each environment has its own loader, which caches the included parts compiled for it.
        plain, escaped = (_environment(CachingDictLoader(sources), escape=escape) for escape in (False, True))
        self._program = wording.visible(program)
        self._zone = zone
        self._layout = escaped.get_template("layout.email")
        self._pairs = {
            (trigger, channel, language): _pair(
                _source(sources, f"{trigger}.{channel}.{language}"),
                plain,
                escaped if channel is Channel.EMAIL else plain,
            )
            for trigger in Trigger
            for channel in Channel
            for language in LANGUAGES
        }

    def notification(self, trigger: Trigger, facts: Mapping[str, Fact], reader: Reader) -> Notification:
        """The inbox message for a reader.

        Raises:
            TemplateFailedError: the template uses a fact that is missing.
        """
        language = choose_language(reader.locale)
        title, body = self._render(trigger, Channel.IN_APP, facts, reader)
        return Notification(title, body, language)

    def mail(self, trigger: Trigger, facts: Mapping[str, Fact], reader: Reader) -> MailText:
        """The mail for a reader: an HTML document with its language and direction, and a plain-text version.

        Raises:
            TemplateFailedError: the template uses a fact that is missing.
        """
        language = choose_language(reader.locale)
        subject, body = self._render(trigger, Channel.EMAIL, facts, reader)
        html = self._layout.render(
            program=self._program,
            subject=subject,
            content=Markup(body),  # noqa: S704 (all values in it are escaped already)
            language=language,
            direction=_locale(language).text_direction,
        )
        return MailText(subject, html, _plain(body), language)

    def _render(self, trigger: Trigger, channel: Channel, facts: Mapping[str, Fact], reader: Reader) -> tuple[str, str]:
        language = choose_language(reader.locale)
        pair = self._pairs[trigger, channel, language]
        given = {
            **{name: _cleaned(fact) for name, fact in notice.complete(trigger, facts).items()},
            "name": tidy(reader.name),
            "program": self._program,
            wording.LOCALE: _reading_locale(reader.locale, language),
            wording.TIME_ZONE: self._zone if reader.time_zone is None else _zone(reader.time_zone, self._zone),
        }
        try:
            return pair.title.render(given).strip(), pair.body.render(given).strip()
        except LiquidError as error:
            raise TemplateFailedError(str(error)) from None


def choose_language(locale: str | None) -> str:
    """The language of the templates for a BCP 47 tag: `ar` for `ar-EG`, English for unknown languages."""
    language = (locale or "").replace("_", "-").split("-")[0].lower()
    return language if language in LANGUAGES else LANGUAGES[0]


def tidy(name: str | None) -> str | None:
    """The name on one line, of limited length, without invisible characters; None if it is not a name."""
    if name is None:
        return None
    seen = wording.visible(name)
    # Check both: invisible characters can split a link, and cleaning joins lines.
    if _NO_NAME.search(name.strip()) or _NO_NAME.search(seen):
        return None
    return seen[:_LONGEST_NAME].rstrip() or None


def _cleaned(fact: Fact) -> Fact:
    return wording.visible(fact) if isinstance(fact, str) else fact


def _plain(html: str) -> str:
    """The plain text of a mail from the HTML of its body; direction isolates are kept."""
    isolated = html.replace("<bdi>", f"<bdi>{wording.ISOLATE}").replace("</bdi>", f"{wording.POP}</bdi>")
    # Inscriptis resolves character references twice: an order id `&lt;b&gt;` would become `<b>`.
    return get_text(isolated.replace("&", "&amp;"), _TEXT).strip() + "\n"


@lru_cache(maxsize=1024)
def _zone(name: str, default: tzinfo) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return default  # the time zone database no longer has it


@lru_cache(maxsize=512)
def _reading_locale(tag: str | None, language: str) -> Locale:
    """The locale for numbers and dates: the reader's, if it matches the language of the text."""
    if tag is None or choose_language(tag) != language or not tag.lower().startswith(language):
        return _locale(language)
    parts = tag.replace("-", "_").split("_")
    while len(parts) > 1:
        try:
            return Locale.parse("_".join(parts))
        except (UnknownLocaleError, ValueError):
            parts.pop()
    return _locale(language)


@lru_cache(maxsize=len(LANGUAGES))
def _locale(language: str) -> Locale:
    return Locale.parse(language)


def _environment(loader: DictLoader, *, escape: bool) -> Environment:
    environment = _Limited(loader=loader, undefined=StrictUndefined, autoescape=escape)
    filters: Mapping[str, Callable[..., str]] = wording.FILTERS
    environment.filters.update(filters)
    return environment


def _pair(source: str, title: Environment, body: Environment) -> _Pair:
    first, _, rest = source.partition("\n")
    return _Pair(title.from_string(first), body.from_string(rest))


def _read_sources() -> dict[str, str]:
    folder = resources.files("services.notifications") / "templates"
    return {
        file.name.removesuffix(_SUFFIX): file.read_text(encoding="utf-8").rstrip("\n")
        for file in folder.iterdir()
        if file.name.endswith(_SUFFIX)
    }


def _source(sources: Mapping[str, str], name: str) -> str:
    if name not in sources:
        raise FileNotFoundError(f"template missing: {name}{_SUFFIX}")
    return sources[name]
