"""Seeds: each is played on empty databases, and judged."""

import gc
from collections import Counter
from dataclasses import dataclass

from tests.simulation.databases import Databases
from tests.simulation.invariants import violations
from tests.simulation.world import World


@dataclass(frozen=True)
class Outcome:
    """What came of a seed."""

    seed: int
    digest: str
    steps: int
    seconds: float
    violations: list[str]
    last: list[str]
    counts: Counter[str]


def play(seed: int, databases: Databases) -> Outcome:
    """Play a seed; `seconds` are virtual."""
    databases.empty()
    world = World(seed, databases)
    world.play()
    if not world.violations:
        world.violations += violations(world)
    counts = world.server.counts + world.strikes
    trace = world.trace
    return Outcome(
        seed, trace.digest, trace.steps, world.loop.time(), world.violations, list(trace.last), counts
    )
