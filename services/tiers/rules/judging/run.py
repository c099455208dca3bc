"""A run over time: the state of a customer while instants are judged, and what all steps of judging share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, cast
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from services.tiers.rules.judging.conditions import add, values_of
from services.tiers.rules.judging.state import Basis, Foothold, Span, Standing, State, Values
from services.tiers.rules.metrics import Amount, Change, Metric, Reading, Request, Sums
from services.tiers.rules.program.calendar import Calendar
from services.tiers.rules.program.compiled import Period, Program, Tier
from services.tiers.rules.program.versions import Versions

Kind = Literal["promoted", "demoted", "retained"]

_Net = dict[tuple[Metric, str], Amount]

MOMENT: Final = timedelta(microseconds=1)
"""The resolution of time: everything up to an instant happened before the next moment."""

_MOST_KNOWN: Final = 8
"""Periods whose sums a run keeps up to date."""
_LAST: Final = datetime.max.replace(tzinfo=UTC)


def following(moment: datetime) -> datetime:
    """The moment after an instant; of the last instant of the calendar, itself."""
    return moment if moment == _LAST else moment + MOMENT


class Entry(NamedTuple):
    """An instant at which the standing changed, from `before` (by `version_before`) to `standing` (by `version`).

    `kind` is None where nothing changed that customers see: tier, multiplier and `valid_until` are as before.
    """

    at: datetime
    before: Standing
    version_before: int
    standing: Standing
    version: int
    kind: Kind | None
    reason: str
    metrics: Values


def calendar_of(program: Program, anchor: datetime | None) -> Calendar:
    """The calendar of a version for a customer, of whom something counted first at `anchor`."""
    return _calendar(program.zone, program.period, anchor if program.period.kind == "anniversary" else None)


@lru_cache(maxsize=4096)
def _calendar(zone: ZoneInfo, period: Period, anchor: datetime | None) -> Calendar:
    return Calendar(zone, period, anchor)


@dataclass(slots=True)
class Run:
    """The state of a customer at `at`, which moves forward, and the entries made so far."""

    versions: Versions
    program: Program
    standing: Standing
    at: datetime | None
    anchor: datetime | None
    oldest: datetime | None
    values: dict[str, Amount]
    calendar: Calendar
    entries: list[Entry] = field(default_factory=list[Entry])
    reason: str = ""
    """The reason of the last change of the standing at the current instant."""
    reasons: dict[int, str] = field(default_factory=dict[int, str])
    """The last reason at the current instant for which the customer fell (-1) or rose (1)."""
    rank: int = 0
    """The position of the current tier, in the version that had it last."""
    applied: Sequence[Change] = ()
    """The changes of the current instant."""
    known: dict[Span, _Net] = field(default_factory=dict[Span, _Net])
    """Sums of periods net of everything up to now: what is asked for once is kept up to date by the changes."""

    @classmethod
    def of(cls, versions: Versions, state: State) -> "Run":
        """A run from a state."""
        program = versions.version(state.version)
        calendar = calendar_of(program, state.anchor)
        values = dict(state.metrics)
        run = cls(versions, program, state.standing, state.at, state.anchor, state.oldest, values, calendar)
        run.rank = run.tier.rank
        return run

    def state(self) -> State:
        """The state at `at`."""
        return State(self.standing, self.program.version, self.at, self.anchor, self.oldest, self.values)

    @property
    def tier(self) -> Tier:
        """The current tier."""
        return self.program.tier(self.standing.tier)

    def use(self, program: Program) -> None:
        """Judge by another version from here on."""
        self.program = program
        if self.standing.tier in program:
            self.rank = self.tier.rank
        self.calendar = calendar_of(program, self.anchor)

    def set_anchor(self, anchor: datetime) -> None:
        """Set the first instant at which anything counted."""
        self.anchor = anchor
        self.calendar = calendar_of(self.program, anchor)

    def ends(self, tier: Tier) -> bool:
        """Whether a tier has a `valid_until`, at which it has to be kept."""
        return self.program.has_ends and tier.rank > 0 and not tier.permanent

    def falls_at_once(self) -> bool:
        """Whether the tier falls at the instant at which it is not kept any more."""
        downgrade, standing = self.program.downgrade, self.standing
        if downgrade.when != "at_once" or downgrade.to == "never" or standing.assigned:
            return False
        return self.tier.rank > 0 and not self.tier.permanent

    def change(self, reason: str, tier: Tier, **changes: Any) -> None:  # noqa: ANN401 the fields of a standing
        """Change the standing at the current instant; `since` follows from the tier."""
        assert self.at is not None, "something happened"
        since = self.standing.since if tier.id == self.standing.tier else self.at
        self.standing = replace(self.standing, tier=tier.id, since=since, **changes)
        self.reason = self.reasons[(tier.rank > self.rank) - (tier.rank < self.rank)] = reason
        self.rank = tier.rank

    def window(self) -> tuple[Span]:
        """The window of the current instant, as far as it is known: events come after versions and what falls due."""
        assert self.at is not None, "something happened"
        known = following(self.at) if self.applied else self.at
        return (Span(self.calendar.window(self.at), known),)

    def ended(self, end: datetime) -> tuple[Span, ...]:
        """The periods that end with an instant."""
        return tuple(Span(*period) for period in self.calendar.ended(end))

    def hold(self, reason: str, tier: Tier, valid_until: datetime | None, periods: Iterable[Span]) -> None:
        """Put the customer into a tier by right: it is reached or kept, and stands on these periods."""
        basis = Basis(self.program.version, tier.id, tuple(periods)) if tier.rank else None
        self.settle(reason, tier, valid_until, basis)

    def fall(self, reason: str, tier: Tier, valid_until: datetime | None) -> None:
        """Put the customer into a tier of which nothing held: it stands on what it stood on when it was kept last."""
        self.settle(reason, tier, valid_until, self.standing.own_basis(tier.id))

    def settle(self, reason: str, tier: Tier, valid_until: datetime | None, basis: Basis | None) -> None:
        """Put the customer into a tier by right, without grace or assignment; all tiers above it are lost."""
        reached, lost = self.footholds(tier)
        lost = tuple(foothold for foothold in lost if foothold.tier != tier.id or basis is None)
        self.change(
            reason,
            tier,
            valid_until=valid_until,
            grace_until=None,
            assigned=None,
            basis=basis,
            reached=(*reached, Foothold(tier.id, basis)),
            lost=lost,
        )

    def footholds(self, tier: Tier) -> tuple[tuple[Foothold, ...], tuple[Foothold, ...]]:
        """The tiers that were reached below a tier, and what others stood on last."""
        standing = self.standing
        lower = tuple(own for own in standing.reached if self.program.tier(own.tier).rank < tier.rank)
        lost = {own.tier: own for own in (*standing.lost, *standing.reached[len(lower) :]) if own.basis is not None}
        return lower, tuple(lost.values())

    def floor(self) -> Foothold | None:
        """The tier below which no fall and no end of an assignment leads (answers.md T10).

        Of the tiers that were reached and not lost since, it is the highest that is permanent, under `never` any.
        """
        is_never = self.program.downgrade.to == "never"
        for foothold in reversed(self.standing.reached):
            if is_never or self.program.tier(foothold.tier).permanent:
                return foothold
        return None

    def at_least_floor(self, tier: Tier) -> Tier:
        """A tier, or the floor if that is higher."""
        floor = self.floor()
        if floor is None:
            return tier
        return max(tier, self.program.tier(floor.tier), key=lambda own: own.rank)

    def values_before(self) -> Values:
        """The values right before the changes of the current instant."""
        values = dict(self.values)
        for change in self._in_window():
            add(self.program, values, change.metric, change.name, -change.amount)
        return values

    def apply(self, changes: Sequence[Change]) -> None:
        """Add the changes of the current instant to the values."""
        self.applied = changes
        for span, sums in self.known.items():
            _keep_up(span, sums, changes)
        for change in self._in_window():
            add(self.program, self.values, change.metric, change.name, change.amount)
            if self.oldest is None or change.earned_at < self.oldest:
                self.oldest = change.earned_at

    def net(self, periods: Sequence[Span]) -> Reading[list[Sums]]:
        """The sums of periods, net of everything that happened up to the current instant."""
        assert self.at is not None, "something happened"
        missing = [span for span in periods if span not in self.known]
        if missing:
            if len(self.known) >= _MOST_KNOWN:
                self.known.clear()
                missing = list(periods)
            found = yield from sums_in(missing, following(self.at))
            self.known.update((span, dict(sums)) for span, sums in zip(missing, found, strict=True))
        return [self.known[span] for span in periods]

    def _in_window(self) -> Sequence[Change]:
        """The changes of the current instant that were earned in its window."""
        assert self.at is not None, "the changes happened"
        start = self.calendar.window(self.at)
        return self.applied if start is None else [change for change in self.applied if change.earned_at >= start]

    def renamed(self, tier: str, version: int) -> Tier:
        """A tier of an earlier version by its id today: where a version lacks it, its `moves` say which it became."""
        effective_at = self.versions.effective_at(version)
        while version != self.program.version:
            following = self.versions.after(effective_at)
            assert following is not None, "the current version follows"
            effective_at, program = following
            version = program.version
            tier = tier if tier in program else program.moves.get(tier, program.first.id)
        return self.program.tier(tier)

    def begin(self, at: datetime) -> tuple[Standing, int]:
        """Begin an instant; returns the standing and the version before it."""
        before = self.standing, self.program.version
        self.at, self.applied, self.reason = at, (), ""
        self.reasons.clear()
        return before

    def close(self, before: tuple[Standing, int]) -> None:
        """Close the current instant: an entry is made where the standing changed."""
        old, version = before
        if self.standing is old and version == self.program.version:
            return
        if old.tier == self.standing.tier and old.since != self.standing.since:
            # It was left and reached again at one instant.
            self.standing = replace(self.standing, since=old.since)
        tier_before, tier = self.versions.version(version).tier(old.tier), self.tier
        is_visible = (
            old.tier != self.standing.tier
            or tier_before.points_multiplier != tier.points_multiplier
            or old.valid_until != self.standing.valid_until
            or self.reason == "assigned"
        )
        if not is_visible and old == self.standing:
            return
        assert self.at is not None, "something happened"
        moved = direction(tier_before, self.program, tier)
        kind = ("promoted" if moved > 0 else "demoted" if moved < 0 else "retained") if is_visible else None
        reason = (self.reasons.get(moved) if moved else None) or self.reason or "program"
        metrics = dict(self.values)
        self.entries.append(Entry(self.at, old, version, self.standing, self.program.version, kind, reason, metrics))


def _keep_up(span: Span, sums: _Net, changes: Iterable[Change]) -> None:
    """Add changes to the sums of a period."""
    for change in changes:
        if change.earned_at < span.before and (span.since is None or change.earned_at >= span.since):
            key = change.metric, change.name
            sums[key] = sums.get(key, 0) + change.amount


def direction(before: Tier, program: Program, after: Tier) -> int:
    """Whether a customer rose (1) or fell (-1) from a tier to one of `program`; 0: neither.

    Where the program lacks the tier before, the positions in the lists of both versions count (answers.md T19).
    """
    rank = program.tier(before.id).rank if before.id in program else before.rank
    return (after.rank > rank) - (after.rank < rank)


def sums_in(periods: Iterable[Span], known: datetime) -> Reading[list[Sums]]:
    """The sums of changes in periods, as far as they happened before an instant."""
    requests = [Request(span.since, min(span.before, known), known) for span in periods]
    answers = yield requests
    return [cast("Sums", answer) for answer in answers]


def values_in(program: Program, periods: Iterable[Span], known: datetime) -> Reading[list[Values]]:
    """The values of a program in periods, as far as changes happened before an instant."""
    sums = yield from sums_in(periods, known)
    return [values_of(program, own) for own in sums]


def days_leaving(run: Run, start: datetime, moment: datetime) -> Reading[list[tuple[datetime, date, Sums]]]:
    """The days that leave a rolling window until it begins at `start`: the instant, the day and its sums."""
    assert run.at is not None, "something happened"
    answers = yield [Request(run.calendar.window(run.at), start, moment, run.program.zone.key)]
    by_day = cast("dict[date, Sums]", answers[0])
    # Near the end of the calendar, days never leave.
    leaving = [day for day in sorted(by_day) if day.toordinal() + run.program.period.days <= date.max.toordinal()]
    span = timedelta(days=run.program.period.days)
    return [(run.calendar.start(day + span), day, by_day[day]) for day in leaving]
