"""Composes a mail (RFC 5322, MIME): headers, then the text and the HTML as alternatives.

It is written by hand. `email.message` decodes encoded words that a value contains, so that a name could add a line, and
wraps long URLs into encoded words, which RFC 8058 forbids.
"""

import base64
import binascii
import re
import unicodedata
from email.header import Header
from email.utils import format_datetime, parseaddr
from typing import Final

from services.notifications.channels.port import Mail, UnsendableError
from services.notifications.rules.gate import mailbox

# A line of a header with its name has 78 characters at most; `=?` would be read as an encoded word.
_SHORT: Final = 60
_URL: Final = re.compile(r"https?://[!-;=?-~]+")
_TAG: Final = re.compile(r"[A-Za-z0-9-]{1,63}")
_BREAKS: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_QUOTED: Final = str.maketrans({'"': r"\"", "\\": r"\\"})


class Sender:
    """The sender of all mails, as in `From`: `Wafa <loyalty@example.org>`.

    Raises:
        ValueError: the text has no address.
    """

    def __init__(self, text: str) -> None:
        name, address = parseaddr(text)
        valid = mailbox(address)
        if valid is None:
            raise ValueError("has to be an address such as `Wafa <loyalty@example.org>`")
        self.address = valid
        self.domain = valid.rpartition("@")[2]
        self.header = f"{_phrase(name)} <{valid}>" if name else valid


def compose(sender: Sender, mail: Mail) -> bytes:
    """The mail as it is sent; the same message always has the same Message-ID.

    Raises:
        UnsendableError: a header would contain a line break or another control character.
    """
    headers = [
        ("From", sender.header),
        ("To", _one_line("address", mail.address)),
        ("Subject", _words(_one_line("subject", mail.subject))),
        ("Date", format_datetime(mail.at)),
        ("Message-ID", f"<{mail.id}@{sender.domain}>"),
        # RFC 3834: no out-of-office replies to this.
        ("Auto-Submitted", "auto-generated"),
        ("Content-Language", _matching(_TAG, "language", mail.language)),
        *_list_headers(sender, mail),
        ("MIME-Version", "1.0"),
        # Neither base64 nor quoted-printable contains `=_`, so no content contains the boundary.
        ("Content-Type", f'multipart/alternative;\r\n boundary="=_{mail.id.hex}"'),
    ]
    boundary = f"--=_{mail.id.hex}".encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in headers).encode()
    # The last alternative is the one to prefer.
    parts = (_part("plain", mail.text), _part("html", mail.html))
    return b"\r\n".join((head, *(boundary + b"\r\n" + part for part in parts), boundary + b"--\r\n"))


def _list_headers(sender: Sender, mail: Mail) -> list[tuple[str, str]]:
    """RFC 2919, 2369 and 8058: the list that the mail is of, and the one click that leaves it."""
    if mail.unsubscribe is None:
        return []
    return [
        ("List-ID", f"<{_matching(_TAG, 'topic', mail.topic)}.{sender.domain}>"),
        ("List-Unsubscribe", f"<{_matching(_URL, 'unsubscribe', mail.unsubscribe)}>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
    ]


def _part(subtype: str, text: str) -> bytes:
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        content = (lines if lines.endswith("\n") else lines + "\n").encode()
    except UnicodeEncodeError:
        raise UnsendableError(f"the {subtype} text is not Unicode") from None
    encoding, encoded = "quoted-printable", binascii.b2a_qp(content, istext=True)
    as_base64 = base64.encodebytes(content.replace(b"\n", b"\r\n"))
    if len(as_base64) < len(encoded):
        encoding, encoded = "base64", as_base64
    head = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + encoded.replace(b"\n", b"\r\n")


def _words(text: str) -> str:
    """Text in a header: as it is, or as encoded words (RFC 2047), folded."""
    if text.isascii() and len(text) <= _SHORT and "=?" not in text:
        return text
    return Header(text, "utf-8", header_name="Subject").encode(linesep="\r\n")


def _phrase(name: str) -> str:
    words = _words(name)
    return f'"{name.translate(_QUOTED)}"' if words == name else words


def _one_line(field: str, text: str) -> str:
    if any(unicodedata.category(character) in _BREAKS for character in text):
        raise UnsendableError(f"the {field} has a line break or another control character")
    return text.strip()


def _matching(pattern: re.Pattern[str], field: str, text: str) -> str:
    if pattern.fullmatch(text) is None:
        raise UnsendableError(f"the {field} does not fit a header")
    return text
