"""The state of a customer at an instant: all that judging what comes later needs."""

from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any, Final, NamedTuple

import msgspec

from services.tiers.rules.metrics import Amount

Values = Mapping[str, Amount]
"""Values of metrics by key (`Condition.key`): `spend` in the program's currency, `activities/NAME` of one activity."""


class Span(NamedTuple):
    """A period by the instants at which its amounts were earned: [`since`, `before`); None: since ever."""

    since: datetime | None
    before: datetime


class Basis(msgspec.Struct, frozen=True, gc=False):
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


class Standing(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The tier, and what decides how it can be lost.

    `valid_until` is the instant at which the tier has to be kept; in grace, which ends at `grace_until`, it is past.
    `since` is the last change of the tier's id, None for a customer who has always been in the first tier. `reached`
    rises: the tiers that were reached and not lost since. `lost` is what other tiers stood on when they were kept last.
    """

    tier: str
    since: datetime | None = None
    valid_until: datetime | None = None
    grace_until: datetime | None = None
    assigned: Assigned | None = None
    basis: Basis | None = None
    reached: tuple[Foothold, ...] = ()
    lost: tuple[Foothold, ...] = ()

    def own_basis(self, tier: str) -> Basis | None:
        """What a tier stood on when it was itself reached or kept last; None: on nothing (answers.md T16)."""
        return next((foothold.basis for foothold in (*self.reached, *self.lost) if foothold.tier == tier), None)

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


class State(msgspec.Struct, frozen=True, gc=False):
    """A customer after everything up to and including `at`; `at` is None for a customer of whom nothing is known.

    `version` is the program version in force at `at`, and `metrics` are its values in the window of `at`. `anchor` is
    the first instant at which anything counted. Nothing that is in `metrics` was earned before `oldest`.
    """

    standing: Standing
    version: int
    at: datetime | None = None
    anchor: datetime | None = None
    oldest: datetime | None = None
    metrics: Values = {}

    @property
    def tier(self) -> str:
        """The id of the tier."""
        return self.standing.tier


class _Stored(msgspec.Struct, omit_defaults=True, gc=False):
    standing: Standing
    version: int
    at: datetime | None = None
    anchor: datetime | None = None
    oldest: datetime | None = None
    metrics: dict[str, int | str] = {}


def encode_state(state: State) -> Any:  # noqa: ANN401 a value of JSON
    """The state as a value of JSON, without what is empty."""
    metrics: dict[str, int | str] = {}
    for key, value in state.metrics.items():
        if value:
            # Decimals of very many digits cannot be read back, and take long.
            metrics[key] = value if isinstance(value, int) else f"{value.numerator:#x}/{value.denominator:#x}"
    return _Stored(state.standing, state.version, state.at, state.anchor, state.oldest, metrics)


def decode_state(stored: Any) -> State:  # noqa: ANN401 a value of JSON
    """The state that `encode_state` stored."""
    return _state(msgspec.convert(stored, _Stored))


def read_state(stored: str) -> State:
    """The state that `encode_state` stored, from the text of its JSON, which is faster for very many of them."""
    return _state(_DECODER.decode(stored))


def _state(own: _Stored) -> State:
    metrics = {key: value if isinstance(value, int) else _fraction(value) for key, value in own.metrics.items()}
    return State(own.standing, own.version, own.at, own.anchor, own.oldest, metrics)


def _fraction(text: str) -> Fraction:
    """A fraction as it is stored: of hexadecimal numbers, or of decimals as an earlier release stored it."""
    if not text.startswith(("0x", "-0x")):
        return Fraction(text)
    numerator, _, denominator = text.partition("/")
    return Fraction(int(numerator, 16), int(denominator, 16))


_DECODER: Final = msgspec.json.Decoder(_Stored)


def decode_standing(stored: Any) -> Standing:  # noqa: ANN401 a value of JSON
    """The standing that was stored, which is a value of JSON as it is."""
    return msgspec.convert(stored, Standing)


NOTHING: Final[Values] = {}
"""The values of a customer of whom nothing is known."""
