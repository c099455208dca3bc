"""Who is told that a tier is at risk (programs.md, Events; answers.md T29)."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from tests.tiers.oracles.calendars import day_start
from tests.tiers.oracles.customer import Customer
from tests.tiers.oracles.dues import next_due
from tests.tiers.oracles.facts import Assignment, Changed
from tests.tiers.oracles.model import Replay
from tests.tiers.oracles.programs import Document, Program


class Risk(NamedTuple):
    """One announcement: the tier falls from `tier` to `to` at `effective_at` unless something happens.

    `moment` is 00:00 of the `days`th day before the day of `valid_until`.
    """

    valid_until: datetime
    days: int
    moment: datetime
    tier: str
    to: str
    effective_at: datetime


class Moment(NamedTuple):
    """A moment that has come for the present `valid_until`, and whether the tier was at risk at it."""

    valid_until: datetime
    days: int
    at: datetime
    risk: Risk | None


Versions = Sequence[tuple[datetime | None, Document]]


def moments(
    versions: Versions, changes: Iterable[Changed], assignments: Iterable[Assignment], now: datetime
) -> list[Moment]:
    """All moments up to `now` of the `valid_until` that lies ahead of it, from the farthest to the nearest."""
    changes, assignments = list(changes), list(assignments)
    replay = Replay(versions, changes, assignments)
    replay.run(now)
    end, held_at = _end_ahead(replay.customer, now), replay.customer.state.held_at
    if end is None:
        return []
    found: list[Moment] = []
    for program in replay.programs:
        for days in set(program.at_risk_days):
            at = day_start(program.day(end) - timedelta(days=days), program.zone)
            is_before = held_at is None or held_at >= at  # the tier was reached, kept or given only then
            if at > now or is_before or _in_force(replay.programs, at) is not program:
                continue
            then = Replay(versions, changes, assignments)
            then.run(at, before_events=True)
            if _end_ahead(then.customer, at) != end:
                continue
            found.append(Moment(end, days, at, _risk(then.customer, end, days, at)))
    return sorted(found, key=lambda moment: (moment.at, -moment.days))


def at_risk(
    versions: Versions, changes: Iterable[Changed], assignments: Iterable[Assignment], now: datetime
) -> Risk | None:
    """What a first look at `now` announces: the nearest moment that has come, if the tier was at risk at it."""
    come = moments(versions, changes, assignments, now)
    return come[-1].risk if come else None


def announced(
    versions: Versions, changes: Sequence[Changed], assignments: Sequence[Assignment], looks: Iterable[datetime]
) -> list[Risk]:
    """What looks at several instants announce, one after the other: each `days` once for one `valid_until`."""
    risks: list[Risk] = []
    settled: set[tuple[datetime, int]] = set()
    for now in sorted(looks):
        come = [m for m in moments(versions, changes, assignments, now) if (m.valid_until, m.days) not in settled]
        settled |= {(moment.valid_until, moment.days) for moment in come}
        if come and come[-1].risk is not None:
            risks.append(come[-1].risk)
    return risks


def _end_ahead(customer: Customer, now: datetime) -> datetime | None:
    """The `valid_until` that lies ahead of an instant; none in grace."""
    end = customer.state.valid_until
    return end if end is not None and end > now and next_due(customer) == end else None


def _in_force(programs: Sequence[Program], instant: datetime) -> Program:
    since = [p for p in programs[1:] if p.effective_at is not None and p.effective_at <= instant]
    return since[-1] if since else programs[0]


def _risk(customer: Customer, end: datetime, days: int, at: datetime) -> Risk | None:
    """The risk as it stood at a moment: by what was known before it of the period that ends with `valid_until`."""
    state, program = customer.state, customer.program
    period = customer.periods(at, at).ended_with(end)
    if customer.is_kept(state.tier, period, at):
        return None
    if program.to == "one_step" and not program.at_once and program.kind != "lifetime":
        lower = program.below(state.tier)[0]
    else:
        lower = customer.highest_kept_below(period, at)
    to = customer.at_least_floor(lower.id)
    if program.place(to) >= program.place(state.tier):
        return None
    has_grace = not (program.never or program.at_once or program.kind == "lifetime") and program.grace_days > 0
    grace = day_start(program.day(end) + timedelta(days=program.grace_days), program.zone)
    return Risk(end, days, at, state.tier, to, grace if has_grace else end)
