"""Links that carry a code, and texts to share them with."""

from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

CODE: Final = "{code}"
LINK: Final = "{link}"


class Share(NamedTuple):
    """A text to share, and links that open it in WhatsApp, in a mail program, and on X."""

    text: str
    whatsapp: str
    email: str
    x: str


def share(template: str, link: str) -> Share:
    """The text of a template, in which `{link}` stands for the link."""
    text = template.replace(LINK, link)
    encoded = quote(text, safe="")
    # Lines of a mail end in CRLF, and `+` is no blank there (RFC 6068).
    lines = quote("\r\n".join(text.splitlines()), safe="")
    return Share(
        text=text,
        whatsapp=f"https://wa.me/?text={encoded}",
        email=f"mailto:?body={lines}",
        x=f"https://x.com/intent/post?text={encoded}",
    )


def link_to_shop(shop_url: str) -> str:
    """The link of a program that has none: the shop's page with `ref={code}` in its query."""
    parts = urlsplit(shop_url)
    query = f"{parts.query}&ref={CODE}" if parts.query else f"ref={CODE}"
    return urlunsplit(parts._replace(query=query))


def target(link: str, code: str) -> str:
    """The page to which a referral link leads, by the program's link, in which `{code}` stands for the code."""
    return link.replace(CODE, code)


def target_without_code(link: str) -> str:
    """The page for a visit with a code that nobody has: the program's link without whatever carries the code."""
    parts = urlsplit(link)
    if CODE in parts.netloc:
        # A host of the code's own: of what is around it, the host of the shop is likeliest.
        parts = parts._replace(netloc=parts.netloc.replace(f"{CODE}.", "").replace(CODE, ""))
    if CODE in parts.path:
        parts = parts._replace(path="/", query="", fragment="")
    if CODE in parts.query:
        kept = [part for part in parts.query.split("&") if CODE not in part]
        parts = parts._replace(query="&".join(kept))
    if CODE in parts.fragment:
        parts = parts._replace(fragment="")
    return urlunsplit(parts)
