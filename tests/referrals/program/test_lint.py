"""Warnings about valid referral programs, in words and with their places."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.referrals.rules.program.lint import lint
from tests.referrals.programs import DEFAULT, MINIMAL, WHOLE, parse
from tests.tiers.programs import changed

NOW = datetime(2026, 3, 10, tzinfo=UTC)
GUARDS: Any = [{"id": "already_bought"}, {"id": "already_referred"}]
SOUND: Any = changed(MINIMAL, ("/hold_days", 14), ("/signals", GUARDS))
"""A document without warnings."""

Warnings = list[tuple[str, str]]


def warnings(document: dict[str, Any]) -> Warnings:
    return [(warning.pointer, warning.message) for warning in lint(parse(document), NOW)]


def with_signals(*signals: dict[str, Any]) -> tuple[str, Any]:
    return "/signals", [*GUARDS, *signals]


def test_nothing_is_doubtful_about_a_sound_document():
    assert warnings(SOUND) == []


def test_what_version_1_allows():
    [(pointer, message)] = warnings(DEFAULT)
    assert pointer == "/hold_days"
    assert message.startswith("points are paid with the order, but shops usually take goods back for 14 days")


def test_the_example_of_the_contract():
    assert [pointer for pointer, _ in warnings(WHOLE)] == ["/signals", "/signals", "/flag_at"]


CAP: Any = {"count": 10, "per": "month"}

DOUBTS: list[tuple[str, str, list[tuple[str, Any]]]] = [
    ("/advocate_points", "the advocate gets no points", [("/advocate_points", 0)]),
    ("/friend_points", "the friend gets no points", [("/friend_points", 0)]),
    ("/qualifies/amount_at_least", "any order qualifies", [("/qualifies/amount_at_least", "0.00")]),
    ("/hold_days", "points are paid 1 day after the order", [("/hold_days", 1)]),
    # caps
    ("/caps/0/points", "less than one reward of 500 points", [("/caps", [{"points": 499, "per": "month"}])]),
    (
        "/caps/0/points",
        "less than one reward of 700 points",
        [("/caps", [{"points": 699, "per": "month", "scope": "program"}])],
    ),
    ("/caps/0", "the cap of 5 rewards per year is never more", [("/caps", [CAP, {"count": 5, "per": "year"}])]),
    ("/caps/1", "the cap of 10 rewards per month is never more", [("/caps", [CAP, CAP])]),
    ("/caps/1", "the cap of 10 rewards per month is never more", [("/caps", [CAP, CAP | {"per": "day"}])]),
    ("/caps/0", "the cap of 1 reward ever", [("/caps", [{"count": 3, "per": "week"}, {"count": 1, "per": "ever"}])]),
    # signals
    ("/signals", "signal already_bought (The friend had bought", [("/signals", GUARDS[1:])]),
    ("/signals", "signal already_referred (The friend had signed up", [("/signals", GUARDS[:1])]),
    ("/signals/0/action", "can be brought as a new friend", [("/signals/0/action", "off")]),
    ("/signals/2/action", "as if it were not listed", [with_signals({"id": "same_ip", "action": "off"})]),
    ("/signals/2/weight", "adds nothing to the score", [with_signals({"id": "same_ip", "action": "score"})]),
    *(
        ("/signals/2/action", f"signal {id_} (", [with_signals({"id": id_, "action": "block"})])
        for id_ in ("same_name", "threshold_order", "same_ip")
    ),
    ("/signals/2/threshold", "strangers", [with_signals({"id": "similar_email", "threshold": "0.6"})]),
    # scores
    (
        "/flag_at",
        "all weights together are 49: the score never reaches 50",
        [with_signals({"id": "same_ip", "action": "score", "weight": 49})],
    ),
    ("/block_at", "no referral waits for a person by its score", [("/block_at", 50)]),
    # the block list
    ("/signals/2", "the block list is empty", [with_signals({"id": "blocklist"})]),
    ("/blocklist", "signal blocklist is off", [("/blocklist", {"countries": ["EG"]})]),
    (
        "/blocklist",
        "signal blocklist is off",
        [("/blocklist", {"domains": ["example.org"]}), with_signals({"id": "blocklist", "action": "off"})],
    ),
    # undecided
    ("/undecided/then", "within 14 days", [("/undecided", {"then": "reject"})]),
    ("/undecided/after_days", "nobody has time", [("/undecided", {"after_days": 0}), ("/hold_days", 0)]),
    ("/share/en", "customers read {name} as it stands", [("/share", {"en": "{name} invites you: {link}"})]),
]


@pytest.mark.parametrize(("pointer", "message", "changes"), DOUBTS)
def test_a_doubtful_document_is_warned_about(pointer: str, message: str, changes: list[tuple[str, Any]]):
    found = [text for place, text in warnings(changed(SOUND, *changes)) if place == pointer]
    assert any(message in text for text in found), warnings(changed(SOUND, *changes))


CLEAR: list[list[tuple[str, Any]]] = [
    [("/caps", [CAP, {"count": 20, "per": "year"}, {"count": 5, "per": "month", "scope": "program"}])],
    [("/caps", [{"points": 500, "per": "month"}, {"count": 1, "per": "month"}])],
    # A week can be in two months.
    [("/caps", [{"count": 10, "per": "week"}, {"count": 10, "per": "month"}])],
    [
        with_signals(
            {"id": "same_ip", "action": "score", "weight": 25}, {"id": "same_name", "action": "score", "weight": 25}
        )
    ],
    # A flag does not need the score, but with it the weight can reach block_at.
    [with_signals({"id": "same_ip", "action": "score", "weight": 40}, {"id": "same_device", "weight": 60})],
    [with_signals({"id": "blocklist"}), ("/blocklist", {"cidrs": ["203.0.113.0/24"]})],
    [("/undecided", {"after_days": 0})],
    [("/signals", [*GUARDS, {"id": "same_name"}, {"id": "threshold_order", "action": "flag"}])],
]


@pytest.mark.parametrize("changes", CLEAR)
def test_what_is_as_it_should_be_is_not_warned_about(changes: list[tuple[str, Any]]):
    assert warnings(changed(SOUND, *changes)) == []
