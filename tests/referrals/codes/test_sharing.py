"""Texts to share, and the pages to which links lead."""

from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from services.referrals.rules.codes.sharing import link_to_shop, share, target, target_without_code

LINK = "https://loyal.example.org/r/RJ6HG5PF4"


def test_each_link_carries_the_text_percent_encoded():
    shared = share("انضم إليّ & أكثر: {link}\n100 % + 1 {link}", LINK)
    assert shared.text == f"انضم إليّ & أكثر: {LINK}\n100 % + 1 {LINK}"
    whatsapp, email, x = shared.whatsapp, shared.email, shared.x
    assert (urlsplit(whatsapp).netloc, urlsplit(whatsapp).path) == ("wa.me", "/")
    assert parse_qs(urlsplit(whatsapp).query) == {"text": [shared.text]}
    assert (urlsplit(x).netloc, urlsplit(x).path) == ("x.com", "/intent/post")
    assert parse_qs(urlsplit(x).query) == {"text": [shared.text]}
    assert email.startswith("mailto:?body=")
    assert unquote(email.removeprefix("mailto:?body=")) == shared.text.replace("\n", "\r\n")
    for link in (whatsapp, email, x):
        assert link.isascii()
        assert not set(link) & set(' +\n{}"<>')


@pytest.mark.parametrize(
    "shop_url, link",
    [
        ("https://shop.example.org/", "https://shop.example.org/?ref={code}"),
        ("https://shop.example.org/a?b=c#d", "https://shop.example.org/a?b=c&ref={code}#d"),
    ],
)
def test_without_a_link_of_the_program_the_code_goes_into_the_query(shop_url: str, link: str):
    assert link_to_shop(shop_url) == link
    assert target_without_code(link) == shop_url


@pytest.mark.parametrize(
    "link, with_code, without",
    [
        ("https://s.example/?ref={code}", "https://s.example/?ref=RJ6HG5PF4", "https://s.example/"),
        (
            "https://s.example/?a=1&ref={code}&b=2",
            "https://s.example/?a=1&ref=RJ6HG5PF4&b=2",
            "https://s.example/?a=1&b=2",
        ),
        ("https://s.example/join/{code}?a=1", "https://s.example/join/RJ6HG5PF4?a=1", "https://s.example/"),
        ("https://s.example/join#{code}", "https://s.example/join#RJ6HG5PF4", "https://s.example/join"),
        ("https://s.example/{code}?r={code}", "https://s.example/RJ6HG5PF4?r=RJ6HG5PF4", "https://s.example/"),
    ],
)
def test_a_code_that_nobody_has_is_left_out_of_the_page(link: str, with_code: str, without: str):
    assert target(link, "RJ6HG5PF4") == with_code
    assert target_without_code(link) == without
