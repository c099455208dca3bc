"""The state of one customer while the model replays, and the few ways in which a tier is held or changes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tests.tiers.oracles.calendars import Periods, Span
from tests.tiers.oracles.facts import Changed
from tests.tiers.oracles.programs import Program, Tier


@dataclass(frozen=True)
class Basis:
    """What a tier stands on (T16): the program, tier and periods of the instant at which it was reached or kept."""

    program: Program
    tier: str
    spans: tuple[Span, ...]


@dataclass
class State:
    """A customer's tier at an instant.

    Attributes:
        since: the instant of the last change of the tier's id (T35).
        held_at: the instant at which the tier was last reached, kept or given (T29).
        by_hand: given by hand, and neither kept nor changed since.
        until: the end of an assignment that has one.
        stands: the tiers that were reached, or given without end, and not lost since; with what each stands on.
        last_basis: what each tier ever stood on when it was reached or kept last.
    """

    tier: str
    since: datetime | None = None
    held_at: datetime | None = None
    valid_until: datetime | None = None
    grace_until: datetime | None = None
    by_hand: bool = False
    until: datetime | None = None
    locked: bool = False
    stands: dict[str, Basis | None] = field(default_factory=dict)
    last_basis: dict[str, Basis] = field(default_factory=dict)


class Customer:
    """One customer: all changes, all versions, the version in force and the state.

    Attributes:
        steps: (direction, reason) of each change at the present instant; above 0 is up, below 0 down.
    """

    def __init__(self, programs: Sequence[Program], changes: Sequence[Changed], assigned: Sequence[datetime]) -> None:
        self.programs, self.changes = programs, changes
        self.program = programs[0]
        self.state = State(programs[0].tiers[0].id)
        self.steps: list[tuple[int, str]] = []
        self._begun = min([change.at for change in changes] + list(assigned), default=None)

    def is_known(self, instant: datetime) -> bool:
        """Whether anything happened to the customer before an instant."""
        return self._begun is not None and self._begun < instant

    # What holds.

    @property
    def is_first(self) -> bool:
        """Whether the customer is in the first tier."""
        return self.program.place(self.state.tier) == 0

    @property
    def is_permanent(self) -> bool:
        """Whether the customer's tier is permanent in the program in force."""
        return self.program.tier(self.state.tier).permanent

    def periods(self, known_before: datetime, judged: datetime) -> Periods:
        """The periods of the program in force, as known before an instant."""
        return self.program.periods(self.changes, known_before, judged)

    def window(self, instant: datetime, known_before: datetime) -> tuple[Span, ...]:
        """The window of an instant."""
        return (Span(self.periods(known_before, instant).window_start(instant), known_before),)

    def ended_with(self, end: datetime) -> tuple[Span, ...]:
        """The period that ends with an instant."""
        return self.periods(end, end).ended_with(end)

    def is_kept(self, tier: str, spans: Sequence[Span], known_before: datetime) -> bool:
        """Whether `keep` or `enter` of a tier holds in some of the spans."""
        return self.program_keeps(self.program, tier, spans, known_before)

    def program_keeps(self, program: Program, tier: str, spans: Sequence[Span], known_before: datetime) -> bool:
        """The same by a version that may not be in force any more."""
        return any(program.is_kept(program.tier(tier), self.changes, span, known_before) for span in spans)

    def highest_kept_below(self, spans: Sequence[Span], known_before: datetime) -> Tier:
        """The highest lower tier that is kept; the first, if none."""
        below = self.program.below(self.state.tier)
        return next(tier for tier in below if self.is_kept(tier.id, spans, known_before))

    def floor(self) -> str:
        """The tier below which no fall and no end of an assignment leads (T10)."""
        held = [t for t in self.state.stands if self.program.never or self.program.tier(t).permanent]
        return max(held, key=self.program.place, default=self.program.tiers[0].id)

    def at_least_floor(self, tier: str) -> str:
        """A tier, or the floor where that is higher."""
        return max(tier, self.floor(), key=self.program.place)

    def end(self, tier: str, valid_until: datetime | None) -> datetime | None:
        """A `valid_until`, if the program in force gives the tier one."""
        return valid_until if self.program.has_end(tier) else None

    # What changes.

    def hold(self, instant: datetime, tier: str, valid_until: datetime | None, spans: Sequence[Span]) -> None:
        """The tier is reached or kept by right, and stands on these spans."""
        basis = Basis(self.program, tier, tuple(spans))
        self.state.last_basis[tier] = basis
        self._settle(instant, tier, valid_until, basis)

    def reach(self, instant: datetime, known_before: datetime, tier: str, reason: str) -> None:
        """A tier is reached, or kept in grace: held to the end of the next period."""
        valid_until = self.end(tier, self.periods(known_before, instant).end_if_reached(instant))
        self.step(tier, reason)
        self.hold(instant, tier, valid_until, self.window(instant, known_before))

    def fall(self, instant: datetime, tier: str, valid_until: datetime | None) -> None:
        """A step down to a tier of which nothing held: it stands on what it stood on before, else on nothing."""
        stands = self.state.stands
        basis = stands[tier] if tier in stands else self.state.last_basis.get(tier)
        self._settle(instant, tier, valid_until, basis)

    def step(self, tier: str, reason: str) -> None:
        """Note that something changes at this instant, and why."""
        self.steps.append((self.program.place(tier) - self.program.place(self.state.tier), reason))

    def lose_above(self, tier: str) -> None:
        """Forget the tiers above one: they are lost."""
        stands = self.state.stands
        self.state.stands = {
            t: basis for t, basis in stands.items() if self.program.place(t) <= self.program.place(tier)
        }

    def _settle(self, instant: datetime, tier: str, valid_until: datetime | None, basis: Basis | None) -> None:
        state = self.state
        state.tier = tier
        state.held_at, state.valid_until, state.grace_until = instant, valid_until, None
        state.by_hand, state.until, state.locked = False, None, False
        self.lose_above(tier)
        state.stands[tier] = basis
