"""Warnings before a tier ends: which are due, and to whom the tier would not be kept."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tiers.rules.at_risk import Notice, due, end_set_at, next_notice, risk
from services.tiers.rules.judging.answering import InMemory
from services.tiers.rules.judging.machine import Advanced, unknown
from services.tiers.rules.judging.state import Assignment, Standing
from services.tiers.rules.metrics import Change
from services.tiers.rules.program.versions import Versions
from tests.tiers.judged import EVER, assignments, changes, judge, versions
from tests.tiers.oracles import at_risk as oracle
from tests.tiers.oracles import facts
from tests.tiers.oracles.facts import order, single
from tests.tiers.oracles.written import CALENDAR, GOLD, LIFETIME, MEMBER, SILVER, program, spend, t, tier


def standing(end: str, **fields: Any) -> Standing:
    return Standing("silver", valid_until=t(end), **fields)


def found(
    by: Versions, held: Standing, set_at: str, now: str, judged: Sequence[int] = ()
) -> list[tuple[datetime, int]]:
    return [(notice.at, notice.days) for notice in due(by, held, t(set_at), t(now), judged)]


@pytest.mark.parametrize(
    ("set_at", "now", "judged", "expected"),
    [
        ("03-01", "03-13 23:59", (), []),
        ("03-01", "03-14", (), [("03-14", 7)]),
        ("03-01", "03-19", (), [("03-14", 7), ("03-19", 2)]),
        ("03-01", "03-19", (7,), [("03-19", 2)]),
        ("03-01", "03-19", (2, 7), []),
        ("03-01", "03-20 23:59", (), [("03-14", 7), ("03-19", 2)]),
        ("03-01", "03-21", (), []),  # the end is not ahead any more
        ("03-14", "03-19", (), [("03-19", 2)]),  # reached at that very moment
        ("03-13 23:59", "03-14", (), [("03-14", 7)]),
        ("03-19", "03-20", (), []),  # given for two days
    ],
)
def test_a_notice_is_due_from_its_day_on(set_at: str, now: str, judged: Sequence[int], expected: list[tuple[str, int]]):
    by = versions(program(at_risk_days=[2, 7]))
    assert found(by, standing("03-21"), set_at, now, judged) == [(t(at), days) for at, days in expected]


def test_the_day_of_an_end_inside_a_day_is_the_zone_s():
    by = versions(program(at_risk_days=[1], time_zone="Asia/Riyadh"))
    assert found(by, standing("03-21 22:30"), "03-01", "03-21") == [(t("03-20 21:00"), 1)]


def test_each_version_warns_in_its_own_time():
    later = [(t("03-15"), program(at_risk_days=[8, 3])), (t("03-19"), program(at_risk_days=[1, 3]))]
    by = versions(program(at_risk_days=[7, 5]), later=later)
    held = standing("03-21")
    assert found(by, held, "03-01", "03-20") == [(t("03-14"), 7), (t("03-18"), 3), (t("03-20"), 1)]


def test_there_is_no_warning_in_grace():
    by = versions(program(at_risk_days=[2], grace_days=5))
    assert found(by, standing("03-21", grace_until=t("03-26")), "03-01", "03-20") == []


def risk_of(document: Any, parts: Any, days: int, *given: facts.Assignment) -> tuple[Any, ...] | None:
    """The risk that the notice so many days before the end finds: to, when, needs."""
    by, known, own = versions(document), changes(parts), assignments(given)
    last = max((*(change.at for change in known), *(assignment.at for assignment in own)))
    state = judge(by, known, last, own).state
    end = state.standing.valid_until
    assert end is not None
    at = end.replace(hour=0, minute=0) - timedelta(days=days)
    judged = InMemory(known).run(risk(by, state, Notice(at, days)))
    return judged and (judged.to, judged.falls_at, [(need.condition.key, need.missing) for need in judged.needs])


BOUGHT = order(t("03-01 12:00"), "320")
RICH = tier("gold", [*spend("300"), [{"metric": "orders", "at_least": 3}, {"metric": "reviews", "at_least": 2}]])


@pytest.mark.parametrize(
    ("document", "parts", "expected"),
    [
        (program(), [BOUGHT], ("silver", "03-12", [("spend", 300_0000)])),
        (program(), [BOUGHT, order(t("03-05"), "299.99")], ("silver", "03-12", [("spend", 100)])),
        (program(), [BOUGHT, order(t("03-05"), "300")], None),
        (program(grace_days=4), [BOUGHT], ("silver", "03-16", [("spend", 300_0000)])),
        (program(to="earned"), [BOUGHT], ("member", "03-12", [("spend", 300_0000)])),
        (program(to="earned"), [BOUGHT, order(t("03-05"), "100")], ("silver", "03-12", [("spend", 200_0000)])),
        (
            program(MEMBER, SILVER, RICH),
            [BOUGHT, order(t("03-05"), "100"), single("reviews", t("03-06"))],
            ("silver", "03-12", [("spend", 200_0000)]),
        ),
        (
            program(MEMBER, SILVER, RICH),
            [BOUGHT, order(t("03-05"), "10"), order(t("03-05"), "10"), single("reviews", t("03-06"))],
            ("silver", "03-12", [("orders", 1), ("reviews", 1)]),
        ),
        (program(MEMBER, tier("silver", spend("100"), permanent=True), GOLD), [BOUGHT], ("silver", "03-12", ...)),
    ],
)
def test_the_tier_is_judged_by_the_period_that_ends(document: Any, parts: Any, expected: tuple[str, str, Any] | None):
    judged = risk_of(document, parts, 2)
    if expected is None or judged is None:
        assert judged == expected
    else:
        assert judged[:2] == (expected[0], t(expected[1]))
        assert expected[2] is ... or judged[2] == expected[2]


def test_what_happens_after_the_moment_does_not_count():
    assert risk_of(program(), [BOUGHT, order(t("03-10 12:00"), "280")], 1) is not None
    refunded = order(t("03-05"), "280", (t("03-10"), "280"))
    assert risk_of(program(MEMBER, SILVER), [BOUGHT, refunded], 2) is None


def test_a_lent_tier_returns_to_its_floor():
    loan = facts.Assignment(t("03-02"), "gold", t("03-20 12:00"))
    judged = risk_of(program(to="never"), [order(t("03-01"), "100")], 3, loan)
    assert judged == ("silver", loan.until, [("spend", 300_0000)])


def test_who_was_put_lower_is_not_at_risk():
    lowered = facts.Assignment(t("03-02"), "silver", t("03-20 12:00"))
    assert risk_of(program(to="never"), [BOUGHT], 3, lowered) is None


def planned(by: Versions, known: Sequence[Change], until: datetime) -> datetime | None:
    return next_notice(by, (unknown(by, EVER), None), judge(by, known, until))


def test_the_next_notice_is_planned_when_the_end_is_set():
    by = versions(program(at_risk_days=[30, 7, 2]))
    assert planned(by, changes([BOUGHT]), t("03-01 12:00")) == t("03-05")
    assert planned(by, changes([order(t("03-01"), "20")]), t("03-01")) is None
    assert planned(versions(program(at_risk_days=[7], period=LIFETIME)), changes([BOUGHT]), t("03-02")) is None
    assert planned(versions(program(at_risk_days=[7], grace_days=3)), changes([BOUGHT]), t("03-13")) is None


def test_the_plan_stays_while_the_end_stays():
    by = versions(program(at_risk_days=[7, 2]), later=[(t("03-04"), program(at_risk_days=[6, 2]))])
    state = judge(by, changes([BOUGHT]), t("03-01 12:00")).state
    assert next_notice(by, (state, t("03-10")), Advanced(state, ())) == t("03-10")
    assert next_notice(by, (state, None), Advanced(state, ())) is None
    later = judge(by, changes([BOUGHT]), t("03-04"))
    assert next_notice(by, (state, t("03-10")), Advanced(later.state, ())) == t("03-06")
    assert next_notice(by, (state, t("03-03")), Advanced(later.state, ())) == t("03-03")


def test_an_end_was_set_by_the_first_entry_that_has_it():
    timeline = [(t("03-01"), t("03-10")), (t("03-10"), t("03-20")), (t("03-12"), t("03-20"))]
    assert end_set_at(timeline) == t("03-10")
    assert end_set_at(timeline[:1]) == t("03-01")
    assert end_set_at([]) is None


DOCUMENTS = (
    program(at_risk_days=[7, 2]),
    program(at_risk_days=[7, 2, 20], grace_days=4, to="earned"),
    program(MEMBER, tier("silver", spend("100"), keep=[[{"metric": "orders", "at_least": 1}]]), GOLD, at_risk_days=[3]),
    program(MEMBER, tier("silver", spend("100"), permanent=True), GOLD, at_risk_days=[3, 5], to="earned"),
    program(at_risk_days=[3, 5], to="never", on_refund="revoke"),
    program(at_risk_days=[300, 3], period=CALENDAR, grace_days=3),
    program(at_risk_days=[4], when="at_once", to="earned", on_publish="full"),
)
LATER = (program(at_risk_days=[9, 2, 1]), program(at_risk_days=[6], grace_days=2, on_publish="full"))


def bought(at: datetime, total: str, refunds: list[tuple[int, str]]) -> list[facts.Change]:
    """An order, with refunds some hours after it."""
    return order(at, total, *((at + timedelta(hours=later), amount) for later, amount in refunds))


def lent(at: datetime, name: str, hours: int | None) -> facts.Assignment:
    """A tier given by hand, for some hours or as if it was reached."""
    return facts.Assignment(at, name, None if hours is None else at + timedelta(hours=hours))


hours = st.integers(0, 24 * 30).map(lambda hour: t("03-01") + timedelta(hours=hour))
orders = st.builds(
    bought,
    hours,
    st.sampled_from(["60", "100", "300", "400"]),
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from(["10", "60", "300"])), max_size=1),
)
loans = st.builds(
    lent,
    hours,
    st.sampled_from(["member", "silver", "gold"]),
    st.none() | st.integers(1, 500),
)


def look(
    dated: Sequence[tuple[datetime | None, Any]], known: Sequence[Change], given: Sequence[Assignment], now: datetime
) -> list[Any]:
    """The notices that have come, as the sweep finds them, and what the last of them finds."""
    by = versions(dated[0][1], later=[(at, document) for at, document in dated[1:] if at is not None and at <= now])
    happened = [change for change in known if change.at <= now]
    state, entries = judge(by, happened, now, [own for own in given if own.at <= now])
    set_at = end_set_at([(entry.at, entry.standing.valid_until) for entry in entries])
    if set_at is None:
        return []
    come = due(by, state.standing, set_at, now, ())
    risks = [InMemory(known).run(risk(by, state, notice)) for notice in come[-1:]]
    found: list[Any] = [(notice.days, notice.at) for notice in come]
    return found + [(judged.to, judged.falls_at) if judged else None for judged in risks]


@given(
    st.sampled_from(DOCUMENTS),
    st.none() | st.tuples(hours, st.sampled_from(LATER)),
    st.lists(orders, max_size=4),
    st.lists(loans, max_size=1),
    hours.map(lambda at: at + timedelta(days=5)),
)
def test_a_look_finds_what_the_slow_model_finds(
    document: Any, later: Any, parts: Any, by_hand: list[facts.Assignment], now: datetime
):
    dated: list[Any] = [(None, document), *([later] if later else [])]
    known = [change for part in parts for change in part]
    come = oracle.moments(dated, known, by_hand, now)
    expected: list[Any] = [(moment.days, moment.at) for moment in come]
    expected += [(m.risk.to, m.risk.effective_at) if m.risk else None for m in come[-1:]]
    assert look(dated, changes(parts), assignments(by_hand), now) == expected
