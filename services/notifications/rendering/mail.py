"""The body of a mail: Markdown in the layout that all mails share, or MJML; and its plain text.

Liquid in the source is replaced by marks while Markdown or MJML is turned into HTML, and put back afterwards. So values
are filled into HTML, each of them escaped: no value becomes a link, a heading or a tag. The HTML around them is cleaned
once, when the template is compiled.
"""

import re
from html import escape, unescape
from importlib import resources
from string import Template
from typing import Final, NamedTuple

import mrml
import nh3
from inscriptis import get_text
from inscriptis.css_profiles import STRICT_CSS_PROFILE
from inscriptis.model.config import ParserConfig
from markdown_it import MarkdownIt

from services.notifications import wording

_LIQUID: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_OUTPUT: Final = re.compile(r"\{\{(-?)(.*?)(-?)\}\}", re.DOTALL)
_MARK: Final = re.compile(r"LQ(\d{1,6})QL")
_LINK: Final = re.compile(r"""((?:href|src|background|action)=["']\s*)LQ(\d{1,6})QL""")
_PARAGRAPH: Final = re.compile(r"<p>((?:LQ\d{1,6}QL\s*)+)</p>")
_INTRICATE: Final = re.compile(r"<(?!/?(?:p|strong|em|bdi)>)")
_TAG: Final = re.compile(r"<[^>]*>")
_SPACES: Final = re.compile(r"[ \t\r\n\f]+")
_TEXT: Final = ParserConfig(css=STRICT_CSS_PROFILE)
_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False, "typographer": False}).enable("table")
_PREVIEW_FILLER: Final = "&#847;&zwnj;&nbsp;" * 20
"""Keeps the body out of the line beside the subject."""
_ACTIVE: Final = re.compile(
    r"<(?:script|iframe|object|embed|form|base|link\s+rel=.?import)\b|\son[a-z]+\s*=", re.IGNORECASE
)
_SCRIPT_LINK: Final = re.compile(r"""=["']?\s*(?:javascript|vbscript|data):(?!image/)""", re.IGNORECASE)
_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)

_LAYOUT: Final = Template(
    (resources.files("services.notifications.rendering") / "layout.html").read_text(encoding="utf-8")
)
_FOOTER: Final = Template(
    '<p style="margin:28px 0 0;font-size:13px;color:#6b6860"><a href="$url" style="color:#6b6860">$words</a></p>'
)
_UNSUBSCRIBE: Final = {"ar": "إلغاء الاشتراك"}


class BodyError(Exception):
    """The source of a body is refused."""


class Frame(NamedTuple):
    """What stands around the body of a mail. `preview` is HTML; `unsubscribe` is the URL of its link, if it has one."""

    program: str
    subject: str
    preview: str
    locale: str
    direction: str
    unsubscribe: str | None


def from_markdown(source: str) -> str:
    """The HTML of a body in Markdown, with its Liquid; raw HTML in the source is shown as text.

    Raises:
        BodyError: Liquid stands where it cannot be filled in.
    """
    marked, parts = _take_out(source)
    # A paragraph of nothing but tags is none: `{% if … %}` on a line of its own holds other paragraphs or items.
    html = _PARAGRAPH.sub(lambda match: match[1] if _are_tags(match[1], parts) else match[0], _MARKDOWN.render(marked))
    return _put_back(_cleaned(html), parts)


def from_mjml(source: str) -> str:
    """The HTML of a mail in MJML, with its Liquid. MJML includes no files.

    Raises:
        BodyError: it is not MJML, or has scripts.
    """
    marked, parts = _take_out(source)
    try:
        html: str = mrml.to_html(marked).content
    except OSError as error:  # mrml's only exception
        raise BodyError(str(error)) from None
    shown = _COMMENT.sub("", html)
    if _ACTIVE.search(shown) or _SCRIPT_LINK.search(shown):
        raise BodyError("a mail has no scripts, forms and frames")
    return _put_back(html, parts)


def _take_out(source: str) -> tuple[str, list[str]]:
    parts: list[str] = []

    def mark(match: re.Match[str]) -> str:
        parts.append(match[0])
        return f"LQ{len(parts) - 1}QL"

    # A mark in the source itself would be taken for Liquid.
    return _LIQUID.sub(mark, _MARK.sub(r"LQ \1QL", source)), parts


def _are_tags(marks: str, parts: list[str]) -> bool:
    return all(parts[int(match[1])].startswith("{%") for match in _MARK.finditer(marks))


def _put_back(html: str, parts: list[str]) -> str:
    left = {int(match[1]) for match in _MARK.finditer(html)}
    for index, part in enumerate(parts):
        if index not in left:
            raise BodyError(f"{part[:80]} stands where nothing can be filled in")
    linked = _LINK.sub(lambda match: match[1] + _checked_link(parts[int(match[2])]), html)
    return _MARK.sub(lambda match: parts[int(match[1])], linked)


def _checked_link(part: str) -> str:
    match = _OUTPUT.fullmatch(part)
    if match is None:
        raise BodyError("a link begins with its scheme, such as https://, or with a value")
    return f"{{{{{match[1]}{match[2]} | link {match[3]}}}}}"


_TAGS: Final = frozenset(
    {
        *("a", "b", "bdi", "blockquote", "br", "code", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img"),
        *("li", "ol", "p", "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
    }
)
_ATTRIBUTES: Final = {
    "a": {"href", "title"},
    "img": {"src", "alt", "title"},
    "ol": {"start"},
    "td": {"style"},
    "th": {"style"},
}
_SCHEMES: Final = {"http", "https", "mailto", "tel"}


def _cleaned(html: str) -> str:
    """The HTML of a body with harmless tags and links only."""
    return nh3.clean(
        html,
        tags=set(_TAGS),
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        link_rel=None,
        generic_attribute_prefixes=None,
    )


def document(content: str, frame: Frame) -> str:
    """The whole mail around a body: a document with its language and direction."""
    footer = ""
    if frame.unsubscribe is not None:
        footer = _FOOTER.substitute(url=escape(frame.unsubscribe), words=_unsubscribe_words(frame.locale))
    return _LAYOUT.substitute(
        language=escape(frame.locale),
        direction=frame.direction,
        subject=escape(frame.subject),
        program=escape(frame.program),
        preview=frame.preview,
        content=content,
        footer=footer,
    )


def framed(html: str, frame: Frame) -> str:
    """A mail in MJML with its language and direction, and its preview."""
    language, direction = escape(frame.locale), frame.direction
    html = re.sub(r"<html\b[^>]*?(?=\sxmlns|>)", f'<html lang="{language}" dir="{direction}"', html, count=1)
    return re.sub(
        r"<body\b([^>]*)>",
        lambda match: f'<body lang="{language}" dir="{direction}"{match[1]}>{frame.preview}',
        html,
        count=1,
    )


def preview(text: str) -> str:
    """The hidden first line of a mail, which mailboxes show beside the subject; `text` is HTML."""
    return f'<div style="display:none;max-height:0;overflow:hidden">{text}{_PREVIEW_FILLER}</div>'


def plain(html: str, frame: Frame) -> str:
    """The plain text of a mail from the HTML of its body; direction isolates are kept."""
    isolated = html.replace("<bdi>", f"<bdi>{wording.ISOLATE}").replace("</bdi>", f"{wording.POP}</bdi>")
    text = (text_of(isolated) if _INTRICATE.search(isolated) else _paragraphs(isolated)).strip() + "\n"
    if frame.unsubscribe is None:
        return text
    return f"{text}\n{_unsubscribe_words(frame.locale)}: {frame.unsubscribe}\n"


def text_of(html: str) -> str:
    """The plain text of any HTML."""
    # Inscriptis resolves character references twice: an order id `&lt;b&gt;` would become `<b>`.
    return get_text(html.replace("&", "&amp;"), _TEXT)


def _paragraphs(html: str) -> str:
    """The text of HTML that has nothing but paragraphs: what inscriptis makes of it, in a tenth of the time."""
    paragraphs = (_SPACES.sub(" ", _TAG.sub("", each)).strip(" ") for each in html.split("</p>"))
    return unescape("\n\n".join(filter(None, paragraphs)))


def _unsubscribe_words(locale: str) -> str:
    return _UNSUBSCRIBE.get(locale.replace("_", "-").split("-")[0].lower(), "Unsubscribe")
