"""No supplied value changes the text around it, in any template, channel, part and language.

Planted and caught here: a value that is not isolated in a text; one that ends its own isolation; an override of
direction; a line break in a subject; a zero-width character; a value that is HTML or Liquid; one whose
character references are replaced twice.
"""

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from unicodedata import category

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.notifications.rendering.names import tidy
from services.notifications.rules.notice import Fact, Trigger
from services.notifications.wording import ISOLATE, POP, visible
from tests.notifications.world import reader, templates

CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ZERO_WIDTH = "\u00ad\u180e\u200b\u2060\u2061\u2064\ufeff\u034f\u115f\u3164\ufff9\U000e0041"
BREAKS = "\n\r\t\v\f\x00\x1b\x85\u2028\u2029"
JOINERS = "\u200c\u200d"
MARKUP = ["<b>", "</bdi>", "<bdi>", "&lt;", '"', "'", "{{ points }}", "{% if", "-%}", "&#8238;", "<!--"]

HOSTILE = st.lists(
    st.sampled_from([*CONTROLS, *ZERO_WIDTH, *BREAKS, *JOINERS, *MARKUP, " ", "\u00a0", "A", "7", "ع", "א", ".", ","])
    | st.characters(exclude_categories=["Cs"]),
    min_size=1,
    max_size=24,
).map("".join)

PLAIN = "X"
USUAL: dict[Trigger, dict[str, Fact]] = {
    Trigger.WELCOME: {},
    Trigger.POINTS_EARNED: {
        "points": 50,
        "reason": "purchase",
        "order_id": PLAIN,
        "available": 10,
        "activates_at": "2027-01-01T00:00:00Z",
        "expires_at": "2027-06-01T00:00:00Z",
        "pending": 40,
        "activating": 30,
        "expiring": 20,
        "repaid": 1,
        "debt": 3,
    },
    Trigger.POINTS_TAKEN_BACK: {"points": 5, "reason": "refund", "order_id": PLAIN, "available": 1, "debt": 2},
    Trigger.TIER_REACHED: {
        "tier": PLAIN,
        "effective_at": "2027-01-01T00:00:00Z",
        "valid_until": "2028-01-01T00:00:00Z",
    },
    Trigger.REFERRAL_APPROVED: {"role": "advocate", "points": 500},
}
SUPPLIED = ("order_id", "tier")


@dataclass
class Parts:
    """Everything that a customer's programs show of a notice, as plain text by part, and the HTML."""

    texts: dict[str, str]
    html: str


def rendered(trigger: Trigger, value: str, language: str, name: str | None = None) -> Parts:
    """The parts of a notice in which every supplied value is `value`, the name too unless another is given."""
    facts = {name: value if name in SUPPLIED else fact for name, fact in USUAL[trigger].items()}
    who = reader(value if name is None else name, language, "Asia/Riyadh")
    inbox, mail = templates().notification(trigger, facts, who), templates().mail(trigger, facts, who)
    texts = {"title": inbox.title, "body": inbox.body, "subject": mail.subject, "text": mail.text}
    return Parts(texts, mail.html)


def without_isolates(text: str) -> str:
    """The text without its isolated parts."""
    return re.sub(f"{ISOLATE}[^{ISOLATE}{POP}]*{POP}", "", text)


class Elements(HTMLParser):
    """The elements of a page, and its text outside of `bdi`."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, Any]] = []
        self.outside = ""
        self.inside: list[str] = []
        self._depth = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any):
        self.elements.append((tag, attrs))
        self._depth += tag == "bdi"
        if tag == "bdi":
            self.inside.append("")

    def handle_endtag(self, tag: str):
        self._depth -= tag == "bdi"

    def handle_data(self, data: str):
        if self._depth:
            self.inside[-1] += data
        else:
            self.outside += data


@pytest.mark.parametrize("language", ["en", "ar"])
@pytest.mark.parametrize("trigger", Trigger)
@settings(deadline=None, max_examples=60)  # the machine may be busy
@given(value=HOSTILE)
def test_a_value_changes_nothing_around_it(trigger: Trigger, language: str, value: str):
    assume(visible(value))  # a blank one is missing, as if it were absent
    # A value that is not a name is left out, so the usual name is left out for comparison.
    usual = rendered(trigger, PLAIN, language, PLAIN if tidy(value) else "")
    actual = rendered(trigger, value, language)
    for part, text in actual.texts.items():
        lines = usual.texts[part].count("\n")
        assert text.count("\n") == lines, part
        seen = text.replace("\n", "").replace(ISOLATE, "").replace(POP, "")
        assert not [char for char in seen if category(char) in {"Cc", "Cf", "Zl", "Zp"} and char not in JOINERS], part
        assert without_isolates(text) == without_isolates(usual.texts[part]), part
    page, usual_page = Elements(actual.html), Elements(usual.html)
    assert page.elements == usual_page.elements
    assert without_isolates(page.outside) == without_isolates(usual_page.outside)
    assert set(page.inside) <= {tidy(value) or "", visible(value), f"{ISOLATE}{visible(value)}{POP}", "Wafa"}


@pytest.mark.parametrize("language", ["en", "ar"])
@pytest.mark.parametrize(
    "value",
    ["A\u202e1", "\u2069\u202eA1", "A1\u2068\u2068", "A\u202d1\n2", "\u200fA1", "A\u200b1", "A1\u2028B"],
)
def test_an_order_id_cannot_change_the_text_direction(value: str, language: str):
    expected = f"{ISOLATE}{visible(value)}{POP}"
    assert not set(visible(value)) & set(CONTROLS + ZERO_WIDTH + BREAKS)
    texts = rendered(Trigger.POINTS_EARNED, value, language).texts
    assert expected in texts["body"]
    assert expected in texts["text"]


@given(st.text(max_size=40))
def test_visible_is_idempotent(text: str):
    seen = visible(text)
    assert visible(seen) == seen
    assert not re.search(r"^\s|\s\s|[^\S ]|\s$", seen)


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=20))
def test_visible_keeps_visible_characters(text: str):
    blank = "\u115f\u1160\u2800\u3164\uffa0"
    assert visible(text) == "".join(char for char in text if char not in blank)
