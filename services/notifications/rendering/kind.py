"""Templates as a kind of versioned document: every text is rendered with the samples before it is accepted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import thread_time
from typing import Any, Final

from services.notifications.rendering.compiled import Template, compile_field, compiled, place, sources
from services.notifications.rendering.liquid import BoundTemplate, LiquidError, variables
from services.notifications.rendering.mail import BodyError
from services.notifications.rendering.renderer import (
    InAppText,
    MailText,
    PushText,
    Reader,
    Renderer,
    SmsText,
    TemplateFailedError,
)
from services.notifications.rules.message import Channel, Kind, Topic
from services.notifications.rules.segments import measure
from services.notifications.rules.template.document import TemplateDocument, chain, normalized
from shared.programs import kind as programs
from shared.programs.faults import DocumentError, Fault

NAME: Final = "template"

_CUSTOMER: Final = (
    *(["id"], ["name"], ["first_name"], ["locale"], ["tier"]),
    *(["points"], ["points", "available"], ["points", "pending"]),
)
_LINKS: Final = (["unsubscribe"],)
_MARKETING: Final = frozenset({Topic.OFFERS, Topic.NEWS})
_SLOWEST: Final = 0.25
"""Maximum seconds of the processor for one text: far more than any honest text takes."""
_MOST_SEGMENTS: Final = 3

Rendered = InAppText | MailText | SmsText | PushText

SAMPLE_READER: Final = Reader(
    "c-1042", "Lina Haddad", None, None, "silver", 1250, 80, "https://example.org/u/sample-that-does-nothing"
)
"""The customer of previews and test messages."""
_NOBODY: Final = Reader("c-1042", unsubscribe=SAMPLE_READER.unsubscribe)
"""A customer of whom nothing is known."""


@dataclass(frozen=True, slots=True)
class Templates:
    """The kind of templates of a program: its default locale is required on every channel of a document."""

    renderer: Renderer

    def kind(self) -> "programs.Kind[TemplateDocument, Template]":
        """The kind of document."""
        return programs.Kind(NAME, TemplateDocument, self.check, self.lint, compiled)

    def check(self, document: TemplateDocument) -> None:
        """Check that the texts go together and render with the samples.

        Raises:
            DocumentError: they do not; it lists every fault.
        """
        faults = [*_wrong_kind(document), *_wrong_channels(document, self.renderer.locale)]
        template = compiled(0, document)
        for channel, locale in template.places():
            begin = thread_time()
            faults += self._wrong_texts(template, channel, locale)
            if thread_time() - begin > _SLOWEST:
                faults.append(Fault(place(channel, locale), "It takes too long to render."))
                break
        if faults:
            raise DocumentError(faults)

    def lint(self, document: TemplateDocument, _moment: datetime) -> Sequence[Fault]:
        """What is doubtful about a valid document."""
        template = compiled(0, document)
        return [*_doubtful_kind(document), *self._long_texts(template), *self._for_few(template), *_unused(template)]

    def sample(self, template: Template, channel: Channel, locale: str) -> Rendered:
        """A text rendered with the samples.

        Raises:
            TemplateFailedError: it cannot be rendered with them.
        """
        return self.render(template, channel, locale, facts_of(template.document), SAMPLE_READER)

    def render(self, template: Template, channel: Channel, locale: str, facts: Any, reader: Reader) -> Rendered:  # noqa: ANN401 any JSON object
        """A text on any channel.

        Raises:
            TemplateFailedError: it cannot be rendered with these facts.
        """
        match channel:
            case Channel.IN_APP:
                return self.renderer.in_app(template, locale, facts, reader)
            case Channel.EMAIL:
                return self.renderer.email(template, locale, facts, reader)
            case Channel.SMS:
                return self.renderer.sms(template, locale, facts, reader)
            case Channel.PUSH:
                return self.renderer.push(template, locale, facts, reader)

    def _wrong_texts(self, template: Template, channel: Channel, locale: str) -> Iterator[Fault]:
        texts = (template.document.of(channel) or {})[locale]
        faults = [
            Fault(place(channel, locale, name), message)
            for name, source in sources(texts).items()
            for message in _wrong_source(template.document, name, source)
        ]
        if faults:
            yield from faults
            return
        try:
            self.sample(template, channel, locale)
        except TemplateFailedError as error:
            yield Fault(place(channel, locale, error.field), f"The samples do not render: {error.message}.")

    def _for_few(self, template: Template) -> Iterator[Fault]:
        for channel, locale in template.places():
            try:
                self.render(template, channel, locale, facts_of(template.document), _NOBODY)
            except TemplateFailedError as error:
                message = f"A customer whose name and tier are not known gets no such message: {error.message}."
                yield Fault(place(channel, locale, error.field), message)

    def _long_texts(self, template: Template) -> Iterator[Fault]:
        for locale in template.locales.get(Channel.SMS, {}).values():
            count = measure(self.renderer.sms(template, locale, facts_of(template.document), SAMPLE_READER).text).count
            if count > _MOST_SEGMENTS:
                message = f"With the samples it is sent in {count} segments, each of which costs as much as a message."
                yield Fault(place(Channel.SMS, locale, "text"), message)


def facts_of(document: TemplateDocument) -> dict[str, Any]:
    """The facts that the samples stand for: those of an `event` that they declare, and all others."""
    return {**_sample_event(document), **document.samples}


def _sample_event(document: TemplateDocument) -> dict[str, Any]:
    event = document.samples.get("event")
    return event if isinstance(event, dict) else {}


def _wrong_kind(document: TemplateDocument) -> Iterator[Fault]:
    if document.topic in _MARKETING and document.kind is not Kind.MARKETING:
        yield Fault("/kind", f"Messages about {document.topic} are always marketing.")


def _doubtful_kind(document: TemplateDocument) -> Iterator[Fault]:
    if document.topic is Topic.SURVEYS and document.kind is Kind.TRANSACTIONAL:
        message = "A survey is marketing, unless it asks about an order of the last 30 days."
        yield Fault("/kind", message)


def _wrong_channels(document: TemplateDocument, default: str) -> Iterator[Fault]:
    channels = {channel: document.of(channel) for channel in Channel}
    if not any(channels.values()):
        yield Fault("", "It needs texts on at least one channel.")
    for channel, texts in channels.items():
        if texts and not {normalized(tag) for tag in texts} & set(chain(None, default)):
            yield Fault(f"/{channel}", f"The program's default locale `{default}` is missing.")


def _wrong_source(document: TemplateDocument, name: str, source: str) -> Iterator[str]:
    try:
        template = compile_field(name, source)
    except (LiquidError, BodyError, ValueError, RecursionError) as error:
        yield f"It is malformed: {str(error).partition(chr(10))[0].rstrip('. ')}."
        return
    paths = set(variables(template))
    for path in sorted(paths):
        if not _is_known(path, document):
            yield f"`{'.'.join(path)}` is neither known nor declared in `samples`."
    if name == "mjml" and document.kind is Kind.MARKETING and ("links", "unsubscribe") not in paths:
        yield "A marketing mail in MJML needs a link to `{{ links.unsubscribe }}`."


def _is_known(path: tuple[str, ...], document: TemplateDocument) -> bool:
    root, *rest = path
    match root:
        case "customer":
            return rest in _CUSTOMER
        case "links":
            return rest in _LINKS
        case "program":
            return not rest
        case "event":
            return not rest or rest[0] in document.samples or rest[0] in _sample_event(document)
        case _:
            return root in document.samples


def _unused(template: Template) -> Iterator[Fault]:
    used: set[str] = set()
    for channel, locale in template.places():
        for text in template.texts(channel, locale).values():
            used |= _names(text)
    for name in template.document.samples:
        if name not in used and name != "event":
            yield Fault(f"/samples/{name}", f"No text uses `{name}`.")


def _names(text: BoundTemplate) -> set[str]:
    paths = list(variables(text))
    return {path[0] for path in paths} | {path[1] for path in paths if path[0] == "event" and len(path) > 1}
