"""What must hold of the model on every history, whatever the program says."""

from itertools import pairwise
from random import Random

from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.support.depth import examples
from tests.tiers.oracles.calendars import TICK
from tests.tiers.oracles.histories import History, histories
from tests.tiers.oracles.model import judge

SETTINGS = examples(20, deep=120, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@SETTINGS
@given(histories())
def test_the_timeline_is_a_chain_of_changes(history: History):
    outcome = history.judge()
    given_at = {assignment.at for assignment in history.assignments}
    for before, after in pairwise(outcome.entries):
        assert before.at < after.at
        assert before.tier == after.before or before.tier not in {e["id"] for e in history.versions[-1][1]["tiers"]}
    for entry in outcome.entries:
        assert (entry.kind == "retained") or entry.before != entry.tier
        assert entry.valid_until is None or entry.valid_until > entry.at or entry.at in given_at
    if outcome.entries:
        assert outcome.entries[-1].tier == outcome.tier
        assert outcome.entries[-1].valid_until == outcome.valid_until


@SETTINGS
@given(histories(), st.randoms(use_true_random=False))
def test_the_order_of_what_is_given_does_not_matter(history: History, random: Random):
    changes = list(history.changes)
    random.shuffle(changes)
    assert judge(history.versions, changes, history.assignments, history.now) == history.judge()


@SETTINGS
@given(histories())
def test_what_lies_ahead_changes_nothing_before_it(history: History):
    outcome = history.judge()
    for instant in history.instants():
        for now in (instant - TICK, instant):
            earlier = [change for change in history.changes if change.at <= now]
            given_by_then = [assignment for assignment in history.assignments if assignment.at <= now]
            versions = [(at, document) for at, document in history.versions if at is None or at <= now]
            before = judge(versions, earlier, given_by_then, now)
            assert list(before.entries) == [entry for entry in outcome.entries if entry.at <= now]
