"""Plants bugs one at a time in short runs that provoke them, and checks that each is caught."""

import time
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.prove import run
from tests.prove.history import Size
from tests.prove.plan import Fault, Plan
from tests.prove.plants import PLANTS
from tests.prove.plants.plant import Plant
from tests.prove.publishing import Pace
from tests.prove.stage import Cast, Ground
from tests.prove.writes import Kind

CONTROL: Final = "none (control)"
JOBS: Final = (Fault.KILL_PUBLICATION, Fault.KILL_SWEEP, Fault.KILL_SWEEP)
"""The faults of a run that has tiers."""

_SIZE: Final = Size(2_500, 60, malformed=0.3)
_PACE: Final = Pace(rate=600.0, burst=300, burst_every=600)


@dataclass(frozen=True, slots=True)
class Caught:
    """A planted bug, the checks that have to find it, and the checks that found something."""

    plant: str
    seconds: float
    wanted: tuple[str, ...]
    found_by: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether the intended checks found the bug or, without a bug, no check found anything."""
        return set(self.wanted) <= set(self.found_by) if self.wanted else not self.found_by


async def prove(ground: Ground, seed: int) -> list[Caught]:
    """A control run without a bug, then a run for each bug."""
    of_workers = (Fault.KILL_WORKER,) * 2 + (Fault.RESET_AT_COMMIT,) * 2
    control = Plant(CONTROL, lambda: None, (), of_workers)
    of_tiers = Plant(f"{CONTROL}, of tiers and referrals", lambda: None, (), JOBS, of_tiers=1, of_referrals=1)
    return [await against(ground, seed, plant) for plant in (control, of_tiers, *PLANTS.values())]


async def against(ground: Ground, seed: int, plant: Plant) -> Caught:
    """A run that provokes a planted bug."""
    run.say(f"planted: {plant.name}")
    began = time.monotonic()
    of_api = plant.of_api
    mix = {Kind.ADJUST: 1} if of_api else {Kind.ADJUST: 2, Kind.HOLD: 1}
    if plant.of_tiers or plant.of_referrals:
        of_tiers, of_referrals = {Kind.ASSIGN: 1, Kind.USE: 2}, {Kind.ADJUST: 1, Kind.DECIDE: 1}
        mix = (of_tiers if plant.of_tiers else {}) | (of_referrals if plant.of_referrals else {})
    directed = Plan(
        _SIZE,
        _PACE,
        writes=30.0,
        faults=Counter(plant.faults),
        mix=mix,
        commits_of=("points-api",) if of_api else ("points-worker",),
        pause=0.1,
        quiet_seconds=15.0,
    )
    others = {"tiers": plant.of_tiers, "referrals": plant.of_referrals}
    workers = {"points": plant.workers} | {service: count for service, count in others.items() if count}
    cast = Cast(workers, plant.name if plant.found_by else None, planted_api=of_api, settles_soon=plant.of_tiers > 0)
    outcome = await run.run(seed + Random(plant.name).randrange(1000), directed, ground, cast)
    return Caught(plant.name, time.monotonic() - began, plant.found_by, tuple(item.name for item in outcome.violated))
