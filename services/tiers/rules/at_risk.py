"""Warnings that a tier is at risk: some days before it ends, to whom it would not be kept (answers.md T29, T30)."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from services.tiers.rules.judging.conditions import highest_kept, is_kept_in
from services.tiers.rules.judging.ending import target
from services.tiers.rules.judging.machine import Advanced
from services.tiers.rules.judging.run import Entry, Run, calendar_of, values_in
from services.tiers.rules.judging.state import Standing, State
from services.tiers.rules.metrics import Reading
from services.tiers.rules.program.compiled import Program
from services.tiers.rules.program.versions import Versions
from services.tiers.rules.progress import Way
from services.tiers.rules.status import keeping


class Notice(NamedTuple):
    """The moment of a warning: the beginning of the day that is so many days before the tier ends."""

    at: datetime
    days: int


class Risk(NamedTuple):
    """A tier that would be lost: the customer would fall to `to` at `falls_at`, which is after the time of grace."""

    notice: Notice
    program: Program
    standing: Standing
    to: str
    falls_at: datetime
    needs: Way


def notices(program: Program, standing: Standing) -> list[Notice]:
    """The moments at which a version warns before a tier ends, in the order of time; none if it does not end."""
    end = standing.valid_until
    if end is None or standing.grace_until is not None:
        return []
    # Days are those of the zone, whatever the customer's years begin with.
    calendar = calendar_of(program, None)
    return [Notice(calendar.days_after(end, -days), days) for days in program.at_risk_days]


def next_notice(versions: Versions, before: tuple[State, datetime | None], advanced: Advanced) -> datetime | None:
    """The next moment at which a warning may be due after a customer was judged; it is judged when it comes.

    `before` is the state that was advanced, with its own next moment (None also where that is not known).
    """
    old, planned = before
    state = advanced.state
    if state.at is None or state.standing.valid_until is None or state.standing.grace_until is not None:
        return None
    set_at = next((entry.at for entry in reversed(advanced.entries) if _sets_end(entry)), None)
    if set_at is not None:
        after, planned = set_at, None
    elif state.version != old.version or old.at is None:
        # A new version warns from its first instant on; what the one before has left to warn of is not lost.
        after = versions.effective_at(state.version)
    else:
        return planned
    later = [notice.at for notice in notices(versions.version(state.version), state.standing) if notice.at > after]
    return min(filter(None, (planned, min(later, default=None))), default=None)


def end_set_at(timeline: Sequence[tuple[datetime, datetime | None]]) -> datetime | None:
    """When the current `valid_until` was set, by the instants of a timeline and the `valid_until` from each on."""
    set_at: datetime | None = None
    end = timeline[-1][1] if timeline else None
    for at, valid_until in reversed(timeline):
        if valid_until != end:
            break
        set_at = at
    return set_at


def due(
    versions: Versions, standing: Standing, set_at: datetime, now: datetime, judged: Collection[int]
) -> list[Notice]:
    """The notices of the current end that are due now, in the order of time; only the last is told.

    `judged` are the days of those that were judged before. Each version warns in its own time; what lies before the
    tier was reached, kept or given does not count.
    """
    if standing.valid_until is None or standing.valid_until <= now:
        return []
    found: dict[int, Notice] = {}
    moment = set_at
    program: Program | None = versions.in_force(set_at)
    while program is not None:
        following = versions.after(moment)
        for notice in notices(program, standing):
            is_its_own = moment <= notice.at and (following is None or notice.at < following[0])
            if is_its_own and set_at < notice.at <= now and notice.days not in judged:
                found[notice.days] = notice
        moment, program = following if following is not None and following[0] <= now else (moment, None)
    return sorted(found.values())


def risk(versions: Versions, state: State, notice: Notice) -> Reading[Risk | None]:
    """Judge a notice by what had happened before its moment; None if the customer keeps the tier, or its floor."""
    standing, program = state.standing, versions.in_force(notice.at)
    end = standing.valid_until
    assert end is not None, "a notice is about the end of a tier"
    if standing.tier not in program:
        # Between the moment and now, a version has moved the customer.
        program = versions.version(state.version)
    run = Run.of(versions, replace(state, version=program.version))
    tier, spans = run.tier, run.ended(end)
    in_periods = yield from values_in(program, spans, notice.at)
    if is_kept_in(tier, in_periods):
        return None
    has_ends = program.has_ends
    to = target(run, tier, in_periods)
    if not has_ends:
        to = run.at_least_floor(highest_kept(program, tier.rank, in_periods))
    if to.rank >= tier.rank:
        return None
    grace_days = program.downgrade.grace_days if has_ends else 0
    falls_at = run.calendar.days_after(end, grace_days) if grace_days else end
    return Risk(notice, program, standing, to.id, falls_at, keeping(tier, end, in_periods).needs)


def _sets_end(entry: Entry) -> bool:
    return entry.standing.valid_until is not None and entry.standing.valid_until != entry.before.valid_until
