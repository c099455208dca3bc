"""Bugs of the jobs of tiers: sweeps, new versions, late events."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from services.tiers.handlers import applying, day, events
from services.tiers.handlers.judging import Arrivals
from services.tiers.rules.judging import ending
from services.tiers.rules.judging.run import Run
from services.tiers.rules.metrics import Reading
from services.tiers.rules.program.versions import Versions
from services.tiers.store.customers import Customer
from tests.prove.plan import Fault
from tests.prove.plants.plant import SETTLING, Plant

TIMELINES: Final = "timelines of tiers = the model"
WARNINGS: Final = "tiers at risk = the model"

EndPeriod = Callable[[Run, datetime, str], Reading[None]]
Judge = Callable[..., Awaitable[None]]

_SOON: Final = timedelta(seconds=8)


def settle_soon() -> None:
    """Take a version as applied to everybody soon: no batch of a short run lasts as long as one may in production."""
    applying.SETTLED = _SOON


def hasty(end_period: EndPeriod) -> EndPeriod:
    """The end of a period without grace."""

    def end(run: Run, at: datetime, reason: str) -> Reading[None]:
        program = run.program
        run.program = replace(program, downgrade=program.downgrade._replace(grace_days=0))
        yield from end_period(run, at, reason)
        run.program = program

    return end


def no_grace() -> None:
    """Let tiers fall when their period ends, without grace."""
    settle_soon()
    ending._end_period = hasty(ending._end_period)


def only_new(judge: Judge) -> Judge:
    """Judging without what happened before the version in force."""

    async def judge_new(
        connection: Any, versions: Versions, locked: Mapping[str, Customer], arrivals: Arrivals, now: datetime
    ) -> None:
        since = versions.effective_at(versions.in_force(now).version)
        new = {name: [own for own in arrived if own.last >= since] for name, arrived in arrivals.items()}
        await judge(connection, versions, locked, {name: own for name, own in new.items() if own}, now)

    return judge_new


def not_through_a_version() -> None:
    """Record events from before the version in force, and do not judge them again through it."""
    settle_soon()
    events.judge = only_new(events.judge)


def forgotten_warnings() -> None:
    """Do not record which warnings were told."""
    settle_soon()

    async def nothing(*_: object) -> None:
        return

    day.at_risk.add = nothing


SETTLED: Final = Plant(SETTLING, settle_soon, ())
"""No bug."""


def _plant(name: str, plant: Callable[[], None], found_by: str) -> Plant:
    faults = (Fault.KILL_PUBLICATION, Fault.KILL_SWEEP, Fault.KILL_SWEEP)
    return Plant(name, plant, (found_by,), faults, workers=1, of_tiers=1)


PLANTS: Final = (
    _plant("tiers fall without their grace", no_grace, TIMELINES),
    _plant("a late event is not judged through a version", not_through_a_version, TIMELINES),
    _plant("warnings are not remembered", forgotten_warnings, WARNINGS),
)
