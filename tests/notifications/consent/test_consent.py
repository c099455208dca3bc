"""The ledger of consent: what each word changes, and that what is in force is the projection of the ledger."""

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifications.rules.consent import (
    NOTHING,
    Action,
    Consents,
    Entry,
    How,
    after_erasure,
    change,
    hear,
    in_force,
)
from services.notifications.rules.message import Channel
from tests.notifications.world import NOW, ago

EMAIL = Channel.EMAIL


def entry(action: str, how: str, at: datetime, channel: Channel = EMAIL) -> Entry:
    return Entry(channel, Action(action), How(how), at, "somebody")


def say(consents: Consents, said: tuple[str, bool, int]) -> Consents:
    """`said`: who, what, how many hours ago."""
    how, grants, hours = said
    word = entry("granted" if grants else "withdrawn", how, ago(hours=hours))
    return (hear if how == "event" else change)(consents, word)


def after(*said: tuple[str, bool, int]) -> Consents:
    return reduce(say, said, NOTHING)


@pytest.mark.parametrize(
    "said, expected",
    [
        ([], False),
        ([("event", True, 9)], True),
        ([("event", False, 9)], False),
        ([("event", True, 9), ("one_click", False, 8)], False),
        ([("event", True, 9), ("one_click", False, 8), ("event", True, 7)], False),
        ([("event", True, 9), ("one_click", False, 8), ("event", False, 7), ("event", True, 6)], True),
        ([("event", False, 9), ("api", True, 8)], True),
        ([("event", False, 9), ("api", True, 8), ("event", False, 7)], False),
        ([("api", True, 9), ("event", True, 8), ("page", False, 7), ("event", True, 6)], False),
        ([("event", True, -5), ("one_click", False, 0)], False),
        ([("event", False, -5), ("api", True, 0)], True),
        ([("event", True, 5), ("event", False, 5)], False),
        ([("event", False, 5), ("event", True, 5)], False),
        ([("event", True, 9), ("event", True, 5), ("event", False, 7)], True),
        ([("event", False, 5), ("event", True, 7)], False),
    ],
    ids=[
        "never asked",
        "the shop grants",
        "the shop refuses",
        "one click withdraws",
        "a nightly synchronization does not bring it back",
        "the shop asked again",
        "the customer grants what the shop refused",
        "the shop withdraws what the customer granted",
        "the shop has no new word",
        "a withdrawal is newer than a grant dated ahead",
        "so is a grant",
        "withdrawal wins at one instant",
        "in any order",
        "a late refusal ends what was before it",
        "a late grant is older than the refusal",
    ],
)
def test_what_is_in_force(said: list[tuple[str, bool, int]], expected: bool):
    assert after(*said).granted(EMAIL) is expected


def test_channels_are_apart():
    consents = change(NOTHING, entry("granted", "api", NOW, Channel.SMS))
    assert [channel for channel in Channel if consents.granted(channel)] == [Channel.SMS]


def test_only_changes_reach_the_ledger():
    consents = after(("api", False, 9), ("api", True, 8), ("api", True, 7), ("one_click", False, 6), ("page", False, 5))
    assert [(one.how, one.action) for one in consents.new] == [("api", "granted"), ("one_click", "withdrawn")]
    synchronized = after(("event", True, 9), ("event", True, 8), ("event", False, 7), ("event", False, 6))
    assert [one.at for one in synchronized.new] == [ago(hours=9), ago(hours=7)]


SAID = st.lists(st.tuples(st.sampled_from(["event", "api", "one_click", "page"]), st.booleans(), st.integers(-3, 9)))
WORDS = st.lists(st.tuples(st.just("event"), st.booleans(), st.integers(-3, 9)), max_size=8)


@given(SAID)
def test_what_is_in_force_is_the_projection_of_the_ledger(said: Sequence[tuple[str, bool, int]]):
    consents = after(*said)
    assert in_force(consents.new).get(EMAIL, False) is consents.granted(EMAIL)
    newest = max((one.at for one in consents.new), default=None)
    assert consents.on(EMAIL).at == newest


@given(WORDS, st.randoms(use_true_random=False))
def test_words_of_the_shop_have_no_order_of_arrival(words: list[tuple[str, bool, int]], random: Any):
    arrived = random.sample(words, len(words))
    assert after(*arrived).granted(EMAIL) is after(*words).granted(EMAIL)
    newest = max(words, key=lambda said: (-said[2], not said[1]), default=None)
    assert after(*arrived).granted(EMAIL) is (newest is not None and newest[1])


@given(SAID)
def test_the_last_word_of_the_customer_stands(said: Sequence[tuple[str, bool, int]]):
    """Events repeat what the shop said before: whatever they are, a withdrawal stands until somebody grants anew."""
    before = after(*said, ("one_click", False, 0))
    assert not before.granted(EMAIL)
    if before.on(EMAIL).word:
        assert not say(before, ("event", True, -9)).granted(EMAIL)


@given(SAID, st.integers(-3, 9))
def test_an_erasure_leaves_what_was_said_later(said: Sequence[tuple[str, bool, int]], hours: int):
    erased_at = ago(hours=hours)
    left = after_erasure(after(*said), erased_at)
    assert all(one.at > erased_at for one in left.new)
    standing = left.on(EMAIL)
    assert all(at is None or at > erased_at for at in (standing.at, standing.word_at))
    assert in_force(left.new).get(EMAIL, False) is left.granted(EMAIL)
