"""Rounds: every side once in each, in an order that alternates."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from deploy.sample.cloudevent import CloudEvent
from tests.bench import figures
from tests.bench.figures import Measured
from tests.bench.plan import Plan

Results = Mapping[str, Sequence[Measured]]
"""Measurements of all rounds, by name."""

Reels = Mapping[str, Callable[[], Iterable[CloudEvent]]]
"""Contents of topics, by name."""


class WrongEffectError(Exception):
    """A measured side did not have its effect."""


@dataclass(frozen=True, slots=True)
class Side:
    """A measurement on topics with the contents `reel`; it returns one or more rates by name."""

    reel: str
    measure: Callable[[], Awaitable[Mapping[str, Measured]]]


def between(side: Side, other: Side) -> Side:
    """A side between two measurements of another, whose mean counts, because the machine's speed drifts."""

    async def three() -> Mapping[str, Measured]:
        before, measured, after = await other.measure(), await side.measure(), await other.measure()
        means = {name: Measured(fmean((before[name].rate, item.rate)), item.usage) for name, item in after.items()}
        return {**measured, **means}

    return Side(side.reel, three)


async def play(plan: Plan, sides: Sequence[Side], reels: Reels, rounds: int | None = None) -> Results:
    """Measure all sides in `rounds` rounds (default: those of the plan)."""
    results: dict[str, list[Measured]] = defaultdict(list)
    count = plan.rounds if rounds is None else rounds
    for number in range(count):
        for side in sides if number % 2 == 0 else reversed(sides):
            await plan.bed.reel(side.reel, reels[side.reel])
            for name, measured in (await side.measure()).items():
                results[name].append(measured)
                plan.say(f"round {number + 1} of {count}: {name} {figures.shown(measured.rate)}")
    return results
