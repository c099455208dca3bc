"""The document of a template."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from services.notifications.rules.message import Channel, Kind, Topic

MAX_LOCALES: Final = 40
MAX_SAMPLES: Final = 50
MAX_BYTES: Final = 16_000
"""Maximum size of the samples in characters of JSON: that of the facts of a message."""

_CONFIG: Final = ConfigDict(frozen=True, extra="forbid")
_LOCALE: Final = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_RESERVED: Final = frozenset({"customer", "program", "event", "links"})


def _tag(text: str) -> str:
    if not _LOCALE.fullmatch(text):
        raise ValueError("has to be a BCP 47 tag such as `en` or `ar-EG`")
    return text


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise ValueError("has to be a name of letters, digits and underscores")
    if text in _RESERVED - {"event"}:
        raise ValueError(f"`{text}` is known already and cannot be declared")
    return text


Locale = Annotated[str, AfterValidator(_tag)]
Variable = Annotated[str, AfterValidator(_variable)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\r\n\x00]*$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=10_000, pattern=r"^[^\x00]*$")]
Markdown = Annotated[str, StringConstraints(min_length=1, max_length=30_000, pattern=r"^[^\x00]*$")]
LongText = Annotated[str, StringConstraints(min_length=1, max_length=100_000, pattern=r"^[^\x00]*$")]


class InApp(BaseModel):
    """A message in the inbox, in plain text."""

    model_config = _CONFIG

    title: Line = Field(description="Title, one line.")
    body: Text = Field(description="Body.")


class Email(BaseModel):
    """A mail: its body is either Markdown, in the layout that all mails share, or MJML."""

    model_config = _CONFIG

    subject: Line = Field(description="Subject, one line.")
    preheader: Line | None = Field(default=None, description="What mailboxes show beside the subject.")
    markdown: Markdown | None = Field(default=None, description="Body in Markdown (CommonMark).")
    mjml: LongText | None = Field(default=None, description="The whole mail in MJML.")

    @model_validator(mode="after")
    def _has_one_body(self) -> "Email":
        if (self.markdown is None) == (self.mjml is None):
            raise ValueError("has to have exactly one of `markdown` and `mjml`")
        return self


class Sms(BaseModel):
    """A text message."""

    model_config = _CONFIG

    text: Annotated[Text, StringConstraints(max_length=1_600)] = Field(description="The text.")


class Push(BaseModel):
    """A push notification."""

    model_config = _CONFIG

    title: Line = Field(description="Title, one line.")
    body: Annotated[Text, StringConstraints(max_length=2_000)] = Field(description="Body.")
    url: Annotated[Line, StringConstraints(max_length=2_000)] | None = Field(
        default=None, description="The page that a click opens: an https:// link, or a path of the site."
    )


def _few(texts: Any) -> Any:  # noqa: ANN401 whatever was sent
    """Refuse far too many members before each of them is looked at."""
    if isinstance(texts, dict) and len(texts) > max(MAX_LOCALES, MAX_SAMPLES):  # pyright: ignore[reportUnknownArgumentType]
        raise ValueError(f"may have at most {max(MAX_LOCALES, MAX_SAMPLES)} members")
    return texts  # pyright: ignore[reportUnknownVariableType]


def _by_locale(texts: Mapping[str, Any]) -> Mapping[str, Any]:
    if len({normalized(tag) for tag in texts}) < len(texts):
        raise ValueError("has a locale twice, in different notations")
    return texts


def _of_channel(what: str) -> Any:  # noqa: ANN401 pydantic's field
    return Field(default=None, min_length=1, max_length=MAX_LOCALES, description=f"{what}, by locale (BCP 47).")


class TemplateDocument(BaseModel):
    """The texts of a message by channel and locale, and the variables that they use."""

    model_config = _CONFIG

    topic: Topic = Field(description="What it is about; customers opt out by topic.")
    kind: Kind = Field(description="`marketing` needs the customer's consent.")
    samples: Annotated[
        dict[Annotated[str, AfterValidator(_variable)], JsonValue], Field(max_length=MAX_SAMPLES), BeforeValidator(_few)
    ] = Field(
        default_factory=dict[str, JsonValue],
        description="Variables of the trigger's data that the texts use, with an example of each.",
    )
    in_app: Annotated[dict[Locale, InApp], AfterValidator(_by_locale), BeforeValidator(_few)] | None = _of_channel(
        "Inbox messages"
    )
    email: Annotated[dict[Locale, Email], AfterValidator(_by_locale), BeforeValidator(_few)] | None = _of_channel(
        "Mails"
    )
    sms: Annotated[dict[Locale, Sms], AfterValidator(_by_locale), BeforeValidator(_few)] | None = _of_channel(
        "Text messages"
    )
    push: Annotated[dict[Locale, Push], AfterValidator(_by_locale), BeforeValidator(_few)] | None = _of_channel(
        "Push notifications"
    )

    @model_validator(mode="after")
    def _is_small(self) -> "TemplateDocument":
        if len(json.dumps(self.samples)) > MAX_BYTES:
            raise ValueError(f"samples may have at most {MAX_BYTES} characters of JSON")
        return self

    def of(self, channel: Channel) -> Mapping[str, BaseModel] | None:
        """The texts of a channel by locale; None if it has none."""
        return getattr(self, channel.value)


def normalized(tag: str) -> str:
    """The form in which tags are compared: case and `_` against `-` do not matter."""
    return tag.replace("_", "-").lower()


def chain(tag: str | None, default: str) -> list[str]:
    """The tags to try for a customer's locale, in order, normalized: `zh-hant-tw`, `zh-hant`, `zh`, the default."""
    parts = normalized(tag).split("-") if tag else []
    tags = ["-".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return [*tags, *(["-".join(normalized(default).split("-")[:n]) for n in range(len(default.split("-")), 0, -1)])]
