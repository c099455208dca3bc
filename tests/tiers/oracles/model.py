"""Tiers by the wording of programs.md and answers.md: everything replayed from the beginning, instant by instant."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from tests.tiers.oracles.calendars import TICK, day_start
from tests.tiers.oracles.customer import Customer
from tests.tiers.oracles.dues import fall_due, next_due
from tests.tiers.oracles.facts import Assignment, Changed
from tests.tiers.oracles.happening import happen
from tests.tiers.oracles.programs import Condition, Document, Program, programs_of
from tests.tiers.oracles.publication import apply_version

METRICS = ("spend", "orders", "points", "reviews", "referrals", "activities")


@dataclass(frozen=True)
class Entry:
    """One step of the timeline: from the tier before an instant to the tier after it."""

    at: datetime
    before: str
    tier: str
    points_multiplier: str
    valid_until: datetime | None
    kind: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """A customer at an instant; `metrics` are those of the window of then, `activities` those by name."""

    tier: str
    since: datetime | None
    valid_until: datetime | None
    grace_until: datetime | None
    locked_until: datetime | None
    points_multiplier: str
    metrics: Mapping[str, Fraction]
    activities: Mapping[str, Fraction]
    entries: Sequence[Entry]
    version: int


def judge(
    versions: Sequence[tuple[datetime | None, Document]],
    changes: Iterable[Changed],
    assignments: Iterable[Assignment],
    now: datetime,
) -> Outcome:
    """Judge a customer from nothing.

    Args:
        versions: the published versions by `effective_at`; the first is in force since ever.
        changes: all changes of the customer's metrics, in any order.
        assignments: all tiers given by hand; of several at one instant the last stands.
        now: what happens or falls due up to and including this instant counts.
    """
    replay = Replay(versions, changes, assignments)
    replay.run(now)
    return replay.outcome(now)


class Replay:
    """The replay of one customer from the beginning."""

    def __init__(
        self,
        versions: Sequence[tuple[datetime | None, Document]],
        changes: Iterable[Changed],
        assignments: Iterable[Assignment],
    ) -> None:
        self.changes, self.assignments = list(changes), list(assignments)
        self.programs = programs_of(versions)
        self.customer = Customer(self.programs, self.changes, [given.at for given in self.assignments])
        self.entries: list[Entry] = []

    def run(self, now: datetime, *, before_events: bool = False, after: datetime | None = None) -> None:
        """Replay up to an instant; `before_events`: of that instant only the version and what falls due.

        `after` is the instant up to which it was replayed before.
        """
        instants = [instant for instant in self._instants() if instant <= now]
        last = after
        while True:
            due = next_due(self.customer)
            ahead = [
                instant for instant in (*instants, due) if instant is not None and (last is None or instant > last)
            ]
            last = min(ahead, default=None)
            if last is None or last >= now:
                break
            self._apply(last, before_events=False)
        if last == now or before_events:
            self._apply(now, before_events=before_events)

    def outcome(self, now: datetime) -> Outcome:
        """The state after a run, with the metrics of an instant."""
        state, program = self.customer.state, self.customer.program
        (window,) = self.customer.window(now, now + TICK)

        def value(metric: str, activity: str | None = None) -> Fraction:
            return program.value(Condition(metric, activity, Fraction(1)), self.changes, window, now + TICK)

        names = sorted({change.name for change in self.changes if change.metric == "activities"})
        return Outcome(
            tier=state.tier,
            since=state.since,
            valid_until=state.valid_until,
            grace_until=state.grace_until,
            locked_until=state.until if state.locked else None,
            points_multiplier=program.tier(state.tier).multiplier,
            metrics={metric: value(metric) for metric in METRICS},
            activities={name: value("activities", name) for name in names if value("activities", name)},
            entries=tuple(self.entries),
            version=program.number,
        )

    def _instants(self) -> list[datetime]:
        """Every instant at which something may change by itself: all but what falls due, which depends on the state."""
        instants = {change.at for change in self.changes} | {given.at for given in self.assignments}
        instants |= {program.effective_at for program in self.programs[1:] if program.effective_at is not None}
        for program in self.programs:
            if program.kind == "rolling_days":
                instants |= {_leaves(program, change.earned_at) for change in self.changes}
        return sorted(instants)

    def _apply(self, instant: datetime, *, before_events: bool) -> None:
        """One instant: a new version, what falls due, the events together; at most one entry (T17)."""
        customer = self.customer
        customer.steps = []
        before_program, before = customer.program, self._shown()
        version = next((program for program in self.programs[1:] if program.effective_at == instant), None)
        if version is not None:
            apply_version(customer, instant, version)
            if not customer.is_known(instant):
                before_program, before = customer.program, self._shown()
        fall_due(customer, instant)
        given: list[Assignment] = []
        if not before_events:
            changes = [change for change in self.changes if change.at == instant]
            given = [assignment for assignment in self.assignments if assignment.at == instant]
            happen(customer, instant, changes, given)
        if customer.state.tier != before[0]:
            customer.state.since = instant
        if self._shown() != before or given:
            self.entries.append(self._entry(instant, before_program, before[0]))

    def _shown(self) -> tuple[str, Fraction, datetime | None]:
        state = self.customer.state
        return state.tier, Fraction(self.customer.program.tier(state.tier).multiplier), state.valid_until

    def _entry(self, instant: datetime, before_program: Program, before: str) -> Entry:
        state, program, steps = self.customer.state, self.customer.program, self.customer.steps
        came_from = program.place(before) if program.has(before) else before_program.place(before)
        rise = 0 if state.tier == before else program.place(state.tier) - came_from
        kind = "promoted" if rise > 0 else "demoted" if rise < 0 else "retained"
        reasons = [reason for direction, reason in steps if direction * rise > 0] or [reason for _, reason in steps]
        return Entry(
            at=instant,
            before=before,
            tier=state.tier,
            points_multiplier=program.tier(state.tier).multiplier,
            valid_until=state.valid_until,
            kind=kind,
            reason=reasons[-1] if reasons else "program",
        )


def _leaves(program: Program, earned_at: datetime) -> datetime:
    """The midnight at which a day leaves the window."""
    return day_start(program.day(earned_at) + timedelta(days=program.days), program.zone)
