"""Rendered messages: languages, plurals, numbers, dates, direction, and no injection by values."""

import json
import re

import markupsafe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from liquid.exceptions import LiquidError

from services.notifications.rendering import liquid
from services.notifications.rendering.liquid import compile_text
from services.notifications.rendering.names import first_name, tidy
from services.notifications.rendering.renderer import Reader, TemplateFailedError, _babel
from services.notifications.rules.notice import Fact, Trigger, notices
from services.notifications.wording import LOCALE, visible
from shared.contracts.envelope import Event
from tests.notifications.world import earned, reader, referral, registered, reversed_, templates, tier

ENGLISH = reader("Mona", "en")
ARABIC = reader("منى", "ar")
EGYPTIAN = reader("منى", "ar-EG", "Africa/Cairo")

EVENTS = [
    registered("c"),
    earned("c", 5),
    earned("c", 50, reason={"kind": "review", "review_id": "r"}),
    earned("c", 3, reason={"kind": "adjustment"}, activates_at="2026-04-01T00:00:00Z"),
    earned("c", 3, expires_at="2027-03-01T00:00:00Z"),
    reversed_("c", 5, reason={"kind": "refund", "order_id": "o"}),
    reversed_("c", 5, reason={"kind": "refund"}, balance={"debt": 2}),
    reversed_("c", 5, reason={"kind": "review_withdrawn"}),
    reversed_("c", 5, reason={"kind": "referral_voided"}),
    tier("promoted", "c", "silver"),
    tier("promoted", "c", "a tier of tomorrow"),
    referral("approved", "c", "d"),
    referral("approved", "c", "d", advocate_points=0),
]


_TAG = r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8}){0,4}"


def facts(event: Event) -> tuple[Trigger, dict[str, Fact]]:
    notice = next(iter(notices(event)))
    return notice.trigger, dict(notice.facts)


def points(number: int, **changes: object) -> dict[str, Fact]:
    """The facts of an event that earned `number` points; the contract allows 1 or more."""
    given_facts = facts(earned("c", max(number, 1), balance={"available": 0}, **changes))[1]
    return given_facts | {"points": number}


@pytest.mark.parametrize("who", [ENGLISH, ARABIC, EGYPTIAN, reader()], ids=["en", "ar", "ar-EG", "nobody"])
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_every_notice_reads_in_every_language(event: Event, who: Reader):
    trigger, given_facts = facts(event)
    inbox = templates().notification(trigger, given_facts, who)
    mail = templates().mail(trigger, given_facts, who)
    for text in (inbox.title, inbox.body, mail.subject, mail.text):
        assert text.strip()
        assert not re.search(r"[{}%]|None|  ", text)
    assert "\n" not in inbox.title + inbox.body + mail.subject
    assert inbox.locale == mail.locale == (who.locale or "en").split("-")[0]


@pytest.mark.parametrize(
    "locale, expected",
    [
        ("en", "en"),
        ("en-GB", "en"),
        ("ar", "ar"),
        ("ar-EG", "ar"),
        ("AR_eg", "ar"),
        ("ar-Arab-SA-u-nu-latn", "ar"),
        ("fr-FR", "en"),
        ("arn", "en"),
        ("", "en"),
        (None, "en"),
    ],
)
def test_language(locale: str | None, expected: str):
    text = templates().notification(Trigger.POINTS_EARNED, points(5), reader(locale=locale))
    assert text.locale == expected
    assert ("points" in text.title) == (expected == "en")


@pytest.mark.parametrize(
    "number, expected",
    [
        (0, "0 نقطة"),
        (1, "نقطة واحدة"),
        (2, "نقطتين"),
        (3, "3 نقاط"),
        (11, "11 نقطة"),
        (100, "100 نقطة"),
        (103, "103 نقاط"),
        (1234, "1,234 نقطة"),
    ],
)
def test_arabic_plurals(number: int, expected: str):
    assert templates().notification(Trigger.POINTS_EARNED, points(number), ARABIC).title == f"حصلت على {expected}"


@pytest.mark.parametrize("number, expected", [(0, "0 points"), (1, "1 point"), (2, "2 points"), (1234, "1,234 points")])
def test_english_plurals(number: int, expected: str):
    assert templates().notification(Trigger.POINTS_EARNED, points(number), ENGLISH).title == f"You earned {expected}"


@pytest.mark.parametrize(
    "number, english, arabic",
    [(-1, "-1 points", "-1 نقطة"), (-2, "-2 points", "-2 نقطة"), (10**15, "1,000,000,000,000,000 points", None)],
)
def test_a_number_that_no_spelled_out_form_fits_is_written_in_digits(number: int, english: str, arabic: str | None):
    source = """{{ n | plural: one: "one point", two: "two points", other: "# points" }}"""
    for language, expected in (("en", english), ("ar", arabic)):
        if expected is not None:
            form = source.replace("points", "نقطة") if language == "ar" else source
            text = compile_text(form).render(n=number, **{LOCALE: _babel(language)})
            assert text.replace("\u200e", "").replace("\u061c", "") == expected


@pytest.mark.parametrize(
    "locale, number, day",
    [
        ("en-US", "12,345", "March 2, 2027"),
        ("en-GB", "12,345", "2 March 2027"),
        ("en-XX", "12,345", "March 2, 2027"),
        ("fr", "12,345", "March 2, 2027"),
        ("ar-AE", "12,345", "2 مارس 2027"),
        ("ar-EG", "١٢٬٣٤٥", "٢ مارس ٢٠٢٧"),
    ],
)
def test_numbers_and_dates_are_written_as_the_reader_writes_them(locale: str, number: str, day: str):
    earned_facts = points(12_345, expires_at="2027-03-01T23:30:00Z")
    text = templates().notification(
        Trigger.POINTS_EARNED, earned_facts, reader(locale=locale, time_zone="Africa/Cairo")
    )
    assert number in text.title
    assert day in text.body


@pytest.mark.parametrize("zone", [None, "Africa/Cairo", "America/New_York"])
@pytest.mark.parametrize("instant", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_dates_at_the_ends_of_the_calendar(instant: str, zone: str | None):
    text = templates().notification(Trigger.POINTS_EARNED, points(1, expires_at=instant), reader(time_zone=zone))
    assert re.search(r"until \w+ \d+, \d+\.", text.body)


VISIBLE = st.characters(blacklist_categories=("Cs", "Cc"))


@settings(deadline=None)  # the machine may be busy
@given(st.text(VISIBLE, min_size=1, max_size=128), st.from_regex(_TAG, fullmatch=True))
def test_any_id_and_any_locale_of_the_contract_can_be_rendered(order_id: str, tag: str):
    earned_facts = points(5) | {"order_id": order_id}
    for locale in (tag, f"ar-{tag}", f"en_{tag}"):
        assert templates().mail(Trigger.POINTS_EARNED, earned_facts, reader(locale=locale)).text
        body = templates().notification(Trigger.POINTS_EARNED, earned_facts, reader(locale=locale)).body
        assert f"\u2068{visible(order_id)}\u2069" in body


def test_a_day_is_that_of_the_readers_time_zone():
    earned_facts = points(1, expires_at="2027-03-01T23:30:00Z")
    days = {
        zone: re.findall(
            r"March (\d+)", templates().notification(Trigger.POINTS_EARNED, earned_facts, reader(time_zone=zone)).body
        )
        for zone in (None, "Africa/Cairo", "America/New_York")
    }
    assert days == {
        None: ["1"],
        "Africa/Cairo": ["2"],
        "America/New_York": ["1"],
    }


@pytest.mark.parametrize("who, language, direction", [(ENGLISH, "en", "ltr"), (EGYPTIAN, "ar", "rtl")])
def test_a_mail_says_its_language_and_direction(who: Reader, language: str, direction: str):
    html = templates().mail(Trigger.WELCOME, {}, who).html
    assert html.startswith(f'<!doctype html>\n<html lang="{language}" dir="{direction}">')
    # Mail programs that drop the html element keep the content of the body.
    assert f'<div lang="{language}" dir="{direction}"' in html
    assert f"\u2068{who.name}\u2069" in html


def test_a_tier_has_its_name_in_each_language():
    trigger, given_facts = facts(tier("promoted", "c", "gold"))
    assert templates().notification(trigger, given_facts, ENGLISH).title == "You are now Gold"
    assert templates().notification(trigger, given_facts, ARABIC).title == "وصلت إلى المستوى الذهبي"


NASTY = '<img src=x onerror="alert(1)">{{ points }}{% assign points = 9 %}&amp;\''


ESCAPED = str(markupsafe.escape(NASTY))


@pytest.mark.parametrize("locale", ["en", "ar"])
def test_values_are_neither_html_nor_liquid(locale: str):
    earned_facts = points(7) | {"order_id": NASTY}
    mail = templates().mail(Trigger.POINTS_EARNED, earned_facts, reader(NASTY, locale))
    assert mail.html.count(f"\u2068{ESCAPED[:40]}") == 2
    assert f"\u2068{ESCAPED}\u2069" in mail.html
    assert "<img" not in mail.html
    assert NASTY.split("&", maxsplit=1)[0] in mail.text  # plain text has the value as it was sent


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=200))
def test_no_name_makes_an_element_or_a_second_line(name: str):
    mail = templates().mail(Trigger.WELCOME, {}, reader(name, "en"))
    elements = re.findall(r"<\s*([a-zA-Z!/]+)", mail.html)
    assert set(elements) <= {"!doctype", "html", "head", "meta", "title", "body", "div", "p"} | {
        "/html", "/head", "/title", "/body", "/div", "/p",
    }  # fmt: skip
    assert "\n" not in mail.subject


@pytest.mark.parametrize(
    "name, expected",
    [
        ("  Mona \u00a0\t Ali\n", "Mona Ali"),
        ("Mona\u202eevil", "Monaevil"),
        ("Mona\r\nAli", None),
        ("Mona\u2028Ali", None),
        ("Win at evil.example", "Win at evil.example"),
        ("[x](http://evil.example)", None),
        ("WWW.evil.example", None),
        ("w\u200bww.evil.example", None),
        ("eve@evil.example", None),
        ("\u3164\u2800", None),
        ("\u200b\u0000 \t", None),
        ("", None),
        (None, None),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("x" * 10_000, "x" * 80),
    ],
)
def test_tidy(name: str | None, expected: str | None):
    assert tidy(name) == expected


def test_a_missing_fact_is_an_error():
    with pytest.raises(TemplateFailedError):
        templates().notification(Trigger.POINTS_EARNED, {}, ENGLISH)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in (1..100000) %}x{% endfor %}",
        "{% for i in (1..900) %}{{ 'x' | append: '" + "y" * 200 + "' }}{% endfor %}",
        "{% if true %}" * 11 + "{% endif %}" * 11,
        "{% for i in (1..900) %}{% assign long = long | append: '" + "y" * 200 + "' %}{% endfor %}",
    ],
    ids=["loops", "output", "nesting", "memory"],
)
def test_templates_have_resource_limits(source: str):
    with pytest.raises(LiquidError):
        compile_text(source).render(long="")


def test_templates_are_parsed_once(monkeypatch: pytest.MonkeyPatch):
    """Included parts were once parsed for each message, at 25 times its cost."""
    cases = [facts(event) for event in EVENTS]
    for trigger, given_facts in cases:
        for who in (ENGLISH, ARABIC):
            templates().notification(trigger, given_facts, who)
            templates().mail(trigger, given_facts, who)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("parsed again")

    monkeypatch.setattr(liquid._Limited, "from_string", fail)
    for trigger, given_facts in cases:
        for who in (ENGLISH, ARABIC):
            assert templates().notification(trigger, given_facts, who).body
            assert templates().mail(trigger, given_facts, who).text


def test_a_template_cannot_change_the_locale():
    with pytest.raises(LiquidError):
        compile_text("{% assign @locale = 'x' %}{{ 1 | number }}")


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_facts_survive_json(event: Event):
    """Mails are rendered from facts that were stored."""
    given_facts = facts(event)[1]
    assert json.loads(json.dumps(given_facts)) == given_facts


@pytest.mark.parametrize(
    "name, locale, expected",
    [
        ("Mona Ali", None, "Mona"),
        ("عبد الله حسن", "ar", "عبد الله"),
        ("Abu Bakr Siddiq", "en", "Abu Bakr"),
        ("Abdul Rahman Ali", "en", "Abdul Rahman"),
        ("Umm Kulthum", "en", "Umm Kulthum"),
        ("أبو بكر", "ar", "أبو بكر"),
        ("Dr. Ann Lee", "en", "Ann"),
        ("Prof. Dr. Ann Lee", "de", "Ann"),
        ("Nagy Anna", "hu", "Nagy Anna"),
        ("Nguyễn Văn An", "vi-VN", "Nguyễn Văn An"),
        ("عبد", "ar", None),
        ("Mr. Abu", "en", None),
        ("Dr.", "en", None),
        (None, "en", None),
    ],
)
def test_first_name(name: str | None, locale: str | None, expected: str | None):
    assert first_name(name, locale) == expected
