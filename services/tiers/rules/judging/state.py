"""The state of a customer at an instant: all that judging what comes later needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any, Final, NamedTuple, Self

from services.tiers.rules.metrics import Amount

Values = Mapping[str, Amount]
"""Values of metrics by key (`Condition.key`): `spend` in the program's currency, `activities/NAME` of one activity."""


class Span(NamedTuple):
    """A period by the instants at which its amounts were earned: [`since`, `before`); None: since ever."""

    since: datetime | None
    before: datetime


@dataclass(frozen=True, slots=True)
class Basis:
    """What a tier stands on: the conditions of a version's tier, held in one of the periods.

    Version and tier are those of the instant at which the tier was reached or kept last.
    """

    version: int
    tier: str
    periods: tuple[Span, ...]


class Foothold(NamedTuple):
    """A tier that was reached and not lost since; without a basis it was given by hand, or stands on nothing."""

    tier: str
    basis: Basis | None


class Assigned(NamedTuple):
    """The current tier was given by hand, until an instant if there is one; a locked one is moved by nothing else."""

    until: datetime | None
    locked: bool


class Assignment(NamedTuple):
    """A tier given by hand; `id` orders those of one instant."""

    at: datetime
    tier: str
    until: datetime | None = None
    locked: bool = False
    id: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """The tier, and what decides how it can be lost.

    `valid_until` is the instant at which the tier has to be kept; in grace, which ends at `grace_until`, it is past.
    `since` is the last change of the tier's id, None for a customer who has always been in the first tier. `reached`
    rises: the tiers that were reached and not lost since.
    """

    tier: str
    since: datetime | None = None
    valid_until: datetime | None = None
    grace_until: datetime | None = None
    assigned: Assigned | None = None
    basis: Basis | None = None
    reached: tuple[Foothold, ...] = ()

    @property
    def due_at(self) -> datetime | None:
        """The next instant at which the tier, its grace or its assignment ends; None: never."""
        if self.assigned and self.assigned.until:
            return self.assigned.until
        return self.grace_until or self.valid_until

    @property
    def locked_until(self) -> datetime | None:
        """The instant before which nothing but another assignment moves the tier; None: it is not locked."""
        return self.assigned.until if self.assigned and self.assigned.locked else None

    def to_json(self) -> dict[str, Any]:
        """The standing as it is stored, without what is empty."""
        stored = {
            "tier": self.tier,
            "since": _text(self.since),
            "valid_until": _text(self.valid_until),
            "grace_until": _text(self.grace_until),
            "assigned": self.assigned and [_text(self.assigned.until), self.assigned.locked],
            "basis": _basis_to_json(self.basis),
            "reached": [[foothold.tier, _basis_to_json(foothold.basis)] for foothold in self.reached],
        }
        return {name: value for name, value in stored.items() if value}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The standing that `to_json` stored."""
        assigned = stored.get("assigned")
        return cls(
            stored["tier"],
            _instant(stored.get("since")),
            _instant(stored.get("valid_until")),
            _instant(stored.get("grace_until")),
            assigned and Assigned(_instant(assigned[0]), assigned[1]),
            _basis_from_json(stored.get("basis")),
            tuple(Foothold(tier, _basis_from_json(basis)) for tier, basis in stored.get("reached", ())),
        )


@dataclass(frozen=True, slots=True)
class State:
    """A customer after everything up to and including `at`; `at` is None for a customer of whom nothing is known.

    `version` is the program version in force at `at`, and `metrics` are its values in the window of `at`. `anchor` is
    the first instant at which anything counted. Nothing that is in `metrics` was earned before `oldest`.
    """

    standing: Standing
    version: int
    at: datetime | None = None
    anchor: datetime | None = None
    oldest: datetime | None = None
    metrics: Values = field(default_factory=dict[str, Amount])

    @property
    def tier(self) -> str:
        """The id of the tier."""
        return self.standing.tier

    def to_json(self) -> dict[str, Any]:
        """The state as it is stored, without what is empty."""
        stored = {
            "standing": self.standing.to_json(),
            "version": self.version,
            "at": _text(self.at),
            "anchor": _text(self.anchor),
            "oldest": _text(self.oldest),
            "metrics": {key: _amount_to_json(value) for key, value in self.metrics.items() if value},
        }
        return {name: value for name, value in stored.items() if value}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The state that `to_json` stored."""
        return cls(
            Standing.from_json(stored["standing"]),
            stored["version"],
            _instant(stored.get("at")),
            _instant(stored.get("anchor")),
            _instant(stored.get("oldest")),
            {key: _amount_from_json(value) for key, value in stored.get("metrics", {}).items()},
        )


def _basis_to_json(basis: Basis | None) -> list[Any] | None:
    if basis is None:
        return None
    return [basis.version, basis.tier, [[_text(span.since), _text(span.before)] for span in basis.periods]]


def _basis_from_json(stored: Sequence[Any] | None) -> Basis | None:
    if not stored:
        return None
    version, tier, periods = stored
    spans = tuple(Span(_instant(since), datetime.fromisoformat(before)) for since, before in periods)
    return Basis(version, tier, spans)


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _amount_to_json(amount: Amount) -> int | str:
    return amount if isinstance(amount, int) else int(amount) if amount.denominator == 1 else str(amount)


def _amount_from_json(stored: int | str) -> Amount:
    return stored if isinstance(stored, int) else Fraction(stored)


NOTHING: Final[Values] = {}
"""The values of a customer of whom nothing is known."""
