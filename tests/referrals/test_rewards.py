"""Caps and milestones: tables, and any sequence of approvals and voids against a slow model."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.referrals.rules.program.compiled import Cap, Program
from services.referrals.rules.rewards import (
    PROGRAM,
    Account,
    Ledger,
    Paid,
    Reward,
    Span,
    bucket,
    cut,
    span,
)
from tests.referrals.programs import DEFAULT, program

RIYADH = ZoneInfo("Asia/Riyadh")


def capped(*caps: dict[str, Any], **changes: Any) -> Program:
    return program({**DEFAULT, "caps": list(caps), **changes})


def of_advocate(per: str = "month", **limit: int) -> dict[str, Any]:
    return {"per": per, "scope": "advocate", **limit}


def of_all(per: str = "month", **limit: int) -> dict[str, Any]:
    return {"per": per, "scope": "program", **limit}


@pytest.mark.parametrize(
    "cap, paid, expected",
    [
        (of_advocate(count=3), Paid(2, 1_000), Reward(500, 200)),
        (of_advocate(count=3), Paid(3, 1_500), Reward(0, 200, is_cut=True)),
        (of_advocate(points=1_200), Paid(1, 500), Reward(500, 200)),
        (of_advocate(points=1_200), Paid(2, 701), Reward(499, 200, is_cut=True)),
        (of_advocate(points=1_200), Paid(9, 5_000), Reward(0, 200, is_cut=True)),
        (of_all(count=3), Paid(2, 1_000), Reward(500, 200)),
        (of_all(count=3), Paid(3, 1_500), Reward(0, 0, is_cut=True)),
        (of_all(points=1_000), Paid(1, 300), Reward(500, 200)),
        (of_all(points=1_000), Paid(1, 301), Reward(499, 200, is_cut=True)),
        (of_all(points=1_000), Paid(1, 850), Reward(0, 150, is_cut=True)),
        (of_all(points=1_000), Paid(1, 1_000), Reward(0, 0, is_cut=True)),
    ],
)
def test_what_a_cap_leaves(cap: dict[str, Any], paid: Paid, expected: Reward):
    terms = capped(cap)
    assert cut(terms, [(terms.caps[0], paid)]) == expected


def test_every_cap_cuts():
    terms = capped(of_advocate(points=600), of_all(points=700))
    assert cut(terms, [(terms.caps[0], Paid(1, 300)), (terms.caps[1], Paid(1, 350))]) == Reward(150, 200, is_cut=True)


@pytest.mark.parametrize(
    "per, start, end",
    [
        ("day", "2026-03-15T21:00:00Z", "2026-03-16T21:00:00Z"),
        ("week", "2026-03-15T21:00:00Z", "2026-03-22T21:00:00Z"),
        ("month", "2026-02-28T21:00:00Z", "2026-03-31T21:00:00Z"),
        ("year", "2025-12-31T21:00:00Z", "2026-12-31T21:00:00Z"),
    ],
)
def test_the_periods_of_a_zone_hold_their_first_instant_and_not_their_end(per: Any, start: str, end: str):
    first, last = datetime.fromisoformat(start), datetime.fromisoformat(end)
    cap = Cap(1, None, per, "advocate")
    assert span(cap, first, RIYADH, "ada") == span(cap, datetime(2026, 3, 16, tzinfo=UTC), RIYADH, "ada")
    assert span(cap, first, RIYADH, "ada") == Span("ada", first, last)
    assert span(cap, last - timedelta(microseconds=1), RIYADH, "ada") == Span("ada", first, last)
    assert span(cap, last, RIYADH, "ada").start == last


@pytest.mark.parametrize("per", ["day", "week", "month", "year", "ever"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Riyadh", "America/St_Johns", "Africa/Casablanca"])
@given(at=st.datetimes(timezones=st.just(UTC)))
@settings(max_examples=40)
def test_every_instant_is_in_its_period(per: Any, zone: str, at: datetime):
    own = span(Cap(1, None, per, "program"), at, ZoneInfo(zone), "ada")
    assert own.advocate_id == PROGRAM
    assert own.start <= at
    assert at < own.end or own.end.year == 9999
    assert bucket(at) <= at < bucket(at) + timedelta(minutes=15) if at.year < 9999 else True


@dataclass
class Slow:
    """Sums everything anew at each approval."""

    paid: list[tuple[str, datetime, int, int]]
    standing: dict[int, tuple[str, dict[int, int]]]

    def approve(self, terms: Program, number: int, advocate: str, at: datetime) -> tuple[int, int, dict[int, int]]:
        points, friend_points = terms.advocate_points, terms.friend_points
        for cap in terms.caps:
            start, end = span(cap, at, terms.zone, advocate)[1:]
            mine = [
                row for row in self.paid if start <= row[1] < end and (cap.scope == "program" or row[0] == advocate)
            ]
            amounts = [row[2] + (row[3] if cap.scope == "program" else 0) for row in mine]
            if cap.count is not None:
                left = 10**9 if sum(amount > 0 for amount in amounts) < cap.count else 0
            else:
                assert cap.points is not None
                left = max(0, cap.points - sum(amounts))
            if cap.scope == "advocate":
                points = min(points, left)
            else:
                # The advocate's points are cut first.
                while points + friend_points > left and points:
                    points -= 1
                friend_points = min(friend_points, left)
        own = [milestones for owner, milestones in self.standing.values() if owner == advocate]
        carried = {count for milestones in own for count in milestones}
        reached = {m.count: m.points for m in terms.milestones if m.count == len(own) + 1 and m.count not in carried}
        self.paid.append((advocate, at, points, friend_points))
        self.standing[number] = advocate, reached
        return points, friend_points, reached


TERMS = (
    program({**DEFAULT, "advocate_points": 5, "friend_points": 3, "milestones": [{"count": 2, "points": 7}]}),
    capped(
        of_advocate("day", count=2), of_advocate(points=11), advocate_points=5, friend_points=3,
        milestones=[{"count": 1, "points": 2}, {"count": 3, "points": 9}],
    ),
    capped(of_all("week", points=20), of_advocate("ever", count=4), advocate_points=4, friend_points=6),
    capped(of_all("ever", count=5), advocate_points=0, friend_points=2),
)  # fmt: skip
Act = tuple[str, int, int]
_acts = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["ada", "ben"]), st.integers(0, 3), st.integers(0, 40)),
        st.tuples(st.just("void"), st.integers(0, 30), st.just(0)),
    ),
    max_size=14,
)


@given(acts=_acts, size=st.integers(1, 5))
@settings(max_examples=200, deadline=None)
def test_batches_pay_what_the_slow_model_pays(acts: Sequence[Act], size: int):
    slow = Slow([], {})
    store = Books()
    number = 0
    for start in range(0, len(acts), size):
        batch = acts[start : start + size]
        expected = [(number + place, act) for place, act in enumerate(batch)]
        number += len(batch)
        answers = store.play(expected)
        for (own, (who, which, hours)), answer in zip(expected, answers, strict=True):
            if who == "void":
                slow.standing.pop(which, None)
            else:
                at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=3 * hours)
                points, friend, reached = slow.approve(TERMS[which], own, who, at)
                assert answer is not None
                assert (answer.advocate, answer.friend, set(answer.milestones)) == (points, friend, set(reached))
                assert answer.milestone_points == sum(reached.values())


class Books:
    """What is stored between batches, as rows; a batch is played until nothing is missing, like the handlers do."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, datetime, Reward]] = []
        self.standing: dict[int, tuple[str, tuple[int, ...]]] = {}

    def play(self, batch: Sequence[tuple[int, Act]]) -> list[Reward | None]:
        accounts: dict[str, Account] = {}
        paid: dict[Span, Paid] = {}
        for _ in range(9):
            ledger = Ledger(accounts, paid)
            standing, rows = dict(self.standing), list(self.rows)
            answers = [self._act(ledger, standing, rows, number, act) for number, act in batch]
            if not ledger.missing_accounts and not ledger.missing_spans:
                self.standing, self.rows = standing, rows
                return answers
            accounts |= {name: self._account(name) for name in ledger.missing_accounts}
            paid |= {own: self._paid(own) for own in ledger.missing_spans}
        raise AssertionError("it asks for more and more")

    def _act(
        self,
        ledger: Ledger,
        standing: dict[int, tuple[str, tuple[int, ...]]],
        rows: list[tuple[str, datetime, Reward]],
        number: int,
        act: Act,
    ) -> Reward | None:
        who, which, hours = act
        if who == "void":
            if which in standing:
                ledger.void(*standing.pop(which))
            return None
        at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=3 * hours)
        reward = ledger.approve(TERMS[which], who, at)
        standing[number] = who, reward.milestones
        rows.append((who, at, reward))
        return reward

    def _account(self, name: str) -> Account:
        own = [milestones for owner, milestones in self.standing.values() if owner == name]
        return Account(len(own), frozenset(count for milestones in own for count in milestones))

    def _paid(self, own: Span) -> Paid:
        paid = Paid()
        for advocate, at, reward in self.rows:
            if own.start <= at < own.end and own.advocate_id in {PROGRAM, advocate}:
                paid = paid.plus(reward.advocate + (reward.friend if own.advocate_id == PROGRAM else 0))
        return paid
