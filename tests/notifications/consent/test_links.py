"""The links of a message, and which of a mail's links are followed."""

import re
from html import unescape
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifications.rules.links import Links, has_unsubscribe_header
from services.notifications.rules.message import Topic
from services.notifications.rules.tokens import Keys, Purpose, Token

KEYS = Keys("a secret of thirty-two bytes or so")
ID = UUID("0198d6d2-0000-7000-8000-000000000001")
LINKS = Links(KEYS, "https://loyal.example.org", ID)
HREF = re.compile(r'href="([^"]*)"')


def target(html: str) -> str | None:
    """Where the link in a decorated mail leads; None if it was left as it is."""
    (url,) = HREF.findall(html)
    prefix = "https://loyal.example.org/c/"
    if not url.startswith(prefix):
        return None
    token = KEYS.read(url.removeprefix(prefix), Purpose.CLICK)
    assert token is not None
    assert token.message_id == ID
    return token.url


@pytest.mark.parametrize(
    "url, expected",
    [
        ("https://shop.example.org/a?b=1&amp;c=2", "https://shop.example.org/a?b=1&c=2"),
        ("http://shop.example.org", "http://shop.example.org"),
        ("HTTPS://shop.example.org", "HTTPS://shop.example.org"),
        ("https://shop.example.org/نقاط", "https://shop.example.org/نقاط"),
        ("mailto:help@example.org", None),
        ("javascript:alert(1)", None),
        ("#top", None),
        ("/relative", None),
        ("https://loyal.example.org/u/abc", None),
        ("https://shop.example.org/" + "a" * 1500, None),
        ("https://shop.example.org/&#13;&#10;X: y", None),
    ],
)
def test_which_links_are_followed(url: str, expected: str | None):
    html = f'<p><a class="b" href="{url}">go</a></p>'
    decorated = LINKS.decorate(html, is_marketing=False, locale="en")
    assert target(decorated) == expected
    if expected is None:
        assert decorated == html


@pytest.mark.parametrize(
    "html",
    [
        '<a href="https://e.org/">x</a>',
        "<A HREF='https://e.org/'>x</A>",
        '<a title="a > b" href = "https://e.org/" target="_blank">x</a>',
        '<a\n  href="https://e.org/">x</a>',
    ],
)
def test_spellings_of_a_link(html: str):
    assert target(
        LINKS.decorate(html, is_marketing=False, locale="en").replace("HREF", "href").replace("href = ", "href=")
    ) == ("https://e.org/")


@pytest.mark.parametrize(
    "html", ["<p>https://e.org/</p>", '<link href="https://e.org/">', '<abbr href="https://e.org/">']
)
def test_what_is_no_link(html: str):
    assert LINKS.decorate(html, is_marketing=False, locale="en") == html


@given(st.text(max_size=60))
def test_text_is_never_changed(text: str):
    assert LINKS.decorate(text.replace("<", ""), is_marketing=False, locale="en") == text.replace("<", "")


def test_a_marketing_mail_has_a_pixel_and_shows_how_to_unsubscribe():
    decorated = LINKS.decorate("<html><body><p>Hi</p></body></html>", is_marketing=True, locale="ar-EG")
    before, image, after = re.split(r"(<img [^>]*>)", decorated)
    assert before.startswith("<html><body><p>Hi</p><p ")
    assert f'<a href="{LINKS.unsubscribe}">إلغاء الاشتراك</a>' in before
    assert after == "</body></html>"
    source = re.search(r'src="https://loyal.example.org/o/([^"]*)\.gif"', image)
    assert source is not None
    assert KEYS.read(unescape(source[1]), Purpose.OPEN) == Token(Purpose.OPEN, ID)
    text = LINKS.decorate_text("Hi\n", is_marketing=True, locale="fr")
    assert text == f"Hi\n\nUnsubscribe: {LINKS.unsubscribe}\n"


def test_a_link_to_unsubscribe_is_not_added_twice():
    html = f'<body><a href="{LINKS.unsubscribe}">No more</a></body>'
    decorated = LINKS.decorate(html, is_marketing=True, locale="en")
    assert decorated.count("/u/") == 1
    assert "/c/" not in decorated
    text = f"No more: {LINKS.unsubscribe}\n"
    assert LINKS.decorate_text(text, is_marketing=True, locale="en") == text


def test_other_mails_have_neither():
    assert LINKS.decorate("<p>Hi</p>", is_marketing=False, locale="en") == "<p>Hi</p>"
    assert LINKS.decorate_text("Hi\n", is_marketing=False, locale="en") == "Hi\n"


def test_links_of_a_test_do_nothing():
    test = Links(KEYS, "https://loyal.example.org", ID, is_test=True)
    html = '<body><a href="https://e.org/">x</a></body>'
    assert test.decorate(html, is_marketing=False, locale="en") == html
    assert "<img" not in test.decorate(html, is_marketing=True, locale="en")
    assert KEYS.read(test.unsubscribe.rpartition("/")[2], Purpose.UNSUBSCRIBE) is None
    assert KEYS.read(test.unsubscribe.rpartition("/")[2], Purpose.NOTHING) is not None
    assert KEYS.read(LINKS.unsubscribe.rpartition("/")[2], Purpose.UNSUBSCRIBE) == Token(Purpose.UNSUBSCRIBE, ID)


def test_which_mails_have_the_header():
    assert {topic for topic in Topic if not has_unsubscribe_header(topic)} == {Topic.ACCOUNT, Topic.ORDERS}
