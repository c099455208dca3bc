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
_WORDS: Final = {"en": "Unsubscribe", "ar": "إلغاء الاشتراك"}
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

    def decorate(self, html: str, *, is_marketing: bool, locale: str) -> str:
        """A mail whose links tell that they were followed.

        A marketing mail also tells that it was opened, and shows how to unsubscribe, unless it does so already. Links
        to unsubscribe, those of other schemes than http and https, and very long ones stay as they are.
        """
        tracked = html if self.is_test else _ANCHOR.sub(self._track, html)
        if not is_marketing:
            return tracked
        shown = "" if escape(self.unsubscribe) in html else self._shown(locale)
        return _at_the_end(tracked, shown + ("" if self.is_test else self._pixel()))

    def decorate_text(self, text: str, *, is_marketing: bool, locale: str) -> str:
        """The plain text of a mail; a marketing mail shows how to unsubscribe, unless it does so already."""
        if not is_marketing or self.unsubscribe in text:
            return text
        return f"{text.rstrip()}\n\n{_word(locale)}: {self.unsubscribe}\n"

    def _shown(self, locale: str) -> str:
        link = f'<a href="{escape(self.unsubscribe)}">{_word(locale)}</a>'
        return f'<p style="font-size:12px;text-align:center">{link}</p>'

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


def _word(locale: str) -> str:
    return _WORDS.get(locale.replace("_", "-").partition("-")[0].lower(), _WORDS["en"])


def _at_the_end(html: str, addition: str) -> str:
    ends = list(_END.finditer(html))
    place = ends[-1].start() if ends else len(html)
    return html[:place] + addition + html[place:]
