"""The comparison of two sides, keys and lists."""

from fractions import Fraction
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.referrals.rules.evidence.keys import EvidenceKey, LocalPart
from services.referrals.rules.evidence.kinds import MOST_VALUES, Kind
from services.referrals.rules.evidence.lists import listed, stored_as, width
from services.referrals.rules.evidence.matching import Matcher, Stored, Values, as_of, similarity
from services.referrals.rules.program.signals import SIGNALS
from services.referrals.rules.signals import Facts
from tests.referrals.evidence.documents import every_signal

KEY = EvidenceKey("a secret of the tests, thirty-two characters")
EVERY = list(SIGNALS)


def values(*given: tuple[Kind, str]) -> Values:
    """The values of a customer."""
    stored: list[Stored] = []
    for mark, (kind, text) in enumerate(given):
        local, _, domain = text.rpartition("@")
        part = LocalPart(KEY.hash(Kind.DOMAIN, domain), local) if kind is Kind.EMAIL else None
        stored.append(Stored(kind, mark, KEY.hash(kind, text), part))
    return as_of(stored[::-1], len(given))


def facts(friend: Values, advocate: Values, threshold: Fraction = Fraction(9, 10), **fields: Any) -> Facts:
    matcher = Matcher(EVERY, threshold, listed(KEY, every_signal(blocklist=fields).blocklist))
    return matcher.match(friend, advocate).facts(())


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("abcdefghij", "abcdefghiX", Fraction(9, 10)),
        ("abcdefghi", "abcdefghX", Fraction(0)),  # 0.889
        ("abcdefghij", "abcdefghi", Fraction(9, 10)),
        ("abcdefghijklmnopqrst", "Xbcdefghijklmnopqrsy", Fraction(9, 10)),
        ("a", "a", Fraction(1)),
        ("a", "b", Fraction(0)),
    ],
)
def test_similarity_at_the_edge(one: str, other: str, expected: Fraction):
    assert similarity(one, other, Fraction(9, 10)) == expected
    assert similarity(other, one, Fraction(9, 10)) == expected


def distance(one: str, other: str) -> int:
    if not one or not other:
        return len(one) + len(other)
    swapped = distance(one[1:], other[1:]) + (one[0] != other[0])
    return min(swapped, distance(one[1:], other) + 1, distance(one, other[1:]) + 1)


SHORT = st.text("ab", min_size=1, max_size=5)


@given(SHORT, SHORT, st.fractions(Fraction(1, 2), 1, max_denominator=20))
def test_similarity_is_one_less_the_distance_by_the_longer_length(one: str, other: str, threshold: Fraction):
    slow = 1 - Fraction(distance(one, other), max(len(one), len(other)))
    found = similarity(one, other, threshold)
    assert (found >= threshold) == (slow >= threshold)
    assert slow < threshold or found == slow


def test_values_of_one_kind_are_the_same_and_of_two_kinds_never():
    for id_, kind in (("same_phone", Kind.PHONE), ("same_device", Kind.DEVICE), ("same_name", Kind.NAME)):
        assert facts(values((kind, "x")), values((kind, "y"), (kind, "x"))).same == {id_}
    assert facts(values((Kind.DEVICE, "x")), values((Kind.PAYMENT, "x"))) == Facts()
    assert facts(values(), values()) == Facts()


def test_addresses_are_similar_at_one_domain_only():
    friend = values((Kind.EMAIL, "ada.lovelace@example.org"))
    assert facts(friend, values((Kind.EMAIL, "ada.lovelaces@example.org"))).similarity == Fraction(12, 13)
    assert facts(friend, values((Kind.EMAIL, "ada.lovelaces@example.com"))).similarity == 0
    assert facts(friend, friend).similarity == 1


def test_a_value_that_too_many_share_makes_nothing_the_same_nor_similar():
    friend = values((Kind.EMAIL, "ada.lovelace@example.org"), (Kind.DEVICE, "x"), (Kind.DEVICE, "y"))
    advocate = values((Kind.EMAIL, "ada.lovelaces@example.org"), (Kind.DEVICE, "x"), (Kind.DEVICE, "y"))
    match = Matcher(EVERY, Fraction(9, 10), listed(KEY, every_signal().blocklist)).match(friend, advocate)
    assert len(match.hashes) == 4
    assert match.facts({KEY.hash(Kind.DEVICE, "x")}).same == {"same_device"}
    assert match.facts({KEY.hash(Kind.DEVICE, "x"), KEY.hash(Kind.DEVICE, "y")}).same == set()
    for shared in ("ada.lovelace@example.org", "ada.lovelaces@example.org"):
        assert match.facts({KEY.hash(Kind.EMAIL, shared)}).similarity == 0


def test_the_newest_fifty_values_of_a_kind_count_as_of_a_mark():
    stored = [Stored(Kind.DEVICE, mark, bytes((mark,)) * 16) for mark in range(60)][::-1]
    stored.append(Stored(Kind.PAYMENT, 0, bytes(16)))
    counted = as_of(stored, 57)
    assert set(counted[Kind.DEVICE]) == {bytes((mark,)) * 16 for mark in range(8, 58)}
    assert len(counted[Kind.DEVICE]) == MOST_VALUES
    assert len(counted[Kind.PAYMENT]) == 1


def test_equal_texts_of_two_kinds_and_of_two_keys_have_other_hashes():
    other = EvidenceKey("another secret of the tests, longer than that")
    hashes = {key.hash(kind, "x") for key in (KEY, other) for kind in Kind}
    assert len(hashes) == 2 * len(Kind)
    assert {len(hash_) for hash_ in hashes} == {16}


@given(st.text(st.characters(codec="utf-8"), max_size=64))
def test_a_local_part_opens_for_its_customer_and_its_key_only(text: str):
    part = LocalPart(KEY.hash(Kind.DOMAIN, "example.org"), text)
    sealed = KEY.seal("ada", part)
    assert KEY.open("ada", sealed) == part
    assert KEY.open("ben", sealed) is None
    assert EvidenceKey("x" * 32).open("ada", sealed) is None
    assert len(text) < 4 or text.encode() not in sealed


@pytest.mark.parametrize(
    ("field", "entry", "listed_value", "other"),
    [
        ("addresses", "A.d.a+x@GoogleMail.com", (Kind.EMAIL, "ada@gmail.com"), (Kind.EMAIL, "ben@gmail.com")),
        ("domains", "Example.ORG", (Kind.DOMAIN, "example.org"), (Kind.DOMAIN, "sub.example.org")),
        ("countries", "XK", (Kind.COUNTRY, "XK"), (Kind.COUNTRY, "SA")),
        ("cidrs", "8.8.4.4/32", (Kind.IP, "8.8.4.4"), (Kind.IP, "8.8.4.5")),
        ("cidrs", "8.8.4.0/25", (Kind.IP, "8.8.4.127"), (Kind.IP, "8.8.4.128")),
        ("cidrs", "8.8.4.0/24", (Kind.NETWORK, "8.8.4.0/24"), (Kind.NETWORK, "8.8.5.0/24")),
        ("cidrs", "8.8.0.0/16", (Kind.NETWORK, "8.8.255.0/24"), (Kind.NETWORK, "8.9.0.0/24")),
        ("cidrs", "2a00:1450::/44", (Kind.NETWORK, "2a00:1450:f::/48"), (Kind.NETWORK, "2a00:1450:10::/48")),
        ("cidrs", "2a00:1450:1:2::/64", (Kind.IP, "2a00:1450:1:2::/64"), (Kind.IP, "2a00:1450:1:3::/64")),
        ("cidrs", "2a00:1450:1:2::9/128", (Kind.IP, "2a00:1450:1:2::/64"), (Kind.IP, "2a00:1450:1:3::/64")),
        ("cidrs", "2a00:1450:1:2::/63", (Kind.IP, "2a00:1450:1:3::/64"), (Kind.IP, "2a00:1450:1:4::/64")),
    ],
)
def test_a_block_list_is_about_the_friend(
    field: str, entry: str, listed_value: tuple[Kind, str], other: tuple[Kind, str]
):
    lists = {field: [entry]}
    assert facts(values(listed_value), values(other), **lists).is_blocklisted
    assert not facts(values(other), values(listed_value), **lists).is_blocklisted
    assert not facts(values(listed_value), values()).is_blocklisted


def test_a_disposable_address_is_the_friends():
    throwaway, usual = values((Kind.DOMAIN, "mailinator.com")), values((Kind.DOMAIN, "gmail.com"))
    assert facts(throwaway, usual).is_disposable
    assert not facts(usual, throwaway).is_disposable


@pytest.mark.parametrize(
    "text",
    ["8.8.4.4/32", "8.8.4.0/25", "8.8.4.0/24", "8.8.0.0/16", "2a00::/44", "2a00::/48", "2a00::/60", "2a00::1/128"],
)
def test_the_width_of_a_network_is_the_number_of_its_stored_values(text: str):
    network = ip_network(text)
    assert width(network) == len(list(stored_as(network)))


def test_networks_that_are_too_wide_stand_for_nothing():
    assert [
        len(list(stored_as(ip_network(text)))) for text in ("8.0.0.0/8", "8.0.0.0/7", "2a00::/32", "2a00::/31")
    ] == [*(2**16, 0, 2**16, 0)]
