"""Under any faults, every event has its effect once. `make simulate` plays more seeds."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.simulation.databases import Databases
from tests.simulation.seeds import Outcome, play, words

AT_ONCE = 10
QUICK = range(0, 10, AT_ONCE)
DEEP = range(10, 100, AT_ONCE)


def passed(seed: int, simulated: Databases) -> Outcome:
    """The result of a seed, which must not violate an invariant."""
    outcome = play(seed, simulated)
    assert not outcome.violations, words(outcome)
    return outcome


@pytest.mark.parametrize("first", [*QUICK, *(pytest.param(first, marks=pytest.mark.deep) for first in DEEP)])
def test_no_invariant_is_violated(simulated: Databases, first: int):
    counts: Counter[str] = Counter()
    for seed in range(first, first + AT_ONCE):
        counts += passed(seed, simulated).counts
    assert len(counts) >= 8, "many kinds of faults happen"


@pytest.mark.parametrize("seed", [3, pytest.param(30, marks=pytest.mark.deep)])
def test_a_seed_replays_with_the_same_trace(simulated: Databases, seed: int):
    first, again = passed(seed, simulated), passed(seed, simulated)
    assert (again.digest, again.steps, again.seconds) == (first.digest, first.steps, first.seconds)


@pytest.mark.deep
def test_a_seed_replays_with_the_same_trace_in_another_process(simulated: Databases, postgres_url: str):
    command = [sys.executable, "-m", "tests.simulation", "--server", postgres_url, "--seed", "7"]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True, timeout=60
    )
    assert passed(7, simulated).digest in done.stdout
