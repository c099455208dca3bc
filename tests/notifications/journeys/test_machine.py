"""The machine that moves runs, without a database."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifications.rules.journey.clock import after_wait, instant
from services.notifications.rules.journey.machine import Moment, collects, join, resume
from services.notifications.rules.journey.run import Ending, RunState
from tests.notifications.journeys.machinery import (
    PURCHASE,
    REVIEW,
    Past,
    at,
    drive,
    journey,
    run_at,
    send,
    sent,
    standing,
    start,
    trigger,
)

T = at("2026-03-01T12:00:00")
DAY = timedelta(days=1)


def test_steps_that_only_send_end_at_once_and_need_no_run():
    compiled = journey(send("a"), send("b"))
    moved = run_at(compiled, trigger(T), T)
    assert sent(moved) == [("0", "a", T), ("1", "b", T)]
    assert (moved.run.state, moved.run.due_at) == (RunState.DONE, None)
    assert not compiled.keeps_runs
    assert {request.run_id for request in moved.requests} == {None}
    assert journey(send(), again={"kind": "never"}).keeps_runs
    assert journey(send(), {"kind": "wait", "days": 1}).keeps_runs


def test_a_wait_counts_from_when_its_step_fell_due_however_late_it_is_moved():
    compiled = journey({"kind": "wait", "days": 3}, send("a"), {"kind": "wait", "hours": 5}, send("b"))
    waiting = run_at(compiled, trigger(T), T)
    assert (waiting.run.due_at, waiting.run.step, waiting.run.state) == (T + 3 * DAY, "0", RunState.WAITING)
    for instants in ([T, T + 3 * DAY, T + 4 * DAY], [T, T + 10 * DAY], [T + 10 * DAY], [T, T + 2 * DAY, T + 9 * DAY]):
        moved = run_at(compiled, trigger(T), *instants)
        assert sent(moved) == [("1", "a", T + 3 * DAY), ("3", "b", T + 3 * DAY + timedelta(hours=5))]
        assert moved.run.state is RunState.DONE


@pytest.mark.parametrize(
    "zone, begins, step, ends",
    [
        # New York puts its clocks forward on 8 March 2026: the local day has 23 hours.
        ("America/New_York", "2026-03-07T15:00:00", {"days": 1}, "2026-03-08T14:00:00"),
        ("America/New_York", "2026-03-07T15:00:00", {"hours": 24}, "2026-03-08T15:00:00"),
        # 02:30 is not there on 8 March: the first instant after it is 03:00, which is 07:00 UTC.
        ("America/New_York", "2026-03-07T07:30:00", {"days": 1}, "2026-03-08T07:00:00"),
        ("America/New_York", "2026-03-08T05:30:00", {"at": "02:30"}, "2026-03-08T07:00:00"),
        # 01:30 is there twice on 1 November: the first one is 05:30 UTC.
        ("America/New_York", "2026-10-31T12:00:00", {"at": "01:30"}, "2026-11-01T05:30:00"),
        # Sydney puts its clocks back on 5 April 2026: the local day has 25 hours.
        ("Australia/Sydney", "2026-04-04T02:00:00", {"days": 1}, "2026-04-05T03:00:00"),
        # Beirut begins 29 March 2026 at 01:00.
        ("Asia/Beirut", "2026-03-28T12:00:00", {"at": "00:00"}, "2026-03-28T22:00:00"),
        ("UTC", "2026-03-01T09:00:00", {"at": "10:00"}, "2026-03-01T10:00:00"),
        ("UTC", "2026-03-01T10:00:00", {"at": "10:00"}, "2026-03-01T10:00:00"),
        ("UTC", "2026-03-01T10:00:01", {"at": "10:00"}, "2026-03-02T10:00:00"),
        ("UTC", "2026-03-01T11:00:00", {"days": 3, "at": "10:00"}, "2026-03-05T10:00:00"),
        ("UTC", "2026-03-01T11:00:00", {"days": 3, "hours": 2, "at": "14:00"}, "2026-03-04T14:00:00"),
        ("Asia/Tokyo", "2026-03-01T20:00:00", {"days": 1, "at": "10:00"}, "2026-03-03T01:00:00"),
    ],
)
def test_waits_go_by_the_clocks_of_the_customer(zone: str, begins: str, step: dict[str, Any], ends: str):
    compiled = journey({"kind": "wait", **step}, send())
    moved = run_at(compiled, trigger(at(begins)), at(begins) - DAY, who=standing(zone))
    assert moved.run.due_at == at(ends)


ZONES = ["America/New_York", "Asia/Beirut", "Africa/Cairo", "Australia/Lord_Howe", "America/Havana", "Asia/Riyadh"]


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 a local time
    st.sampled_from(ZONES),
)
def test_an_instant_is_the_first_one_at_which_the_clock_shows_the_time_or_later(local: datetime, name: str):
    local, zone = local.replace(second=0, microsecond=0), ZoneInfo(name)
    found = instant(local.date(), local.time(), zone)
    assert found.astimezone(zone).replace(tzinfo=None) >= local
    before = (found - timedelta(seconds=1)).astimezone(zone).replace(tzinfo=None)
    # Right before it the clock shows less, but where it goes back over the time.
    assert before < local or before > found.astimezone(zone).replace(tzinfo=None)


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 made one of UTC
    st.sampled_from(ZONES),
    st.integers(0, 40),
    st.integers(0, 40),
    st.none() | st.times(),
)
def test_a_wait_never_ends_before_it_begins(begins: datetime, name: str, days: int, hours: int, clock: Any):
    begins = begins.replace(tzinfo=at("2020-01-01").tzinfo)
    clock = clock and clock.replace(second=0, microsecond=0)
    ends = after_wait(begins, ZoneInfo(name), days, hours, clock)
    assert ends >= begins
    assert ends - begins <= timedelta(days=days + 1, hours=hours + 2)


def wait_for(days: int) -> dict[str, Any]:
    then, else_ = [send("then"), {"kind": "wait", "days": 1}], [{"kind": "wait", "hours": 3}, send("else")]
    return {"kind": "wait_for", "type": REVIEW, "within_days": days, "then": then, "else": else_}


STEPS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just(send("a")),
    st.fixed_dictionaries({"kind": st.just("wait"), "days": st.integers(1, 5)}),
    st.fixed_dictionaries({"kind": st.just("wait"), "hours": st.integers(1, 60), "at": st.just("10:00")}),
    st.integers(1, 5).map(wait_for),
)


@given(
    st.lists(STEPS, min_size=1, max_size=6),
    st.lists(st.integers(0, 900), max_size=20),
    st.lists(st.integers(1, 800), max_size=5),
    st.sampled_from(ZONES),
)
def test_a_run_is_moved_alike_by_one_late_worker_and_by_many_punctual_ones(
    steps: list[dict[str, Any]], hours: list[int], reviews: list[int], zone: str
):
    compiled, who = journey(*steps), standing(zone)
    past = [Past(REVIEW, T + timedelta(hours=each), f"review/{number}") for number, each in enumerate(reviews)]
    late = T + timedelta(days=90)
    once = run_at(compiled, trigger(T), late, past=past, who=who)
    instants = [T + timedelta(hours=each) for each in sorted(hours)]
    often = run_at(compiled, trigger(T), T, *instants, *[late] * 12, past=past, who=who)
    assert sent(often) == sent(once)
    assert often.run == once.run
    assert once.run.state is RunState.DONE


def test_what_is_waited_for_counts_strictly_after_the_step_fell_due_and_up_to_its_end():
    compiled = journey(
        {"kind": "wait_for", "type": REVIEW, "within_days": 2, "then": [send("thanks")], "else": [send("please")]}
    )

    def after(*instants: datetime) -> list[tuple[str, str, datetime]]:
        past = [Past(REVIEW, each, f"review/{each}") for each in instants]
        return sent(run_at(compiled, trigger(T), T, T + 5 * DAY, past=past))

    assert after(T) == [("0/else/0", "please", T + 2 * DAY)]
    assert after(T + 2 * DAY) == [("0/then/0", "thanks", T + 2 * DAY)]
    assert after(T + 2 * DAY + timedelta(microseconds=1)) == [("0/else/0", "please", T + 2 * DAY)]
    assert after(T + 2 * DAY, T + DAY) == [("0/then/0", "thanks", T + DAY)]


def test_a_run_that_waits_for_an_event_says_so_and_goes_on_when_it_comes():
    compiled = journey({"kind": "wait_for", "type": REVIEW, "within_days": 2, "then": [send("thanks")], "else": []})
    moved = run_at(compiled, trigger(T), T)
    assert (moved.run.awaits, moved.run.due_at) == (REVIEW, T + 2 * DAY)
    come = [Past(REVIEW, T + timedelta(hours=1), "review/1")]
    further = drive(resume(moved.run, compiled, Moment(standing(), T + timedelta(hours=2))), come)
    assert sent(further) == [("0/then/0", "thanks", T + timedelta(hours=1))]


def test_the_trigger_never_counts_as_having_happened():
    compiled = journey({"kind": "stop_if", "when": [{"kind": "happened", "type": PURCHASE, "within_days": 30}]}, send())
    own, other = Past(PURCHASE, T, "order/1"), Past(PURCHASE, T - DAY, "order/0")
    assert sent(run_at(compiled, trigger(T), T, past=[own])) == [("1", "hello", T)]
    stopped = run_at(compiled, trigger(T), T, past=[own, other])
    assert (sent(stopped), stopped.run.state, stopped.run.reason) == ([], RunState.STOPPED, Ending.STOP_IF)


def test_without_days_only_what_happened_since_the_run_began_counts():
    compiled = journey(
        {"kind": "wait", "days": 1}, {"kind": "stop_if", "when": [{"kind": "happened", "type": REVIEW}]}, send()
    )
    for happened, stops in ((T - DAY, False), (T, False), (T + timedelta(hours=1), True), (T + 2 * DAY, True)):
        moved = run_at(compiled, trigger(T), T, T + 3 * DAY, past=[Past(REVIEW, happened, "review/1")])
        assert (moved.run.reason is Ending.STOP_IF) is stops, happened


@pytest.mark.parametrize(
    "condition, holds",
    [
        ({"kind": "tier_in", "values": ["gold"]}, True),
        ({"kind": "tier_in", "values": ["silver"]}, False),
        ({"kind": "points_at_least", "points": 100}, True),
        ({"kind": "points_at_least", "points": 101}, False),
        ({"kind": "locale_in", "values": ["ar"]}, True),
        ({"kind": "locale_in", "values": ["ar-SA"]}, True),
        ({"kind": "locale_in", "values": ["ar-EG", "arc"]}, False),
        ({"kind": "country_in", "values": ["sa"]}, True),
        ({"kind": "country_in", "values": ["EG"]}, False),
        ({"kind": "purchases_at_least", "count": 2, "days": 30}, True),
        ({"kind": "purchases_at_least", "count": 3, "days": 30}, False),
        ({"kind": "no_purchase_for", "days": 1}, False),
        ({"kind": "field", "path": "total", "op": "gte", "value": "9.5"}, True),
        ({"kind": "field", "path": "total", "op": "gt", "value": "100"}, False),
        ({"kind": "field", "path": "missing", "op": "ne", "value": 1}, True),
        ({"kind": "field", "path": "missing", "op": "exists", "value": False}, True),
        ({"kind": "field", "path": "missing", "op": "eq", "value": 1}, False),
        ({"kind": "field", "path": "lines.0.sku", "op": "in", "value": ["tea", "mug"]}, True),
        ({"kind": "field", "path": "total", "op": "eq", "value": 12}, True),
    ],
)
def test_conditions(condition: dict[str, Any], holds: bool):
    compiled = journey({"kind": "stop_if", "when": [condition]}, send())
    who = standing(tier="gold", available=100, locale="ar_SA", country="sa")
    event = trigger(T, total="12.00", lines=[{"sku": "tea"}])
    past = [Past(PURCHASE, T, "order/1"), Past(PURCHASE, T - 10 * DAY, "order/0"), Past(PURCHASE, T - 30 * DAY, "old")]
    moved = run_at(compiled, event, T, past=past, who=who)
    assert (moved.run.reason is Ending.STOP_IF) is holds


def test_nobody_who_never_bought_has_bought_lately_and_unknown_tiers_are_in_no_list():
    compiled = journey({"kind": "stop_if", "when": [{"kind": "no_purchase_for", "days": 60}]}, send())
    assert run_at(compiled, trigger(T), T).run.reason is Ending.STOP_IF
    compiled = journey({"kind": "stop_if", "when": [{"kind": "tier_in", "values": ["gold"]}]}, send())
    assert run_at(compiled, trigger(T), T).run.reason is None


def test_a_split_takes_the_customers_arm_and_who_is_held_out_leaves_the_run():
    compiled = journey(
        {"kind": "split", "experiment": "e", "arms": {"control": [], "bonus": [send("bonus")]}}, send("both")
    )
    bonus = run_at(compiled, trigger(T), T, arms={"e": "bonus"})
    assert [request.step for request in bonus.requests] == ["0/bonus/0", "1"]
    control = run_at(compiled, trigger(T), T, arms={"e": "control"})
    assert [request.template for request in control.requests] == ["both"]
    out = run_at(compiled, trigger(T), T, arms={"e": None})
    assert (out.requests, out.run.state, out.run.reason) == ([], RunState.STOPPED, Ending.HOLDOUT)
    assert [exposure.arm for moved in (bonus, control, out) for exposure in moved.exposures] == [
        "bonus",
        "control",
        None,
    ]


def test_a_digest_collects_what_comes_before_its_window_ends():
    compiled = journey({"kind": "digest", "hours": 24}, send("digest"))
    run = run_at(compiled, trigger(T, points=1), T).run
    late = trigger(T + 3 * timedelta(hours=1), "order/3", points=3)
    early = trigger(T + timedelta(hours=1), "order/2", points=2)
    assert collects(run, late)
    run = join(join(run, late), early)
    assert not collects(run, trigger(T + DAY, "order/4"))
    moved = drive(resume(run, compiled, Moment(standing(), T + 2 * DAY)))
    [request] = moved.requests
    assert request.trigger.at == T + DAY
    assert request.trigger.facts["items"] == [{"points": 1}, {"points": 2}, {"points": 3}]
    assert request.trigger.facts["count"] == 3
    assert not collects(moved.run, early)


def test_a_digest_keeps_the_oldest_hundred_and_counts_all():
    compiled = journey({"kind": "digest", "hours": 24}, send("digest"))
    run = run_at(compiled, trigger(T, n=0), T).run
    for number in range(1, 150):
        run = join(run, trigger(T + timedelta(minutes=number), f"order/{number}", n=number))
    assert run.count == 150
    assert [item.facts["n"] for item in run.items] == list(range(100))


def test_a_journey_that_is_disabled_ends_its_runs_at_their_next_step():
    compiled = journey({"kind": "wait", "days": 1}, send())
    run = run_at(compiled, trigger(T), T).run
    early = drive(resume(run, compiled, Moment(standing(), T, halted=True)))
    assert early.run == run
    moved = drive(resume(run, compiled, Moment(standing(), T + DAY, halted=True)))
    assert (moved.requests, moved.run.state, moved.run.reason) == ([], RunState.STOPPED, Ending.JOURNEY_STOPPED)


def test_nothing_is_said_of_points_that_are_spent_meanwhile():
    compiled = journey(
        {"kind": "wait", "hours": 1}, send(), trigger={"on": "before", "what": "points_expiry", "days": 7}
    )
    event = trigger(T, points=100)
    run = drive(resume(start(compiled, event, standing(available=300, spent=50)), compiled, Moment(standing(), T))).run
    for who, goes in (
        (standing(available=300, spent=50), True),
        (standing(available=201, spent=149), True),
        (standing(available=200, spent=150), False),
        (standing(available=0, spent=50), False),
    ):
        moved = run_at(compiled, event, T, T + DAY, who=standing(available=300, spent=50))
        assert moved.requests
        waiting = run_at(compiled, event, T, who=standing(available=300, spent=50)).run
        further = drive(resume(waiting, compiled, Moment(who, T + DAY)))
        assert bool(further.requests) is goes, who
    assert run.trigger.facts["spent"] == 50
