"""The machine on histories in memory, in the form in which the slow model answers."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from services.tiers.rules.judging import machine
from services.tiers.rules.judging.answering import InMemory
from services.tiers.rules.judging.machine import Happenings
from services.tiers.rules.judging.run import Entry as Judged
from services.tiers.rules.judging.state import Assignment, State, Values
from services.tiers.rules.metrics import Change
from services.tiers.rules.program.compiled import Program
from services.tiers.rules.program.document import ProgramDocument
from services.tiers.rules.program.versions import Versions
from shared.contracts.values import UNITS
from tests.tiers.oracles import facts
from tests.tiers.oracles.model import METRICS, Entry, Outcome

SINCE_EVER = datetime(1, 1, 1, tzinfo=UTC)


def versions_of(documents: Sequence[tuple[datetime | None, Mapping[str, Any]]]) -> Versions:
    """The compiled versions of documents, numbered from 1."""
    return Versions(
        [
            (at or SINCE_EVER, Program.of(number, ProgramDocument.model_validate(document)))
            for number, (at, document) in enumerate(documents, 1)
        ]
    )


def change_of(change: Any) -> Change:
    """A change as the machine counts it: money in ten-thousandths."""
    amount = change.amount
    if change.metric == "spend":
        money = Fraction(amount) * UNITS
        amount = money.numerator if money.denominator == 1 else money
    return Change(change.at, change.earned_at, change.metric, change.name, amount, change.is_taking)


def assignment_of(number: int, given: facts.Assignment) -> Assignment:
    """A tier given by hand; the last of one instant stands."""
    return Assignment(given.at, given.tier, given.until, given.locked, f"{number:06}")


def judge(
    documents: Sequence[tuple[datetime | None, Mapping[str, Any]]],
    changes: Iterable[facts.Changed],
    assignments: Iterable[facts.Assignment],
    now: datetime,
) -> Outcome:
    """Judge a customer from nothing, in order."""
    versions = versions_of(documents)
    counted = [change_of(change) for change in changes]
    given = [assignment_of(number, own) for number, own in enumerate(assignments)]
    memory = InMemory(counted)
    state, entries = memory.run(
        machine.advance(versions, machine.unknown(versions, now), Happenings(counted, given), now)
    )
    return outcome(versions, memory, state, entries, now)


def outcome(versions: Versions, memory: InMemory, state: State, entries: Iterable[Judged], now: datetime) -> Outcome:
    """The outcome of a run at an instant, with the metrics of then."""
    standing = state.standing
    program = versions.version(state.version)
    values = memory.run(machine.values_at(versions, state, now))
    return Outcome(
        tier=standing.tier,
        since=standing.since,
        valid_until=standing.valid_until,
        grace_until=standing.grace_until,
        locked_until=standing.locked_until,
        points_multiplier=program.tier(standing.tier).points_multiplier,
        metrics={metric: _shown(metric, values) for metric in METRICS},
        activities={name: Fraction(values.get(f"activities/{name}", 0)) for name in sorted(program.activities)},
        entries=tuple(_entry(versions, entry) for entry in entries if entry.kind),
        version=program.version,
    )


def _shown(metric: str, values: Values) -> Fraction:
    value = Fraction(values.get(metric, 0))
    return value / UNITS if metric == "spend" else value


def _entry(versions: Versions, entry: Judged) -> Entry:
    assert entry.kind is not None
    standing = entry.standing
    return Entry(
        at=entry.at,
        before=entry.before.tier,
        tier=standing.tier,
        points_multiplier=versions.version(entry.version).tier(standing.tier).points_multiplier,
        valid_until=standing.valid_until,
        kind=entry.kind,
        reason=entry.reason,
    )
