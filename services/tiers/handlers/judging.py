"""Judges the customers of whom something arrived: in order from their states, or again from a late instant on.

What arrives is recorded before. A customer of whom too much follows a late instant is marked, and judged by a job.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from services.tiers.handlers.announcing import Due, Judged, announce
from services.tiers.handlers.arrivals import Arrival
from services.tiers.handlers.rounds import run
from services.tiers.rules.at_risk import next_notice
from services.tiers.rules.judging.machine import Advanced, Happenings, advance, next_due, restore, unknown
from services.tiers.rules.judging.state import Assignment, Standing, State, decode_standing, decode_state
from services.tiers.rules.metrics import Reading
from services.tiers.rules.program.versions import Versions
from services.tiers.rules.telling import Ended
from services.tiers.rules.telling import Step as TimelineStep
from services.tiers.store import assignments, customers, metrics, timelines
from services.tiers.store.customers import Customer, Mark
from services.tiers.store.timelines import TimelineEntry
from shared.postgres.pool import Connection

MOST_INLINE: Final = 2_000
"""The most changes of a kind that follow a late one and are judged with it; with more, the job judges the customer."""


Arrivals = Mapping[str, Sequence[Arrival]]
"""What arrived, by customer, in the order of arrival."""


async def judge(
    connection: Connection, versions: Versions, locked: Mapping[str, Customer], arrivals: Arrivals, now: datetime
) -> None:
    """Judge customers of whom something arrived, which is recorded; their rows are locked.

    Judging reaches up to `now`, or to what arrived of a later time. What changes is recorded and announced.
    """
    marked = {name for name in arrivals if locked[name].rejudge_from is not None}
    since = {name: _since(versions, locked[name], arrivals[name]) for name in arrivals if name not in marked}
    late = {name: first for name, first in since.items() if _is_late(locked[name], first)}
    pasts = await load_pasts(connection, late, MOST_INLINE)
    marked.update(late.keys() - pasts.keys())
    await customers.mark(connection, {name: _mark(arrivals[name]) for name in marked})
    readings: dict[str, Reading[Judged]] = {}
    for name, own in arrivals.items():
        if name in pasts:
            readings[name] = judged_again(versions, locked[name], pasts[name], own, now)
        elif name not in marked:
            readings[name] = judged_in_order(versions, locked[name], own, now)
    await announce(connection, versions, await run(connection, readings), now)


def judged_in_order(
    versions: Versions, customer: Customer, arrivals: Sequence[Arrival], now: datetime
) -> Reading[Judged]:
    """Judge a customer on from the state: what fell due until `now`, and what arrived."""
    state = state_of(versions, customer, now)
    happenings = Happenings(
        [change for own in arrivals for change in own.changes], [one for own in arrivals for one in own.assignments]
    )
    until = max([now, *(own.last for own in arrivals)])
    advanced = yield from advance(versions, state, happenings, until)
    due = yield from _next_due(versions, (state, customer.warn_at), advanced)
    return Judged(customer, advanced, due, arrivals)


class Past(NamedTuple):
    """What is stored of a customer from a late instant on: `since` itself, the entries, and everything that happened.

    `before` is the last entry before it.
    """

    since: datetime
    before: TimelineEntry | None
    entries: Sequence[TimelineEntry]
    happenings: Happenings

    @property
    def standing(self) -> Standing | None:
        """The standing before it; None: nothing had changed."""
        return standing_of(self.before)


def judged_again(
    versions: Versions, customer: Customer, past: Past, arrivals: Sequence[Arrival], now: datetime
) -> Reading[Judged]:
    """Judge a customer again from a late instant on, with what happened since."""
    state = state_of(versions, customer, now)
    standing = standing_of(past.before)
    until = max([now, *(happening.at for happening in (*past.happenings.changes, *past.happenings.assignments))])
    restored = yield from restore(versions, standing, state.anchor, past.since)
    advanced = yield from advance(versions, restored, past.happenings, until)
    due = yield from _next_due(versions, (unknown(versions, now), customer.warn_at), advanced)
    before = base_of(versions, past)
    old = [TimelineStep(entry.effective_at, entry.tier, entry.points_multiplier) for entry in past.entries]
    ended = Ended(state.standing, state.version, state.metrics)
    return Judged(customer, advanced, due, arrivals, past.since, before, (old, ended))


def _next_due(versions: Versions, before: tuple[State, datetime | None], advanced: Advanced) -> Reading[Due]:
    """What falls due next of a customer who was judged; `before` is as `next_notice` has it."""
    end = yield from next_due(versions, advanced.state)
    return Due(end, next_notice(versions, before, advanced))


def state_of(versions: Versions, customer: Customer, now: datetime) -> State:
    """The stored state of a customer; of whom nothing was judged, that of an unknown one."""
    if customer.state is not None:
        return decode_state(customer.state)
    state = unknown(versions, now)
    if customer.tier is None:
        return state
    # Judged by an earlier release, which stored a tier.
    return State(Standing(customer.tier, customer.since), state.version, customer.judged_at)


async def load_pasts(
    connection: Connection, since: Mapping[str, datetime], limit: int | None = None
) -> dict[str, Past]:
    """What is stored of customers from an instant on, without those of whom there is more than `limit`, if given."""
    loaded = await metrics.load_changes(connection, since, limit)
    whole = {name: since[name] for name, own in loaded.items() if own.until is None}
    if not whole:
        return {}
    before = await timelines.load_last_before(connection, whole)
    entries = await timelines.load_from(connection, whole)
    given = await assignments.load_from(connection, whole)
    return {
        name: Past(
            at,
            before.get(name),
            entries.get(name, ()),
            Happenings(loaded[name].changes, [assignment_of(own) for own in given.get(name, ())]),
        )
        for name, at in whole.items()
    }


def base_of(versions: Versions, past: Past) -> TimelineStep:
    """The step in force right before the late instant."""
    if past.before is not None:
        return TimelineStep(past.before.effective_at, past.before.tier, past.before.points_multiplier)
    first = versions.in_force(past.since).first
    return TimelineStep(past.since, first.id, first.points_multiplier)


def standing_of(entry: TimelineEntry | None) -> Standing | None:
    """The standing from an entry on; None where there is no entry."""
    if entry is None:
        return None
    assert entry.state is not None, "entries without a state are judged from the beginning"
    return decode_standing(entry.state)


def assignment_of(stored: assignments.Assignment) -> Assignment:
    """A stored assignment, as customers are judged by it."""
    return Assignment(stored.at, stored.tier, stored.until, stored.locked, str(stored.id))


def missed(versions: Versions, customer: Customer) -> datetime | None:
    """The instant of the first version that was published after a customer had been judged past that instant.

    What came ahead of time was judged without it, and has to be judged again from then on. None: there is none.
    """
    if customer.judged_at is None or customer.program_version is None:
        return None
    following = versions.following(customer.program_version)
    return following[0] if following is not None and following[0] <= customer.judged_at else None


def outdated_from(versions: Versions, customer: Customer) -> datetime | None:
    """The instant from which on a customer has to be judged again; None: what is stored holds."""
    return min(filter(None, (customer.rejudge_from, missed(versions, customer))), default=None)


def _since(versions: Versions, customer: Customer, arrivals: Iterable[Arrival]) -> datetime:
    """The first instant at which what arrived, or a version that was missed, changes anything."""
    return min(filter(None, (*(own.first for own in arrivals), missed(versions, customer))))


def _is_late(customer: Customer, since: datetime) -> bool:
    return customer.judged_at is not None and since <= customer.judged_at


def _mark(arrivals: Iterable[Arrival]) -> Mark:
    """The mark of a customer whom the job has to judge: from when on, and what arrived first."""
    first = min(arrivals, key=lambda own: own.first)
    arrived = {
        "correlation_id": first.cause.correlation_id,
        "source": first.source,
        "id": first.id,
        "time": first.time.isoformat(),
        "reason": first.reason,
    }
    return Mark(first.first, arrived)
