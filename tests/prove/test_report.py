"""The report claims no more than the run observed."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydantic_core import from_json

from tests.prove import report
from tests.prove.checks import recovered
from tests.prove.checks.check import MOST_SHOWN, check
from tests.prove.faults import Strike
from tests.prove.nemesis import Struck
from tests.prove.plan import CALM, Fault, Plan
from tests.prove.run import Outcome
from tests.prove.selftest import Caught
from tests.support.fleet import Fleet

SEEN = Strike("points-1", "in a transaction", 2.0)


def struck(fault: Fault, count: int, strike: Strike = SEEN) -> list[Struck]:
    return [Struck(fault, 1.0, strike)] * count


def outcome(*faults: Struck, wrong: bool = False) -> Outcome:
    result = Outcome(7, datetime(2026, 6, 1, tzinfo=UTC), struck=list(faults))
    result.checks.append(check(3, "balances", 10, ["ann"] if wrong else []))
    return result


def test_the_bound_is_the_rule_of_three():
    kills = struck(Fault.KILL_WORKER, 20) + struck(Fault.KILL_API, 5)
    words = report.bound(outcome(*kills, *struck(Fault.RESET, 35)))
    assert "0 failures in 25 kills: the 95 % upper bound is 12.0% per kill" in words
    assert "in 60 faults of all kinds: the 95 % upper bound is 5.0%" in words


def test_there_is_no_bound_after_a_violation_or_without_faults():
    assert "no bound" in report.bound(outcome(*struck(Fault.KILL_WORKER, 20), wrong=True))
    assert "proves nothing about faults" in report.bound(outcome())
    without_effect = Strike("points-1", None)
    assert "proves nothing about faults" in report.bound(outcome(*struck(Fault.KILL_WORKER, 9, without_effect)))


def test_a_violation_or_an_uncaught_bug_fails_the_report(tmp_path: Path):
    assert report.document(CALM, outcome(), [])["passed"]
    assert not report.document(CALM, outcome(wrong=True), [])["passed"]
    count = Caught("bug", 1.0, ("balances",), ("balances", "tiers"))
    assert report.document(CALM, outcome(), [count])["passed"]
    for missed in (Caught("bug", 1.0, ("balances",), ("tiers",)), Caught("none", 1.0, (), ("tiers",))):
        assert not report.document(CALM, outcome(), [missed])["passed"]
    report.write(tmp_path / "new" / "prove.json", report.document(CALM, outcome(wrong=True), [count]))
    written = from_json((tmp_path / "new" / "prove.json").read_bytes())
    assert (written["seed"], written["checks"][0]["offenders"]) == (7, ["ann"])


def test_a_fault_is_reported_as_planned_observed_and_recovered():
    plan = Plan(CALM.size, faults={Fault.RESET: 2})
    strikes = [Strike("a", "seen", 1.0), Strike("b", "seen", 4.0), Strike("c", None)]
    faults = [Struck(Fault.RESET, 1.0, strike) for strike in strikes]
    [row] = report.document(plan, outcome(*faults), [])["faults"]
    assert (row["planned"], row["observed"], row["tried"]) == (2, 2, 3)
    assert (row["recovery_median"], row["recovery_worst"]) == (2.5, 4.0)


def wrong(fleet: Fleet, faults: list[Struck], deadlocks: list[str] | None = None) -> set[str]:
    stage: Any = SimpleNamespace(fleet=fleet, deadlocks=lambda: deadlocks or [])
    return {item.name for item in recovered.checks({Fault.RESET: 1}, faults, stage) if item.count}


def test_a_process_that_needs_a_person_is_a_violation(tmp_path: Path):
    fleet = Fleet({}, tmp_path)
    fleet.ends = [("points-1", -9), ("points-1", 70), ("guest", 0)]
    assert wrong(fleet, struck(Fault.RESET, 1)) == set()
    fleet.ends.append(("tiers-1", 78))
    assert wrong(fleet, struck(Fault.RESET, 1)) == {"no process ended for a person to decide"}


def test_a_fault_without_effect_or_recovery_is_a_violation(tmp_path: Path):
    fleet = Fleet({}, tmp_path)
    assert wrong(fleet, struck(Fault.RESET, 1, Strike("a", None))) == {"every planned fault took effect"}
    assert wrong(fleet, struck(Fault.RESET, 1, Strike("a", "seen"))) == {"the services recovered from every fault"}
    assert wrong(fleet, struck(Fault.RESET, 1), ["deadlock"]) == {"no transaction deadlocked"}


def test_a_check_names_the_first_offenders_and_counts_all():
    result = check(1, "much", 100, range(50))
    assert (len(result.offenders), result.count) == (MOST_SHOWN, 50)
