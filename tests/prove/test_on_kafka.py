"""A small run on real Kafka passes through faults, and a planted bug does not."""

from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.prove import run, selftest
from tests.prove.history import Size
from tests.prove.plan import Fault, Plan
from tests.prove.plants import PLANTS
from tests.prove.publishing import Pace
from tests.prove.stage import Cast, Ground, grounded

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

SMALL = Plan(
    Size(3_000, 200),
    Pace(burst=500, burst_every=900),
    faults=dict.fromkeys(
        (
            *(Fault.KILL_WORKER, Fault.RESET_AT_COMMIT, Fault.RESTART_SERVER),
            *(Fault.POISON, Fault.HOT_CUSTOMER, Fault.HOSTILE_CALLERS),
            *(Fault.KILL_SWEEP, Fault.KILL_PUBLICATION),
        ),
        1,
    ),
)


@pytest.fixture
async def ground() -> AsyncIterator[Ground]:
    with TemporaryDirectory(prefix="wafa-prove-", ignore_cleanup_errors=True) as folder:
        async with grounded(Path(folder)) as started:
            yield started


async def test_a_correct_run_passes_all_checks(ground: Ground):
    outcome = await run.run(5, SMALL, ground, Cast({"points": 2, "tiers": 1}, settles_soon=True))
    assert {item.name: item.offenders for item in outcome.violated} == {}
    assert sum(1 for fault in outcome.struck if fault.counts) == len(SMALL.faults)


async def test_a_planted_bug_is_caught(ground: Ground):
    caught = await selftest.against(ground, 5, PLANTS["a handler's error is swallowed"])
    assert caught.right
