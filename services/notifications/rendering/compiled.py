"""A version of a template in the form that messages are made and rendered with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from services.notifications.rendering import mail
from services.notifications.rendering.liquid import BoundTemplate, compile_text, variables
from services.notifications.rules.message import Channel, Kind, Topic
from services.notifications.rules.template.document import Email, TemplateDocument, chain, normalized
from shared.programs.faults import pointer

Texts = Mapping[str, BoundTemplate]
"""The texts of a channel in a locale, by the field of the document."""

HTML: Final = frozenset({"preheader", "markdown", "mjml"})
"""The fields whose values are escaped for HTML."""


@dataclass(frozen=True, eq=False)
class Template:
    """A version of a template. Its texts are compiled when they are used first."""

    version: int
    document: TemplateDocument
    _texts: dict[tuple[Channel, str], Texts] = field(default_factory=dict[tuple[Channel, str], Texts])

    @property
    def topic(self) -> Topic:
        """What it is about."""
        return self.document.topic

    @property
    def kind(self) -> Kind:
        """Whether its messages need consent."""
        return self.document.kind

    @cached_property
    def locales(self) -> Mapping[Channel, Mapping[str, str]]:
        """The tags of each channel by their normalized form."""
        texts = {channel: self.document.of(channel) for channel in Channel}
        return {channel: {normalized(tag): tag for tag in given} for channel, given in texts.items() if given}

    def places(self) -> Iterator[tuple[Channel, str]]:
        """Every channel with each of its locales."""
        for channel, tags in self.locales.items():
            for locale in tags.values():
                yield channel, locale

    @cached_property
    def shows_standing(self) -> bool:
        """Whether a text shows the customer's tier or points, which are those of when a message is made."""
        return any(
            path[:1] == ("customer",) and path[1:2] in {("tier",), ("points",)}
            for channel, locale in self.places()
            for text in self.texts(channel, locale).values()
            for path in variables(text)
        )

    def locale(self, channel: Channel, wanted: str | None, default: str) -> str | None:
        """The locale to write a customer in; None if the template lacks the channel or every locale that would do."""
        return _choose(self, channel, wanted, default)

    def texts(self, channel: Channel, locale: str) -> Texts:
        """The compiled texts of a channel in a locale of the document.

        Raises:
            KeyError: the document has no such texts.
            LiquidError, BodyError: they are malformed.
        """
        if (channel, locale) not in self._texts:
            given = self.document.of(channel) or {}
            self._texts[channel, locale] = {
                name: compile_field(name, source) for name, source in sources(given[locale]).items()
            }
        return self._texts[channel, locale]


def compiled(version: int, document: TemplateDocument) -> Template:
    """The compiled form of a version."""
    return Template(version, document)


def sources(texts: Any) -> dict[str, str]:  # noqa: ANN401 any model of a channel
    """The texts of a channel in a locale by their fields."""
    return {name: source for name, source in dict(texts).items() if source is not None}


def compile_field(name: str, source: str) -> BoundTemplate:
    """A text, compiled by the field that it stands in.

    Raises:
        LiquidError, BodyError: it is malformed.
    """
    match name:
        case "markdown":
            source = mail.from_markdown(source)
        case "mjml":
            source = mail.from_mjml(source)
        case _:
            pass
    return compile_text(source, escapes=name in HTML)


def place(channel: Channel, locale: str, name: str | None = None) -> str:
    """The pointer to a text of the document."""
    return pointer(channel.value, locale, *(() if name is None else (name,)))


def body_of(texts: Email) -> str:
    """The field that has the body of a mail."""
    return "mjml" if texts.markdown is None else "markdown"


def _choose(template: Template, channel: Channel, wanted: str | None, default: str) -> str | None:
    tags = template.locales.get(channel, {})
    for tag in chain(wanted, default):
        if tag in tags:
            return tags[tag]
    return None
