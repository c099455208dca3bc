"""Bodies of mails: Markdown and MJML with Liquid in them, the layout, and the plain text."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.notifications.rendering import mail
from services.notifications.rendering.compiled import compiled
from services.notifications.rendering.mail import BodyError, Frame, from_markdown, plain
from services.notifications.rendering.renderer import MailText, Reader, Renderer, TemplateFailedError
from tests.notifications.templates.documents import email, model
from tests.notifications.templates.test_checking import mjml_of

FRAME = Frame("Wafa", "Subject", "", "en", "ltr", None)
RENDERER = Renderer("Wafa")
PAGE = "https://shop.example/u/token?a=1&b=2"


def sent(reader: Reader | None = None, facts: dict[str, Any] | None = None, **changes: Any) -> MailText:
    template = compiled(1, model(**changes))
    language = next(iter(template.document.email or {}))
    facts = {"points": 120, "order_id": "A-1"} if facts is None else facts
    return RENDERER.email(template, language, facts, reader or Reader("c", "Mona Ali", "en"))


@pytest.mark.parametrize(
    "source, expected",
    [
        ("**{{ x }}**", "<p><strong>{{ x }}</strong></p>"),
        ("# {{ x }}\n\n- {{ y }}\n- b", "<h1>{{ x }}</h1>\n<ul>\n<li>{{ y }}</li>\n<li>b</li>\n</ul>"),
        ("{% if x %}\n\n- a\n\n{% endif %}", "{% if x %}\n<ul>\n<li>a</li>\n</ul>\n{% endif %}"),
        ("{% if x %}{{ y }}{% endif %}", "<p>{% if x %}{{ y }}{% endif %}</p>"),
        ("{{ x | plural: one: \"*#*\", other: '[a](b)' }}", "<p>{{ x | plural: one: \"*#*\", other: '[a](b)' }}</p>"),
        ("[{{ x }}](https://a.example/{{ y }})", '<p><a href="https://a.example/{{ y }}">{{ x }}</a></p>'),
        ("[x]({{ y }})", '<p><a href="{{ y  | link }}">x</a></p>'),
        ("[x]({{- y -}})", '<p><a href="{{- y  | link -}}">x</a></p>'),
        ("<script>alert(1)</script><b>x</b>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;&lt;b&gt;x&lt;/b&gt;</p>"),
        ("LQ0QL {{ x }}", "<p>LQ 0QL {{ x }}</p>"),
        ("| a | b |\n|---|--:|\n| {{ x }} | 2 |", None),
    ],
)
def test_markdown_around_liquid(source: str, expected: str | None):
    html = from_markdown(source).strip()
    assert expected is None or html == expected
    assert "{{ x" in html or "x" not in source or expected is not None


@pytest.mark.parametrize("source", ["[a]: {{ x }}", "```{{ x }}\ncode\n```", "[x]({% if y %}a{% endif %})"])
def test_liquid_where_it_cannot_be_filled_in(source: str):
    with pytest.raises(BodyError):
        from_markdown(source)


TEXT = st.text(st.sampled_from(" \n\tab.،ع&<>\"'\u2068\u2069"), max_size=12)
INLINE = st.one_of(TEXT, TEXT.map("**{}**".format), TEXT.map("*{}*".format))
PARAGRAPHS = st.lists(st.lists(INLINE, max_size=4).map("".join), max_size=4).map("\n\n".join)


@settings(deadline=None)
@given(PARAGRAPHS)
def test_the_short_way_to_plain_text_gives_what_inscriptis_gives(source: str):
    html = from_markdown(source)
    if not re.search(r"<(?!/?(?:p|strong|em|bdi)>)", html):
        assert plain(html, FRAME).strip() == mail.text_of(html).strip()


def test_a_list_and_a_link_in_plain_text():
    text = plain(from_markdown("Hello,\n\n- one\n- two\n\nBye"), FRAME)
    assert text == "Hello,\n\n  * one\n  * two\n\nBye\n"


def test_a_marketing_mail_shows_its_link():
    reader = Reader("c", "Mona", "ar", unsubscribe=PAGE)
    shown = sent(reader, kind="marketing", email={"ar": {"subject": "x", "markdown": "y"}})
    assert 'href="https://shop.example/u/token?a=1&amp;b=2"' in shown.html
    assert "إلغاء الاشتراك" in shown.html
    assert shown.text == f"y\n\nإلغاء الاشتراك: {PAGE}\n"
    assert PAGE[:20] not in sent(reader, email=email(markdown="y")).html


def test_mjml_has_its_language_direction_and_preview():
    texts = {
        "subject": "{{ points | number }}",
        "preheader": "For {{ customer.name }}",
        "mjml": mjml_of("{{ order_id }}"),
    }
    shown = sent(Reader("c", "<منى>", "ar-EG"), {"points": 40, "order_id": "<b>"}, email={"ar": texts})
    assert shown.html.startswith('<!doctype html><html lang="ar" dir="rtl"')
    assert '<body lang="ar" dir="rtl"' in shown.html
    assert "For &lt;منى&gt;" in shown.html
    assert "&lt;b&gt;" in shown.html
    assert (shown.subject, shown.preheader, shown.text) == ("٤٠", "For <منى>", "<b>\n")


def test_values_in_links_are_links():
    link = email(markdown="[x]({{ order_id }})")
    shown = sent(facts={"order_id": 'https://a.example/?q=">'}, email=link)
    assert 'href="https://a.example/?q=&#34;&gt;"' in shown.html
    for value in ("javascript:alert(1)", " javascript:x", "data:text/html,x", "JavaScript:x", "//a.example", "a"):
        with pytest.raises(TemplateFailedError):
            sent(facts={"order_id": value}, email=link)


@pytest.mark.parametrize("texts", [{"markdown": "{{ x | default: '' }}"}, {"mjml": mjml_of("{% if x %}a{% endif %}")}])
def test_a_blank_body_fails(texts: dict[str, str]):
    with pytest.raises(TemplateFailedError) as caught:
        sent(samples={"x": "y"}, facts={}, email=email(**texts))
    assert caught.value.field == next(iter(texts))


@pytest.mark.parametrize("value", [None, "", " \t ", "\u200b"])
def test_null_and_blank_values_are_missing(value: object):
    texts = {"subject": "{{ order_id | default: 'none' }}", "markdown": "{% if order_id %}a{% else %}b{% endif %}"}
    shown = sent(facts={"order_id": value}, email={"en": texts})
    assert (shown.subject, shown.text) == ("none", "b\n")
    with pytest.raises(TemplateFailedError) as caught:
        sent(facts={"order_id": value}, email=email(markdown="Hi {{ order_id }},"))
    assert caught.value.field == "markdown"


def test_values_of_facts_of_the_program():
    texts = email(markdown="{{ order_id | money }} {{ order_id | money: 'EUR' }}")
    dinars = Renderer("Wafa", currency="AED").email(
        compiled(1, model(email=texts)), "en", {"order_id": "12.5"}, Reader("c")
    )
    assert dinars.text == "AED12.50 €12.50\n"
