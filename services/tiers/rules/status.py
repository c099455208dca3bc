"""A customer's tier as of an instant, with what counts, what is missing to the next tier, and what keeps this one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, cast

from services.tiers.rules.judging.conditions import is_kept, subtract, values_of
from services.tiers.rules.judging.machine import Happenings, advance, restore
from services.tiers.rules.judging.run import MOMENT, Run, calendar_of
from services.tiers.rules.judging.state import NOTHING, Standing, State, Values
from services.tiers.rules.metrics import Amount, Reading, Request, Sums
from services.tiers.rules.program.calendar import Calendar
from services.tiers.rules.program.compiled import Condition, ConditionLists, Program, Tier
from services.tiers.rules.program.versions import Versions
from services.tiers.rules.progress import Way, nearest, ways


class Known(NamedTuple):
    """What is stored of a customer.

    `standing` is that of the last entry of the timeline that stands, and happened by the instant that is asked about;
    `rejudge_from` is the instant from which on the timeline is out of date, None if it is not.
    """

    state: State
    standing: Standing | None = None
    rejudge_from: datetime | None = None


class Keeping(NamedTuple):
    """What keeps a tier: at `by` (None: at any time) one of the ways has to hold, as it does now or not."""

    by: datetime | None
    holds: bool
    ways: Sequence[Way]

    @property
    def needs(self) -> Way:
        """What is missing by the nearest way; nothing if the tier is kept."""
        return () if self.holds else nearest(self.ways)


@dataclass(frozen=True, slots=True)
class Status:
    """A customer's tier at an instant, by the version in force; `values` are those of the window of the instant."""

    program: Program
    standing: Standing
    anchor: datetime | None
    values: Values
    to_keep: Keeping | None

    @property
    def tier(self) -> Tier:
        """The tier."""
        return self.program.tier(self.standing.tier)

    @property
    def calendar(self) -> Calendar:
        """The customer's calendar by the version in force."""
        return calendar_of(self.program, self.anchor)

    @property
    def above(self) -> Tier | None:
        """The next higher tier; None in the highest."""
        return self.program.above(self.tier)

    @property
    def to_next(self) -> tuple[Way, ...]:
        """The ways to the next higher tier; none in the highest."""
        return ways(self.above.enter, self.values) if self.above else ()


def status(versions: Versions, known: Known, late: Happenings, moment: datetime) -> Reading[Status]:
    """The status at an instant, with everything that falls due until then.

    `late` is all that happened from `rejudge_from` up to the instant; it is needed only where that is given.
    """
    state = yield from state_at(versions, known, late, moment)
    program = versions.in_force(moment)
    if state.at is None:
        return Status(program, state.standing, None, NOTHING, None)
    calendar = calendar_of(program, state.anchor)
    standing, gone = state.standing, _gone(calendar, state, moment)
    ended = periods(calendar, standing.valid_until, moment) if standing.grace_until is None else []
    requests = [*gone, *ended]
    answers: Sequence[Sums] = cast("Sequence[Sums]", (yield requests)) if requests else ()
    values: dict[str, Amount] = dict(state.metrics)
    for sums in answers[: len(gone)]:
        subtract(program, values, sums)
    in_periods = [values_of(program, sums) for sums in answers[len(gone) :]] or [values]
    by = standing.grace_until or standing.valid_until
    is_to_keep = by is not None or Run.of(versions, state).falls_at_once()
    to_keep = keeping(program.tier(standing.tier), by, in_periods) if is_to_keep else None
    return Status(program, standing, state.anchor, values, to_keep)


def state_at(versions: Versions, known: Known, late: Happenings, moment: datetime) -> Reading[State]:
    """The state at an instant; it can be before what is stored already happened, or what is stored out of date."""
    state, standing, rejudge_from = known
    if rejudge_from is not None and rejudge_from <= moment:
        restored = yield from restore(versions, standing, state.anchor, rejudge_from)
        return (yield from advance(versions, restored, late, moment)).state
    if state.at is not None and state.at > moment:
        return (yield from restore(versions, standing, state.anchor, moment + MOMENT))
    return (yield from advance(versions, state, _NOTHING, moment)).state


def keeping(tier: Tier, by: datetime | None, periods: Sequence[Values]) -> Keeping:
    """What keeps a tier, by the values of the periods that count: those of one that keeps it, else of the last."""
    kept = next((values for values in periods if is_kept(tier, values)), None)
    return Keeping(by, kept is not None, ways(to_keep(tier), periods[-1] if kept is None else kept))


def to_keep(tier: Tier) -> ConditionLists:
    """The lists that keep a tier: those of `keep`, and those of `enter` that are no harder than one of them (T2)."""
    own = [{condition.key: condition.at_least for condition in way} for way in tier.keep]

    def is_harder(way: Sequence[Condition]) -> bool:
        needed = {condition.key: condition.at_least for condition in way}
        return any(all(needed.get(key, 0) >= at_least for key, at_least in easier.items()) for easier in own)

    return (*tier.keep, *(way for way in tier.enter if not is_harder(way)))


def periods(calendar: Calendar, end: datetime | None, moment: datetime) -> list[Request]:
    """Asks for what counts in the periods that end with `end`, as it stands at an instant; nothing without an end."""
    known = moment + MOMENT
    return [] if end is None else [Request(since, before, known) for since, before in calendar.ended(end)]


def _gone(calendar: Calendar, state: State, moment: datetime) -> list[Request]:
    """Asks for what is in the values of a state and is no longer in the window of an instant."""
    start = calendar.window(moment)
    if state.at is None or start is None or (state.oldest is not None and state.oldest >= start):
        return []
    before = calendar.window(state.at)
    return [] if before == start else [Request(before, start, moment + MOMENT)]


_NOTHING: Final = Happenings()
