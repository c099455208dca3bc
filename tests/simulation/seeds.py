"""Plays seeds on empty databases, and checks the invariants."""

from collections import Counter
from dataclasses import dataclass

from tests.simulation.databases import Databases
from tests.simulation.invariants import violations
from tests.simulation.server import DEADLOCK
from tests.simulation.world import World


@dataclass(frozen=True)
class Outcome:
    """The result of a seed."""

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
    try:
        world.play()
        if not world.violations:
            world.violations += violations(world)
    except Exception as error:
        error.add_note(f"seed {seed}, after:\n" + "\n".join(world.trace.last))
        raise
    if world.server.counts[DEADLOCK]:
        world.violations.append("two transactions deadlocked")
    counts = world.server.counts + world.strikes
    trace = world.trace
    return Outcome(seed, trace.digest, trace.steps, world.loop.time(), world.violations, list(trace.last), counts)


def words(outcome: Outcome) -> str:
    """A seed for a failure message: the end of its trace, and the violations."""
    violations = [f"BROKEN: {violation}" for violation in outcome.violations]
    summary = f"seed {outcome.seed}: {outcome.steps} steps, {outcome.seconds:.3f} s, trace {outcome.digest}"
    again = f"again: make simulate SEED={outcome.seed}"
    return "\n".join([*outcome.last, summary, *violations, *([again] if violations else [])])
