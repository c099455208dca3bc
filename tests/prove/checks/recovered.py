"""6. Every planned fault took effect, and the services recovered from each without a person."""

from collections.abc import Iterator, Mapping, Sequence

from tests.prove.checks.check import Check, check
from tests.prove.nemesis import Struck
from tests.prove.plan import Fault
from tests.prove.progress import MOST_SECONDS
from tests.prove.stage import Stage


def checks(planned: Mapping[Fault, int], struck: Sequence[Struck], stage: Stage) -> Iterator[Check]:
    """The checks of this group."""
    counts = {fault: sum(1 for item in struck if item.counts and item.fault is fault) for fault in planned}
    few = [f"{fault}: {counts[fault]} of {count}" for fault, count in planned.items() if counts[fault] < count]
    yield check(6, "every planned fault took effect", sum(planned.values()), few)
    stuck = [
        f"{fault.fault} of {fault.strike.victim} at {fault.at} s: nothing for {MOST_SECONDS:.0f} s"
        for fault in struck
        if fault.counts and fault.strike.recovery is None
    ]
    yield check(6, "the services recovered from every fault", sum(counts.values()), stuck)
    yield check(6, "no process ended for a person to decide", len(stage.fleet.ends), stage.fleet.wants_a_person())
    yield check(6, "no transaction deadlocked", 1, stage.deadlocks())
