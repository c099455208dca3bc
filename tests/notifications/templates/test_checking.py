"""What drafts of templates are refused for, each with the pointer of what is wrong; and what is only doubtful."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from tests.notifications.templates.documents import TEMPLATES, email, faults, in_app, model

LINK = "{{ links.unsubscribe }}"
SORTING = (
    "{% assign s = 'a,' %}{% for i in (1..12) %}{% assign s = s | append: s %}{% endfor %}"
    "{% for i in (1..900) %}{% assign l = s | split: ',' | sort %}{% endfor %}x"
)


def mjml_of(text: str) -> str:
    body = f"<mj-body><mj-section><mj-column><mj-text>{text}</mj-text></mj-column></mj-section></mj-body>"
    return f"<mjml>{body}</mjml>"


@pytest.mark.parametrize(
    "text",
    [
        "{{ points | number }} {{ event.points | number }} {{ event.order_id }}",
        "{{ customer.id }} {{ customer.name }} {{ customer.first_name }} {{ customer.tier }} {{ program }}",
        "{{ customer.points.available | number }} {{ customer['points']['pending'] | number }}",
        "{% assign more = points | plus: 1 %}{{ more | number }}{% for i in (1..3) %}{{ i }}{% endfor %}",
        "{% capture word %}x{% endcapture %}{{ word }}",
        "{{ customer.locale | default: 'none' }} {{ links.unsubscribe }}",
    ],
)
def test_known_and_declared_variables(text: str):
    assert faults(in_app=in_app(text)) == {}


@pytest.mark.parametrize(
    "text, name",
    [
        ("{{ total }}", "total"),
        ("{{ event.total }}", "event.total"),
        ("{{ customer.email }}", "customer.email"),
        ("{{ customer.points.held }}", "customer.points.held"),
        ("{% if total %}x{% endif %}", "total"),
        ("{{ points | plus: total }}", "total"),
        ("{{ links.home }}", "links.home"),
        ("{{ program.name }}", "program.name"),
        ("{{ customer }}", "customer"),
        ("{{ more }}{% if false %}{% assign more = 1 %}{% endif %}", None),
        ("{% for i in items %}{{ i }}{% endfor %}", "items"),
        ("{{ customer[order_id] }}", "customer.['order_id']"),
    ],
)
def test_other_variables_are_refused(text: str, name: str | None):
    message = faults(in_app=in_app(text))["/in_app/en/body"]
    assert name is None or f"`{name}`" in message


@pytest.mark.parametrize(
    "text",
    [
        "{% include 'layout.email' %}",
        "{% render 'layout.email' %}",
        "{% extends 'layout.email' %}",
        "{{ points",
        "{% if points %}",
        "{{ points | unknown }}",
        "{{ order_id | safe }}",
        "{{ order_id | number }}",
        "{{ points | date }}",
        "{{ points | money: 'dollars' }}",
        "{{ points | plural: one: '#' }}",
        "{% assign x = '' %}{{ x }}",
        "{% for i in (1..2000) %}x{% endfor %}",
        "{% for i in (1..100) %}{% for j in (1..100) %}x{% endfor %}{% endfor %}",
        "{% tablerow i in (1..5000) %}{% endtablerow %}",
        "{{ (1..100000000) | join: ',' | size }}",
        "{% assign l = (1..100000000) | reverse %}x",
        "{% assign s = 'a' %}{% for i in (1..13) %}{% assign s = s | append: s %}{% endfor %}{{ s | replace: 'a', s }}",
        pytest.param(SORTING, id="sorting"),
        "{% assign x = 9 %}{% for i in (1..60) %}{% assign x = x | times: x %}{% endfor %}{{ x | size }}",
        "{% for i in (1..1000) %}{% case i %}" + "{% when 0 %}" * 600 + "{% endcase %}{% endfor %}x",
        "{% if points %}" * 200 + "x" + "{% endif %}" * 200,
    ],
    ids=lambda text: text[:40],
)
def test_texts_that_are_malformed_or_do_not_render_or_do_too_much(text: str):
    assert list(faults(in_app=in_app(text))) == ["/in_app/en/body"]


def test_every_locale_and_channel_is_rendered():
    broken = {"en": {"text": "fine"}, "ar": {"text": "{{ order_id | number }}"}}
    assert list(faults(sms=broken)) == ["/sms/ar/text"]


@pytest.mark.parametrize(
    "url, is_right",
    [
        ("https://example.org/{{ order_id }}?a=b", True),
        ("/orders/{{ order_id | url_encode }}", True),
        ("{{ links.unsubscribe }}", True),
        ("{{ nowhere }}", False),
        ("javascript:alert(1)", False),
        ("example.org", False),
        ("https://example.org/a b", False),
        ("{{ order_id }}", False),
    ],
)
def test_the_page_of_a_push(url: str, is_right: bool):
    expected = [] if is_right else ["/push/en/url"]
    assert list(faults(push={"en": {"title": "x", "body": "x", "url": url}})) == expected


@pytest.mark.parametrize("topic", ["offers", "news"])
def test_offers_and_news_are_marketing(topic: str):
    assert list(faults(topic=topic)) == ["/kind"]
    assert faults(topic=topic, kind="marketing") == {}


def test_each_channel_has_the_default_locale():
    assert list(faults(email={"ar": {"subject": "x", "markdown": "x"}})) == ["/email"]
    assert list(faults(in_app=None)) == [""]


@pytest.mark.parametrize("body", [{}, {"markdown": "x", "mjml": "<mjml></mjml>"}, {"markdown": ""}, {"html": "x"}])
def test_a_mail_has_one_body(body: dict[str, str]):
    with pytest.raises(ValidationError):
        model(email={"en": {"subject": "x", **body}})


@pytest.mark.parametrize(
    "changes",
    [
        {"samples": {"customer": 1}},
        {"samples": {"links": 1}},
        {"samples": {"not a name": 1}},
        {"samples": {"x": "a" * 20_000}},
        {"topic": "weather"},
        {"in_app": {"english": {"title": "x", "body": "x"}}},
        {"in_app": {"en-US": {"title": "x", "body": "x"}, "en_us": {"title": "x", "body": "x"}}},
        {"in_app": {"en": {"title": "two\nlines", "body": "x"}}},
        {"email": {"en": {"subject": "x\r\nBcc: y@example.org", "markdown": "x"}}},
        {"email": {"en": {"subject": "x", "markdown": "x" * 30_001}}},
        {"push": {"en": {"title": "x", "body": "x", "url": "a\nb"}}},
    ],
    ids=str,
)
def test_documents_that_are_no_templates(changes: dict[str, Any]):
    with pytest.raises(ValidationError):
        model(**changes)


@pytest.mark.parametrize(
    "mjml",
    [
        "not MJML",
        "<mjml><mj-body><mj-text>unclosed</mj-body></mjml>",
        "<mjml><mj-body><mj-raw><script>alert(1)</script></mj-raw></mj-body></mjml>",
        mjml_of('<a href="javascript:x">x</a>'),
        "<mjml><mj-body><mj-include path='/etc/passwd' /></mj-body></mjml>",
        "<mjml><mj-body></mj-body></mjml>",
    ],
)
def test_mjml_that_is_refused(mjml: str):
    assert list(faults(email=email(mjml=mjml))) == ["/email/en/mjml"]


def test_marketing_in_mjml_has_its_link():
    assert list(faults(kind="marketing", email=email(mjml=mjml_of("x")))) == ["/email/en/mjml"]
    assert faults(kind="marketing", email=email(mjml=mjml_of(f'<a href="{LINK}">x</a>'))) == {}
    assert faults(email=email(mjml=mjml_of("x"))) == {}
    assert faults(kind="marketing", email=email(markdown="x")) == {}


@pytest.mark.parametrize(
    "markdown, is_right",
    [
        ("[x](https://example.org/{{ order_id }})", True),
        ("[x]({{ links.unsubscribe }})", True),
        ("[x]({{ order_id }})", False),  # the sample is no link
        ("[x](javascript:alert({{ points | number }}))", True),  # shown as it is
        ("[x]({% if points %}https://a.example{% endif %})", False),
        ("![]({{ order_id }})", False),
    ],
)
def test_links_begin_with_a_scheme(markdown: str, is_right: bool):
    assert (faults(email=email(markdown=f"Text {markdown}")) == {}) == is_right


def lint(**changes: Any) -> dict[str, str]:
    return {fault.pointer: fault.message for fault in TEMPLATES.lint(model(**changes), datetime.now(UTC))}


def test_doubts():
    assert lint() == {}
    assert list(lint(topic="surveys")) == ["/kind"]
    assert lint(topic="surveys", kind="marketing") == {}
    assert list(lint(samples={"points": 1, "order_id": "A", "spare": 1})) == ["/samples/spare"]
    unknown = lint(in_app=in_app("Hello {{ customer.first_name }}, {{ points }} for {{ order_id }}"))
    assert list(unknown) == ["/in_app/en/body", "/samples/points"][:1]
    greeted = "Hello{% if customer.first_name %} {{ customer.first_name }}{% endif %}, {{ points }} for {{ order_id }}"
    assert lint(in_app=in_app(greeted)) == {}
    assert list(lint(sms={"en": {"text": "مرحبا " * 60}})) == ["/sms/en/text"]
