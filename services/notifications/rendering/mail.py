"""The body of a mail: Markdown in the layout that all mails share, or MJML; and its plain text.

Liquid in the source is replaced by marks while Markdown or MJML is turned into HTML, and put back afterwards. So values
are filled into HTML, each of them escaped: no value becomes a link, a heading or a tag.
"""

import re
from importlib import resources
from typing import Final

import mrml
import nh3
from inscriptis import get_text
from inscriptis.css_profiles import STRICT_CSS_PROFILE
from inscriptis.model.config import ParserConfig
from markdown_it import MarkdownIt

from services.notifications import wording

_LIQUID: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_MARK: Final = re.compile(r"LQ(\d{1,6})QL")
_TEXT: Final = ParserConfig(css=STRICT_CSS_PROFILE)
_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False, "typographer": False}).enable("table")
_PREVIEW_FILLER: Final = "&#847;&zwnj;&nbsp;" * 20
"""Keeps the body out of the line beside the subject."""

LAYOUT: Final = (resources.files("services.notifications.rendering") / "layout.liquid").read_text(encoding="utf-8")
"""Liquid around the body of a mail that is written in Markdown."""


class BodyError(Exception):
    """The source of a body is refused."""


def from_markdown(source: str) -> str:
    """The HTML of a body in Markdown, with its Liquid; raw HTML in the source is shown as text."""
    marked, parts = _take_out(source)
    return _put_back(_MARKDOWN.render(marked), parts)


def from_mjml(source: str) -> str:
    """The HTML of a mail in MJML, with its Liquid. MJML includes no files.

    Raises:
        BodyError: it is not MJML.
    """
    marked, parts = _take_out(source)
    try:
        html: str = mrml.to_html(marked).content
    except OSError as error:  # mrml's only exception
        raise BodyError(str(error)) from None
    return _put_back(html, parts)


def _take_out(source: str) -> tuple[str, list[str]]:
    parts: list[str] = []

    def mark(match: re.Match[str]) -> str:
        parts.append(match[0])
        return f"LQ{len(parts) - 1}QL"

    # A mark in the source itself would be taken for Liquid.
    return _LIQUID.sub(mark, _MARK.sub(r"LQ \1QL", source)), parts


def _put_back(html: str, parts: list[str]) -> str:
    return _MARK.sub(lambda match: parts[int(match[1])], html)


_TAGS: Final = frozenset(
    {
        *(
            "a",
            "b",
            "bdi",
            "blockquote",
            "br",
            "code",
            "em",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "hr",
            "i",
            "img",
            "li",
        ),
        *("ol", "p", "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
    }
)
_ATTRIBUTES: Final = {"a": {"href", "title"}, "img": {"src", "alt", "title"}, "td": {"style"}, "th": {"style"}}
_SCHEMES: Final = {"http", "https", "mailto", "tel"}


def safe(html: str) -> str:
    """The HTML of a body with harmless tags and links only; a value may have made a link `javascript:…`."""
    return nh3.clean(
        html,
        tags=set(_TAGS),
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        link_rel=None,
        generic_attribute_prefixes=None,
    )


def preview(text: str) -> str:
    """The hidden first line of a mail, which mailboxes show beside the subject; `text` is HTML."""
    return f'<div style="display:none;max-height:0;overflow:hidden">{text}{_PREVIEW_FILLER}</div>'


def plain(html: str) -> str:
    """The plain text of a mail from the HTML of its body; direction isolates are kept."""
    isolated = html.replace("<bdi>", f"<bdi>{wording.ISOLATE}").replace("</bdi>", f"{wording.POP}</bdi>")
    # Inscriptis resolves character references twice: an order id `&lt;b&gt;` would become `<b>`.
    return get_text(isolated.replace("&", "&amp;"), _TEXT).strip() + "\n"
