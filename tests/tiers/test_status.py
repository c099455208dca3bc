"""A customer's tier as of an instant: what counts, what is missing, and what has to be kept."""

from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tiers.rules.judging.answering import InMemory
from services.tiers.rules.judging.machine import Happenings
from services.tiers.rules.program.compiled import Program
from services.tiers.rules.progress import Way
from services.tiers.rules.status import Known, Status, status, to_keep
from tests.tiers import programs
from tests.tiers.judged import assignments, changes, judge, seen, versions
from tests.tiers.oracles import facts, model
from tests.tiers.oracles.facts import Assignment, order, single
from tests.tiers.oracles.written import ANNIVERSARY, CALENDAR, GOLD, LIFETIME, MEMBER, program, spend, t, tier


def shown(ways: tuple[Way, ...]) -> list[list[tuple[str, int, int, int]]]:
    """Each need as (key, value, needed, missing), money in whole units of the currency."""

    def scaled(key: str, amount: int | Fraction) -> Any:
        return Fraction(amount, 10_000) if key == "spend" else amount

    return [
        [
            (
                need.condition.key,
                scaled(need.condition.key, need.value),
                scaled(need.condition.key, need.condition.at_least),
                scaled(need.condition.key, need.missing),
            )
            for need in way
        ]
        for way in ways
    ]


def at(document: Any, parts: Any, moment: str, *given_by_hand: Assignment) -> Status:
    return seen(versions(document), changes(parts), t(moment), assignments(given_by_hand))


def test_an_unknown_customer_has_nothing_and_sees_the_next_tier():
    found = at(program(), [], "03-01")
    assert (found.tier.id, found.standing.since, found.to_keep, dict(found.values)) == ("member", None, None, {})
    assert shown(found.to_next) == [[("spend", 0, 100, 100)]]


def test_days_that_left_the_window_do_not_count():
    bought = [order(t("03-01"), "40"), order(t("03-02"), "7")]
    assert at(program(), bought, "03-10").values["spend"] == 47_0000
    assert at(program(), bought, "03-11").values["spend"] == 7_0000
    assert at(program(), bought, "04-11").values["spend"] == 0


def test_before_it_ends_a_tier_is_judged_by_the_period_that_ends_with_it():
    found = at(program(), [order(t("03-01 12:00"), "120"), order(t("03-02"), "30")], "03-03")
    assert found.to_keep is not None
    assert (found.standing.valid_until, found.to_keep.by, found.to_keep.holds) == (t("03-12"), t("03-12"), False)
    assert shown(tuple(found.to_keep.ways)) == [[("spend", 30, 100, 70)]]
    assert shown(found.to_next) == [[("spend", 150, 300, 150)]]


def test_in_grace_it_is_judged_by_the_window_of_now():
    bought = [order(t("03-01 12:00"), "120"), order(t("03-11"), "30")]
    found = at(program(grace_days=5), bought, "03-14")
    assert found.to_keep is not None
    assert (found.standing.valid_until, found.standing.grace_until) == (t("03-12"), t("03-17"))
    assert (found.to_keep.by, found.to_keep.holds) == (t("03-17"), False)
    assert shown(tuple(found.to_keep.ways)) == [[("spend", 30, 100, 70)]]


def test_once_grace_is_over_the_tier_is_lost_without_a_write():
    found = at(program(grace_days=5), [order(t("03-01 12:00"), "120")], "03-17")
    assert (found.tier.id, found.standing.since, found.to_keep) == ("member", t("03-17"), None)


@pytest.mark.parametrize("moment", ["2026-06-01", "2027-06-01"])
def test_in_calendar_years_the_year_that_runs_is_not_the_one_that_keeps(moment: str):
    bought = [order(t("2026-03-01"), "120"), order(t("2027-02-01"), "30")]
    found = at(program(period=CALENDAR), bought, moment)
    assert found.to_keep is not None
    assert found.to_keep.by == t("2028-01-01")
    spent = 0 if moment < "2027" else 30
    assert shown(tuple(found.to_keep.ways)) == [[("spend", spent, 100, 100 - spent)]]


@pytest.mark.parametrize(
    ("document", "by"),
    [
        (program(to="never"), None),
        (program(period=LIFETIME), None),
        (program(MEMBER, tier("silver", spend("100"), permanent=True), GOLD), None),
        (program(when="at_once", on_publish="full"), "now"),
        (program(when="at_once", period=LIFETIME, on_publish="full"), "now"),
        (program(period=ANNIVERSARY), "2028-03-01"),
    ],
)
def test_what_has_to_be_kept_depends_on_the_program(document: Any, by: str | None):
    found = at(document, [order(t("03-01 12:00"), "120")], "03-05")
    if by is None:
        assert found.to_keep is None
    else:
        assert found.to_keep is not None
        assert found.to_keep.by == (None if by == "now" else t(by))
        assert found.to_keep.holds is (by == "now")


def test_a_lent_tier_has_to_be_kept_by_its_end():
    found = at(program(to="never"), [], "03-05", Assignment(t("03-01"), "gold", t("03-08 15:00"), locked=True))
    assert (found.tier.id, found.standing.locked_until) == ("gold", t("03-08 15:00"))
    assert found.to_keep is not None
    assert (found.to_keep.by, found.to_keep.holds) == (t("03-08 15:00"), False)


def test_a_tier_is_kept_by_its_enter_too_unless_that_is_harder():
    reviews = [{"metric": "reviews", "at_least": 3}]
    silver = tier("silver", [*spend("100"), reviews], keep=spend("80"))
    ways = to_keep(programs.program(program(MEMBER, silver)).tier("silver"))
    assert [[(condition.key, condition.at_least) for condition in way] for way in ways] == [
        [("spend", 80_0000)],
        [("reviews", 3)],
    ]


def test_a_read_of_the_past_sees_the_state_of_then():
    by, known = versions(program()), changes([order(t("03-01"), "50"), order(t("03-20"), "400")])
    ahead = judge(by, known, t("04-20"))
    found = InMemory(known).run(status(by, Known(ahead.state), Happenings(), t("03-02")))
    assert (found.tier.id, found.values["spend"]) == ("member", 50_0000)


def test_a_marked_customer_is_judged_from_the_late_instant_on():
    by = versions(program())
    early, late = changes([order(t("03-05"), "100")]), changes([order(t("03-02"), "250")])
    stored = judge(by, early, t("03-05")).state
    known = Known(stored, None, t("03-02"))
    found = InMemory([*early, *late]).run(status(by, known, Happenings([*late, *early]), t("03-06")))
    assert (found.tier.id, found.standing.since, found.values["spend"]) == ("gold", t("03-05"), 350_0000)


DOCUMENTS = (
    program(),
    program(grace_days=4),
    program(MEMBER, tier("silver", spend("100"), keep=[[{"metric": "reviews", "at_least": 1}]]), GOLD, to="earned"),
    program(to="never", on_refund="revoke"),
    program(when="at_once", to="earned", on_publish="full"),
    program(period=CALENDAR, grace_days=3),
    program(period=ANNIVERSARY, time_zone="Asia/Riyadh"),
    program(period=LIFETIME, on_refund="revoke"),
)


def bought(at: datetime, total: str, refunds: list[tuple[int, str]]) -> list[facts.Change]:
    """An order, with refunds some hours after it."""
    return order(at, total, *((at + timedelta(hours=later), amount) for later, amount in refunds))


def lent(at: datetime, name: str, hours: int | None) -> Assignment:
    """A tier given by hand, for some hours or as if it was reached."""
    return Assignment(at, name, None if hours is None else at + timedelta(hours=hours))


hours = st.integers(0, 24 * 45).map(lambda hour: t("03-01") + timedelta(hours=hour))
orders = st.builds(
    bought,
    hours,
    st.sampled_from(["40", "60", "100", "250", "300"]),
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from(["10", "60", "300"])), max_size=1),
)
reviews = hours.map(lambda at: single("reviews", at))
by_hand = st.builds(
    lent,
    hours,
    st.sampled_from(["member", "silver", "gold"]),
    st.none() | st.integers(1, 500),
)


@given(
    st.sampled_from(DOCUMENTS),
    st.lists(orders | reviews, max_size=6),
    st.lists(by_hand, max_size=2, unique_by=lambda given: given.at),
    hours,
)
def test_a_read_sees_what_the_slow_model_sees(
    document: Any, parts: Any, given_by_hand: list[Assignment], moment: datetime
):
    expected = model.judge([(None, document)], [change for part in parts for change in part], given_by_hand, moment)
    found = seen(versions(document), changes(parts), moment, assignments(given_by_hand))
    standing = found.standing
    assert (found.tier.id, standing.since, standing.valid_until, standing.grace_until, standing.locked_until) == (
        expected.tier,
        expected.since,
        expected.valid_until,
        expected.grace_until,
        expected.locked_until,
    )
    assert {key: Fraction(found.values.get(key, 0)) for key in expected.metrics} == {
        key: value * (10_000 if key == "spend" else 1) for key, value in expected.metrics.items()
    }
    assert_shape(found, document)


def assert_shape(found: Status, document: Any) -> None:
    """There is something to keep exactly where the tier can be lost by itself."""
    by: Program = found.program
    ends = found.standing.valid_until is not None
    at_once = by.falls_at_once and found.tier.rank > 0 and not found.standing.assigned
    assert (found.to_keep is not None) == (ends or at_once), document
    assert bool(found.to_next) == (found.above is not None)
