"""Normal forms of values, by tables and properties."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.referrals.rules.evidence import normal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ada@example.org", "ada@example.org"),
        (" ADA@Example.ORG. ", "ada@example.org"),
        ("ada+shop@example.org", "ada@example.org"),
        ("ada+a+b@example.org", "ada@example.org"),
        ("+ada@example.org", "+ada@example.org"),
        ("a.d.a@example.org", "a.d.a@example.org"),
        ("a.d.a+x@gmail.com", "ada@gmail.com"),
        ("A.Da@GoogleMail.com", "ada@gmail.com"),
        ("عدا@مثال.إختبار", "عدا@xn--mgbh0fb.xn--kgbechtv"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("e\u0301@example.org", "é@example.org"),
        ("ada", None),
        ("", None),
        ("@example.org", None),
        ("ada@", None),
        ("ada@localhost", None),
        ("ada@[203.0.113.9]", None),
        ("a b@example.org", None),
        ("a@b@example.org", None),
        ("Ada <ada@example.org>", None),
        ("...@gmail.com", None),
        ("ada@exa mple.org", None),
        ("ada@-example.org", None),
        ("a\x00da@example.org", None),
        ("x" * 310 + "@example.org", None),
        ("a@" + "\u00fc" * 300 + ".org", None),
        ("a@" + ".".join(["x" * 60] * 5) + ".org", None),
    ],
)
def test_addresses(text: str, expected: str | None):
    mailbox = normal.mailbox(text)
    assert (None if mailbox is None else mailbox.text) == expected


@pytest.mark.parametrize(
    ("text", "country", "expected"),
    [
        ("+966 50 123 4567", None, "+966501234567"),
        ("+966-50-123-4567", "AE", "+966501234567"),
        ("050 123 4567", "SA", "+966501234567"),
        ("501234567", "SA", "+966501234567"),
        ("٠٥٠١٢٣٤٥٦٧", "SA", "+966501234567"),
        ("00966501234567", "SA", "+966501234567"),
        ("0501234567", "AE", "+971501234567"),
        ("+1 (555) 010-0100", None, "+15550100100"),
        ("0501234567", None, None),
        ("0501234567", "XX", None),
        ("+", "SA", None),
        ("", "SA", None),
        ("unknown", "SA", None),
        ("112", "SA", None),
        ("+999123456789", None, None),
        ("5" * 10_000, "SA", None),
        ("+1 ext " * 20, "US", None),
    ],
)
def test_phone_numbers(text: str, country: str | None, expected: str | None):
    assert normal.phone(text, country) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ada  Lovelace ", "ada lovelace"),
        ("ADA\tLOVELACE", "ada lovelace"),
        ("Straße", "strasse"),
        ("\uff21\uff44\uff41", "ada"),
        ("مُحَمَّد أحمد", "محمد أحمد"),
        ("محــمد أحمد", "محمد أحمد"),
        ("ﻣﺤﻤﺪ", "محمد"),
        ("", None),
        ("  ", None),
        ("\u0640\u064b", None),
        ("Unknown", None),
        ("Win at www.evil.example", None),
        ("ada@example.org", None),
        ("http://evil.example", None),
        ("Ada\nLovelace", None),
        ("Ada\u2028Lovelace", None),
        ("\ufdfa" * 10_000, None),
    ],
)
def test_names(text: str, expected: str | None):
    assert normal.name(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.9", ("203.0.113.9", "203.0.113.0/24")),
        (" 8.8.4.4 ", ("8.8.4.4", "8.8.4.0/24")),
        ("::ffff:8.8.4.4", ("8.8.4.4", "8.8.4.0/24")),
        ("::FFFF:0808:0404", ("8.8.4.4", "8.8.4.0/24")),
        ("2a00:1450:4001:82a::200e", ("2a00:1450:4001:82a::/64", "2a00:1450:4001::/48")),
        ("2A00:1450:4001:082A:FFFF::", ("2a00:1450:4001:82a::/64", "2a00:1450:4001::/48")),
        *(
            (text, None)
            for text in ("", "unknown", "8.8.4", "8.8.4.4:80", "8.8.4.4, 10.0.0.1", "08.8.4.4", "8.8.4.256")
        ),
        *((text, None) for text in ("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1")),
        *(
            (text, None)
            for text in ("127.0.0.1", "0.0.0.0", "169.254.1.1", "224.0.0.1", "240.0.0.1", "255.255.255.255")
        ),
        *((text, None) for text in ("::", "::1", "fe80::1%eth0", "fc00::1", "fd00::1", "ff02::1", "64:ff9b::808:404")),
        *((text, None) for text in ("::ffff:10.0.0.1", "1" * 10_000, "2a00::" + "0" * 60)),
        ("172.15.255.255", ("172.15.255.255", "172.15.255.0/24")),
        ("172.32.0.0", ("172.32.0.0", "172.32.0.0/24")),
    ],
)
def test_places(text: str, expected: tuple[str, str] | None):
    assert normal.place(text) == expected


@pytest.mark.parametrize(
    ("text", "token", "agent"),
    [
        (" D-1 ", "D-1", "D-1"),
        ("d-1", "d-1", "d-1"),
        ("Mozilla/5.0  (X11)", "Mozilla/5.0  (X11)", "Mozilla/5.0 (X11)"),
        *((text, None, None) for text in ("", " ", "\u00a0", "unknown", "UNDEFINED", "null", "-", "0", " n/a ")),
    ],
)
def test_devices_and_agents(text: str, token: str | None, agent: str | None):
    assert (normal.token(text), normal.agent(text)) == (token, agent)


@pytest.mark.parametrize(
    ("text", "expected"), [("SA", "SA"), (" sa ", "SA"), ("", None), ("SAU", None), ("1A", None), ("ﬀ", "FF")]
)
def test_countries(text: str, expected: str | None):
    assert normal.country(text) == expected


TEXTS = st.text(max_size=80) | st.text("ada.+@gmailcom-_ \t٠١ÄSSßİ", max_size=40)


@given(TEXTS)
def test_a_normal_form_is_its_own(text: str):
    """Whatever is told, also what no shop would send, has a normal form of itself or none."""
    for form in (normal.name, normal.token, normal.agent, normal.country, normal.domain):
        once = form(text)
        assert once is None or form(once) == once
    mailbox = normal.mailbox(text)
    assert mailbox is None or mailbox.domain == normal.domain(mailbox.domain)
    number = normal.phone(text, "SA")
    assert number is None or normal.phone(number, None) == number


LOCALS = st.text("abcdefghij", min_size=1, max_size=12)


@given(LOCALS, LOCALS, st.sampled_from(["gmail.com", "googlemail.com", "GMAIL.COM."]), st.data())
def test_gmail_ignores_dots_tags_and_case(local: str, tag: str, domain: str, data: st.DataObject):
    dots = data.draw(st.lists(st.booleans(), min_size=len(local), max_size=len(local)))
    spelled = "".join(f"{char}." if dot else char for char, dot in zip(local, dots, strict=True)).upper()
    mailbox = normal.mailbox(f"{spelled}+{tag}@{domain}")
    assert mailbox == (local, "gmail.com")


@given(st.ip_addresses(v=6, network="2a00::/12"), st.integers(0, 2**64 - 1))
def test_an_ipv6_address_is_its_64(address: object, host: int):
    prefix = int(address) >> 64 << 64  # pyright: ignore[reportArgumentType]
    assert normal.place(str(IPv6Address(prefix | host))) == normal.place(str(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_one_place_however_it_is_written(address: object):
    assert normal.place(f"::ffff:{address}") == normal.place(f" {address}")
