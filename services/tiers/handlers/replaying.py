"""What is stored of customers, compared with a replay from nothing."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from msgspec import MsgspecError

from services.tiers.handlers.announcing import timeline_entry
from services.tiers.handlers.judging import assignment_of, standing_of
from services.tiers.rules.at_risk import due, end_set_at, notices
from services.tiers.rules.benefits import counted_since
from services.tiers.rules.judging.answering import InMemory
from services.tiers.rules.judging.machine import Advanced, Happenings, advance, next_due, unknown, values_at
from services.tiers.rules.judging.run import calendar_of
from services.tiers.rules.judging.state import State, Values, decode_state
from services.tiers.rules.program.versions import Versions
from services.tiers.rules.telling import Step, compact
from services.tiers.store import assignments, customers, metrics, replays, timelines
from services.tiers.store.benefits import Use
from services.tiers.store.customers import Customer
from services.tiers.store.replays import Steps
from services.tiers.store.timelines import TimelineEntry
from shared.contracts.values import parse_instant
from shared.postgres.pool import Connection


class Stored(NamedTuple):
    """What is stored of a customer, and everything that happened to them."""

    customer: Customer
    entries: Sequence[TimelineEntry]
    happenings: Happenings
    told: Sequence[Steps]
    uses: Sequence[Use]
    judged: frozenset[int]


async def load(connection: Connection, customer_ids: Sequence[str]) -> list[Stored]:
    """What is stored of customers who are judged up to date."""
    own = await customers.read(connection, customer_ids)
    prompt = [name for name, customer in own.items() if customer.rejudge_from is None and customer.carried]
    ever = dict.fromkeys(prompt)
    changes = await metrics.load_changes(connection, ever)
    given = await assignments.load_from(connection, ever)
    entries = await timelines.load_from(connection, ever)
    told = await replays.load_told(connection, prompt)
    uses = await replays.load_uses(connection, prompt)
    judged = await replays.load_judged(connection, prompt)
    return [
        Stored(
            own[name],
            entries[name],
            Happenings(changes[name].changes, [assignment_of(assignment) for assignment in given[name]]),
            told.get(name, ()),
            uses.get(name, ()),
            frozenset(judged.get(name, ())),
        )
        for name in prompt
    ]


def offending(versions: Versions, stored: Stored, now: datetime) -> list[str]:
    """The names of the checks that a customer fails."""
    return [name for name, is_right in CHECKS.items() if not _holds(is_right, versions, stored, now)]


def is_replayed(versions: Versions, stored: Stored, now: datetime) -> bool:
    """Whether state, metrics and timeline are those of a replay of events, versions and assignments from nothing."""
    customer, happenings = stored.customer, stored.happenings
    if customer.state is None or customer.judged_at is None:
        is_untouched = customer.state is None and customer.judged_at is None and not stored.entries
        return is_untouched and not any(True for _ in (*happenings.changes, *happenings.assignments))
    memory, until = InMemory(happenings.changes), customer.judged_at
    replayed: Advanced = memory.run(advance(versions, unknown(versions, until), happenings, until))
    state, again = decode_state(customer.state), replayed.state
    entries = [timeline_entry(versions, customer.customer_id, entry) for entry in replayed.entries]
    moment = max(until, now)
    return (
        _row(customer) == _row_of(state)
        and _judged(state) == _judged(again)
        and _values(versions, state, moment, memory) == _values(versions, again, moment, memory)
        and [_plain(entry) for entry in stored.entries] == [_plain(entry) for entry in entries]
    )


def is_told(versions: Versions, stored: Stored, _now: datetime) -> bool:
    """Whether what was published, put together, is the timeline."""
    if any(steps is None for steps in stored.told):
        return True  # an earlier release published a part of it
    told: list[Step] = []
    for steps in stored.told:
        own = [Step(parse_instant(at), tier, multiplier) for at, tier, multiplier in steps or ()]
        told = [step for step in told if not own or step.at < own[0].at] + own
    entries = [Step(entry.effective_at, entry.tier, entry.points_multiplier) for entry in stored.entries]
    first = min((step.at for step in (*told, *entries)), default=None)
    if first is None:
        return True
    # Who is unknown is in the first tier, which a version that takes effect at that very instant may have changed.
    before = first if first == datetime.min.replace(tzinfo=UTC) else first - timedelta(microseconds=1)
    begins = {tier.id: tier for tier in (versions.in_force(first).first, versions.in_force(before).first)}
    bases = [Step(first, tier.id, tier.points_multiplier) for tier in begins.values()]
    return any(compact(base, told) == compact(base, entries) for base in bases)


def is_due_right(versions: Versions, stored: Stored, now: datetime) -> bool:
    """Whether `due_at` is when something falls due next, and no warning is planned too late."""
    customer = stored.customer
    if customer.state is None:
        return customer.due_at is None and customer.warn_at is None
    state, memory = decode_state(customer.state), InMemory(stored.happenings.changes)
    end = memory.run(next_due(versions, state))
    if customer.due_at != min(filter(None, (end, customer.warn_at)), default=None):
        return False
    next_ = _next_warning(versions, stored, state, now)
    return next_ is None or (customer.warn_at is not None and customer.warn_at <= next_)


def is_used_right(versions: Versions, stored: Stored, _now: datetime) -> bool:
    """Whether every use of a benefit was within what the version of then allows."""
    anchor = None if stored.customer.state is None else decode_state(stored.customer.state).anchor
    before: dict[str, list[datetime]] = {}
    for use in stored.uses:
        program = versions.version(use.program_version)
        tier = program.tier(use.tier) if use.tier in program else program.first
        benefit = next((own for own in tier.benefits if own.id == use.benefit), None)
        if benefit is None or not benefit.is_valid_at(use.used_at):
            return False
        used = before.setdefault(use.benefit, [])
        if benefit.uses is None:
            left = None
        else:
            since = counted_since(program, calendar_of(program, anchor), benefit.uses, use.used_at)
            left = benefit.uses.count - 1 - sum(since is None or at >= since for at in used)
        if use.uses_left != left:
            return False
        used.append(use.used_at)
    return True


Right = Callable[[Versions, Stored, datetime], bool]

CHECKS: Final[Mapping[str, Right]] = {
    "tiers, metrics and timelines = a replay from nothing": is_replayed,
    "what was published, put together = the timeline": is_told,
    "what falls due next is planned": is_due_right,
    "benefits were used within their uses": is_used_right,
}
"""The checks of a customer, by name."""


def _holds(is_right: Right, versions: Versions, stored: Stored, now: datetime) -> bool:
    try:
        return is_right(versions, stored, now)
    except (LookupError, ValueError, MsgspecError):
        return False  # a version or a tier that there is not, or a state that cannot be read


def _next_warning(versions: Versions, stored: Stored, state: State, now: datetime) -> datetime | None:
    """The next moment of a warning of the current end that was not judged yet."""
    set_at = end_set_at([(entry.effective_at, entry.valid_until) for entry in stored.entries])
    if set_at is None or state.standing.valid_until is None or state.standing.valid_until <= now:
        return None
    due_now = (notice.at for notice in due(versions, state.standing, set_at, now, stored.judged))
    planned = notices(versions.version(state.version), state.standing)
    ahead = (notice.at for notice in planned if notice.at > now and notice.days not in stored.judged)
    return min((*due_now, *(at for at in ahead if at > set_at)), default=None)


def _row(customer: Customer) -> tuple[object, ...]:
    return customer[1:7]


def _row_of(state: State) -> tuple[object, ...]:
    standing = state.standing
    return state.at, state.tier, standing.since, standing.valid_until, standing.grace_until, state.version


def _judged(state: State) -> tuple[object, ...]:
    return state.standing, state.version, state.at, state.anchor


def _values(versions: Versions, state: State, moment: datetime, memory: InMemory) -> dict[str, object]:
    """The values that are not 0, in the window of an instant."""
    values: Values = memory.run(values_at(versions, state, moment))
    return {key: value for key, value in values.items() if value}


def _plain(entry: TimelineEntry) -> tuple[object, ...]:
    """An entry, however its state is written down."""
    return (*entry[:-1], standing_of(entry))
