"""The machine: applies versions, what falls due, and events, instant by instant."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain, groupby, takewhile
from typing import Final, NamedTuple, cast

from services.tiers.rules.judging.conditions import is_kept, subtract, values_of
from services.tiers.rules.judging.ending import end_due, keep_in_grace
from services.tiers.rules.judging.moving import assign, change_version, kept_by, promote
from services.tiers.rules.judging.run import MOMENT, Entry, Run, calendar_of, days_leaving, following
from services.tiers.rules.judging.state import NOTHING, Assignment, Standing, State, Values
from services.tiers.rules.judging.taking import fall_at_once, reason_of, revoke
from services.tiers.rules.metrics import Change, Reading, Request, Sums
from services.tiers.rules.program.versions import Versions

_AT_ONCE: Final = 200
"""Instants after which a computation asks for nothing, so that others have a turn meanwhile."""


class Advanced(NamedTuple):
    """The state after a run, and the entries made on the way, in the order of time."""

    state: State
    entries: Sequence[Entry]


class Happenings(NamedTuple):
    """What happened to a customer: changes of metrics and assignments, in any order."""

    changes: Sequence[Change] = ()
    assignments: Sequence[Assignment] = ()


class _Instant(NamedTuple):
    at: datetime
    changes: Sequence[Change] = ()
    assignments: Sequence[Assignment] = ()


def unknown(versions: Versions, moment: datetime) -> State:
    """The state of a customer of whom nothing is known: the first tier of the version in force."""
    program = versions.in_force(moment)
    return State(Standing(program.first.id), program.version)


def advance(versions: Versions, state: State, happenings: Happenings, until: datetime) -> Reading[Advanced]:
    """Apply everything up to and including `until`; nothing of the happenings is at or before `state.at`.

    At one instant a new version comes first, then what falls due, then the events together.
    """
    instants = takewhile(lambda instant: instant.at <= until, _instants(happenings))
    first = next(instants, None)
    if state.at is None:
        if first is None:
            return Advanced(unknown(versions, until), ())
        state = unknown(versions, first.at)
    elif first is None and stays(versions, state, until):
        return Advanced(state, ())
    run = Run.of(versions, state)
    for number, instant in enumerate(chain([first] if first else [], instants), 1):
        if number % _AT_ONCE == 0:
            yield ()
        yield from _pass_until(run, instant.at, is_included=False)
        yield from _judge(run, instant)
    yield from _pass_until(run, until, is_included=True)
    if run.falls_at_once():
        yield from _move(run, until, is_included=True)
    return Advanced(run.state(), run.entries)


def stays(versions: Versions, state: State, until: datetime) -> bool:
    """Whether a state is certainly the same until an instant, if nothing happens: no version comes, nothing is due."""
    assert state.at is not None, "something happened"
    due, following = state.standing.due_at, versions.after(state.at)
    if (due is not None and due <= until) or (following is not None and following[0] <= until):
        return False
    return not versions.version(state.version).falls_at_once


def restore(versions: Versions, standing: Standing | None, anchor: datetime | None, before: datetime) -> Reading[State]:
    """The state right before an instant.

    `standing` is that of the last entry before it, None where there is none; `anchor` is the first instant at which
    anything counted, as far as that is known.
    """
    anchor = anchor if anchor is not None and anchor < before else None
    if standing is None and anchor is None:
        return unknown(versions, before)
    at = before - MOMENT
    if standing is None:
        assert anchor is not None, "something counted"
        standing = Standing(versions.in_force(anchor).first.id)
    program = versions.in_force(at)
    window = calendar_of(program, anchor).window(at)
    answers = yield [Request(window, None, before)]
    oldest = max(filter(None, (window, anchor)), default=None)
    return State(standing, program.version, at, anchor, oldest, values_of(program, cast("Sums", answers[0])))


def values_at(versions: Versions, state: State, moment: datetime) -> Reading[Values]:
    """The values of metrics in the window of an instant, up to which the state was advanced."""
    run = Run.of(versions, state)
    if run.at is not None:
        yield from _move(run, moment)
    return run.values


def next_due(versions: Versions, state: State) -> Reading[datetime | None]:
    """The next instant at which something falls due if nothing else happens; new versions are not counted."""
    if state.at is None:
        return None
    run = Run.of(versions, state)
    if not run.falls_at_once() or run.program.period.kind != "rolling_days":
        return state.standing.due_at
    for at, _, sums in (yield from days_leaving(run, following(state.at), following(state.at))):
        subtract(run.program, run.values, sums)
        if not is_kept(run.tier, run.values):
            return at
    return None


def _instants(happenings: Happenings) -> Iterator[_Instant]:
    """What happened, by instant, in the order of time; made one by one, since they can be very many."""
    changes = groupby(sorted(happenings.changes, key=_at), key=_at)
    if not happenings.assignments:
        return (_Instant(at, list(own)) for at, own in changes)
    by_instant = {at: list(own) for at, own in changes}
    assignments = sorted(happenings.assignments, key=lambda own: (own.at, own.id))
    assigned = {at: list(own) for at, own in groupby(assignments, key=_at)}
    return (_Instant(at, by_instant.get(at, ()), assigned.get(at, ())) for at in sorted({*by_instant, *assigned}))


def _at(happening: Change | Assignment) -> datetime:
    return happening.at


def _pass_until(run: Run, moment: datetime, *, is_included: bool) -> Reading[None]:
    """Apply versions and what falls due before an instant, and at it if it is included."""
    while run.at is not None:
        version = run.versions.after(run.at)
        coming = [at for at in (run.standing.due_at, version and version[0]) if at is not None]
        if not coming or (at := min(coming)) > moment or (at == moment and not is_included):
            return
        yield from _judge(run, _Instant(at))


def _judge(run: Run, instant: _Instant) -> Reading[None]:
    """Judge one instant: a new version, what falls due, the events together."""
    version = run.versions.after(run.at) if run.at is not None else None
    is_version = version is not None and version[0] == instant.at
    if not is_version or run.falls_at_once():
        yield from _move(run, instant.at)
    before = run.begin(instant.at)
    if is_version and version is not None:
        yield from change_version(run, version[1])
    yield from _end(run)
    if instant.changes:
        yield from _count(run, instant.changes)
    for assignment in instant.assignments:
        assign(run, assignment)
    if instant.changes and not instant.assignments:
        promote(run, None)
    run.close(before)


def _end(run: Run) -> Reading[None]:
    """Apply what falls due at the current instant."""
    reason = yield from end_due(run)
    fall_at_once(run, reason or "window")
    if reason:
        promote(run, reason)


def _count(run: Run, changes: Sequence[Change]) -> Reading[None]:
    """Count the changes of an instant: what was taken back first, then what may keep a tier in grace."""
    assert run.at is not None, "the changes happened"
    if run.anchor is None and any(not change.is_taking for change in changes):
        run.set_anchor(run.at)
    run.apply(changes)
    if any(change.is_taking for change in changes):
        yield from revoke(run)
        yield from end_due(run)
    fall_at_once(run, reason_of(changes))
    if run.standing.grace_until:
        keep_in_grace(run, kept_by(run))


def _move(run: Run, moment: datetime, *, is_included: bool = False) -> Reading[None]:
    """Move the window to an instant: days that are no longer in it do not count.

    Where a tier falls at once, each day that leaves before the instant (or at it, if it is included) is judged.
    """
    if run.at is None:
        return
    start = run.calendar.window(moment)
    if start is None or (run.oldest is not None and run.oldest >= start):
        return
    if run.falls_at_once():
        yield from _move_by_day(run, start, moment, following(moment) if is_included else moment)
    elif run.at < start:
        run.values, run.oldest = dict(NOTHING), None
    elif (old := run.calendar.window(run.at)) != start:
        answers = yield [Request(old, start, moment)]
        subtract(run.program, run.values, cast("Sums", answers[0]))
        run.oldest = start


def _move_by_day(run: Run, start: datetime, moment: datetime, judged_before: datetime) -> Reading[None]:
    """Move the window day by day, since the tier falls on the day on which it is not kept any more."""
    for at, _, sums in (yield from days_leaving(run, start, moment)):
        subtract(run.program, run.values, sums)
        if at < judged_before:
            before = run.begin(at)
            fall_at_once(run, "window")
            run.close(before)
    run.oldest = start
