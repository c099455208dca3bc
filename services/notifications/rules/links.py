"""The links of a message: to unsubscribe, to see that it was opened, and that a link in it was followed."""

import re
from dataclasses import dataclass
from html import escape, unescape
from typing import Final
from uuid import UUID

from services.notifications.rules.message import Topic
from services.notifications.rules.tokens import LONGEST_URL, Keys, Purpose, Token

_ANCHOR: Final = re.compile(
    r"""(<a\b(?:[^>"']|"[^"]*"|'[^']*')*?\shref\s*=\s*)(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE
)
_FOLLOWED: Final = ("https://", "http://")
_END: Final = re.compile(r"</body\s*>", re.IGNORECASE)

# About the account and about orders customers are told whatever they think of the program.
_WITHOUT_HEADER: Final = frozenset({Topic.ACCOUNT, Topic.ORDERS})


def has_unsubscribe_header(topic: Topic) -> bool:
    """Whether mails of a topic carry `List-Unsubscribe`."""
    return topic not in _WITHOUT_HEADER


@dataclass(frozen=True, slots=True)
class Links:
    """The links of a message, below the public URL `root`; `is_test`: they do nothing."""

    keys: Keys
    root: str
    message_id: UUID
    is_test: bool = False

    @property
    def unsubscribe(self) -> str:
        """The page that unsubscribes, also by one click (RFC 8058)."""
        purpose = Purpose.NOTHING if self.is_test else Purpose.UNSUBSCRIBE
        return f"{self.root}/u/{self.keys.sign(Token(purpose, self.message_id))}"

    def decorate(self, html: str, *, with_pixel: bool) -> str:
        """A mail whose links tell that they were followed, and with a pixel that tells that it was opened.

        Links to unsubscribe, those of other schemes than http and https, and very long ones stay as they are.
        """
        if self.is_test:
            return html
        tracked = _ANCHOR.sub(self._track, html)
        return _with_pixel(tracked, self._pixel()) if with_pixel else tracked

    def _track(self, anchor: re.Match[str]) -> str:
        url = unescape(anchor[2] if anchor[2] is not None else anchor[3]).strip()
        is_followed = url.lower().startswith(_FOLLOWED) and len(url.encode(errors="replace")) <= LONGEST_URL
        if not is_followed or url.startswith(f"{self.root}/u/") or not url.isprintable():
            return anchor[0]
        token = self.keys.sign(Token(Purpose.CLICK, self.message_id, url))
        return f'{anchor[1]}"{escape(f"{self.root}/c/{token}")}"'

    def _pixel(self) -> str:
        token = self.keys.sign(Token(Purpose.OPEN, self.message_id))
        source = escape(f"{self.root}/o/{token}.gif")
        return f'<img src="{source}" width="1" height="1" alt="" style="border:0;height:1px;width:1px">'


def _with_pixel(html: str, pixel: str) -> str:
    ends = list(_END.finditer(html))
    place = ends[-1].start() if ends else len(html)
    return html[:place] + pixel + html[place:]
