"""Records and announces what judging changed: states, timelines, history and events."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from msgspec import to_builtins

from services.tiers.handlers.arrivals import Arrival
from services.tiers.rules.amount import reached_value
from services.tiers.rules.judging.machine import Advanced
from services.tiers.rules.judging.run import Entry
from services.tiers.rules.judging.state import encode_state
from services.tiers.rules.program.compiled import Program
from services.tiers.rules.program.versions import Versions
from services.tiers.rules.progress import nearest, ways
from services.tiers.rules.telling import Announcement, Ended, Step, of_entry, of_late
from services.tiers.store import customers, timelines
from services.tiers.store.customers import Customer
from services.tiers.store.timelines import Change, TimelineEntry
from shared.contracts.envelope import Cause, Publication, publication
from shared.contracts.values import format_instant
from shared.messaging import outbox
from shared.postgres.pool import Connection

SOURCE: Final = "/wafa/tiers"


class Due(NamedTuple):
    """When the tier can end or fall next, and when it may have to be judged next to be at risk."""

    end_at: datetime | None
    warn_at: datetime | None

    @property
    def at(self) -> datetime | None:
        """The earlier of the two."""
        return min(filter(None, self), default=None)


class Judged(NamedTuple):
    """A customer who was judged, with what arrived.

    Of a customer who was judged again, `since` is the first late instant, `base` the step in force right before it,
    and `old` the timeline from there on as it was.
    """

    customer: Customer
    advanced: Advanced
    due: Due
    arrivals: Sequence[Arrival] = ()
    since: datetime | None = None
    base: Step | None = None
    old: tuple[Sequence[Step], Ended] | None = None


class Told(NamedTuple):
    """An announcement with its cause; `arrival` is what arrived, None where it fell due."""

    customer_id: str
    announcement: Announcement
    time: datetime
    arrival: Arrival | None


async def announce(connection: Connection, versions: Versions, judged: Mapping[str, Judged], now: datetime) -> None:
    """Store judged customers, and record and publish what changed; the customers are locked."""
    await customers.save(connection, [_row(own) for own in judged.values()])
    late = {name: own.since for name, own in judged.items() if own.since is not None}
    entries = [timeline_entry(versions, name, entry) for name, own in judged.items() for entry in own.advanced.entries]
    await timelines.replace(connection, late, entries)
    told = [item for name, own in judged.items() for item in _tell(versions, name, own)]
    if not told:
        return
    due = {item.customer_id for item in told if item.arrival is None}
    causes = await timelines.load_causes(connection, due) if due else {}
    changes: list[Change] = []
    publications: list[Publication] = []
    for item in told:
        cause = item.arrival.cause if item.arrival else _cause_of_due(item, causes)
        published = _publication(versions, item, cause)
        causes[item.customer_id] = Cause(cause.correlation_id, published.event_id)
        publications.append(published)
        changes.append(_change(item, published, cause, now))
    await timelines.record(connection, changes)
    await outbox.announce(connection, publications)


def publication_id(number: int) -> str:
    """The id of the publication of a version, as the cause of events."""
    return f"tier-program-{number}"


def _tell(versions: Versions, customer_id: str, judged: Judged) -> Iterator[Told]:
    if judged.since is not None:
        announcement = _told_late(versions, judged)
        if announcement is not None:
            arrival = _arrived_by(judged.arrivals, announcement.effective_at)
            yield Told(customer_id, announcement, arrival.time, arrival)
        return
    for entry in judged.advanced.entries:
        announcement = of_entry(versions, entry)
        if announcement is not None:
            arrival = next((own for own in reversed(judged.arrivals) if _happens_at(own, entry.at)), None)
            yield Told(customer_id, announcement, arrival.time if arrival else entry.at, arrival)


def _told_late(versions: Versions, judged: Judged) -> Announcement | None:
    assert judged.base is not None, "a customer who was judged again has a base"
    assert judged.old is not None, "a customer who was judged again had a timeline"
    state = judged.advanced.state
    new = judged.advanced.entries, Ended(state.standing, state.version, state.metrics)
    arrival = min(judged.arrivals, key=lambda own: own.first)
    announcement = of_late(versions, judged.base, judged.old, new, arrival.reason)
    if announcement is None:
        return None
    return announcement._replace(reason=_arrived_by(judged.arrivals, announcement.effective_at).reason)


def _arrived_by(arrivals: Sequence[Arrival], moment: datetime) -> Arrival:
    """Of what arrived, the last that happened by an instant: what changed from there on is its effect."""
    by_then = [own for own in arrivals if own.first <= moment]
    return max(by_then, key=lambda own: own.first) if by_then else arrivals[-1]


def _happens_at(arrival: Arrival, moment: datetime) -> bool:
    return any(happening.at == moment for happening in (*arrival.changes, *arrival.assignments))


def _cause_of_due(item: Told, causes: Mapping[str, Cause]) -> Cause:
    """The cause of what fell due: the publication of the version, or the event that set what ended (answers.md T42)."""
    announcement = item.announcement
    if announcement.reason == "program":
        return Cause.of_request(publication_id(announcement.program_version))
    return causes.get(item.customer_id) or Cause.of_request(publication_id(announcement.program_version))


def _row(judged: Judged) -> Customer:
    state = judged.advanced.state
    known = state.at is not None
    return judged.customer._replace(
        judged_at=state.at,
        tier=state.tier if known else None,
        since=state.standing.since,
        valid_until=state.standing.valid_until,
        grace_until=state.standing.grace_until,
        program_version=state.version if known else None,
        state=encode_state(state) if known else None,
        due_at=judged.due.at,
        warn_at=judged.due.warn_at,
        rejudge_from=None,
        carried=True,
        rejudge_for=None,
    )


def timeline_entry(versions: Versions, customer_id: str, entry: Entry) -> TimelineEntry:
    """An entry as it is stored."""
    tier = versions.version(entry.version).tier(entry.standing.tier)
    return TimelineEntry(
        customer_id,
        entry.at,
        tier.id,
        tier.points_multiplier,
        entry.standing.valid_until,
        entry.version,
        entry.kind,
        entry.reason if entry.kind else None,
        entry.before.tier,
        to_builtins(entry.standing),
    )


def _change(item: Told, published: Publication, cause: Cause, now: datetime) -> Change:
    announcement, arrival = item.announcement, item.arrival
    return Change(
        item.customer_id,
        announcement.kind,
        announcement.from_,
        announcement.to,
        announcement.reason,
        announcement.program_version,
        announcement.effective_at,
        announcement.valid_until,
        now,
        {key: reached_value(key, value) for key, value in announcement.metrics.items() if value},
        arrival.source if arrival else SOURCE,
        arrival.id if arrival else cause.causation_id,
        published.event_id,
        cause.correlation_id,
        arrival.actor if arrival else None,
        arrival.note if arrival else None,
        [(format_instant(step.at), step.tier, step.points_multiplier) for step in announcement.timeline],
    )


def _publication(versions: Versions, item: Told, cause: Cause) -> Publication:
    announcement = item.announcement
    data: dict[str, Any] = {
        "customer_id": item.customer_id,
        "program_version": announcement.program_version,
        "from": announcement.from_,
        "to": announcement.to,
        "reason": announcement.reason,
        "effective_at": format_instant(announcement.effective_at),
    }
    if announcement.valid_until is not None:
        data["valid_until"] = format_instant(announcement.valid_until)
    data["points_multiplier"] = announcement.points_multiplier
    data["timeline"] = list(_timeline(announcement.timeline))
    progress = _progress(announcement.judged_by(versions), announcement)
    if progress is not None:
        data["progress"] = progress
    return publication(f"loyalty.tier.{announcement.kind}.v1", item.time, data, cause, SOURCE)


def _timeline(steps: Iterable[Step]) -> Iterator[dict[str, str]]:
    for step in steps:
        yield {
            "effective_at": format_instant(step.at),
            "tier": step.tier,
            "points_multiplier": step.points_multiplier,
        }


def _progress(program: Program, announcement: Announcement) -> dict[str, str] | None:
    """What is reached of the next tier, by the condition that misses most of the nearest way."""
    above = program.above(program.tier(announcement.to))
    missing = nearest(ways(above.enter, announcement.metrics)) if above else ()
    if above is None or not missing:
        return None
    need = max(missing, key=lambda own: own.share)
    metric = need.condition.metric
    return {
        "metric": metric,
        "value": reached_value(metric, need.value),
        "needed": reached_value(metric, need.condition.at_least),
        "next": above.id,
    }
