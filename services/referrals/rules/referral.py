"""A referral: a friend's sign-up with an advocate's code, and its state."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple
from uuid import UUID

from shared.contracts.envelope import Cause, Event

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "/wafa/referrals")

SYSTEM: Final = "system"
"""The actor of steps that no person takes."""


class State(StrEnum):
    """The state of a referral; the published event of each is `loyalty.referral.<state>.v1`."""

    SIGNED_UP = "signed_up"
    QUALIFIED = "qualified"
    """An order qualified it; it is approved when the hold is over."""
    FLAGGED = "flagged"
    """It waits for the decision of a person."""
    APPROVED = "approved"
    REJECTED = "rejected"
    VOIDED = "voided"
    """It was approved, and refunds took it back."""
    EXPIRED = "expired"
    """No order qualified it in the window; an order of the window that arrives later still does."""


OPEN: Final = frozenset({State.SIGNED_UP, State.EXPIRED})
"""The states in which an order can qualify a referral."""

HELD: Final = frozenset({State.QUALIFIED, State.FLAGGED})
"""The states between the qualifying order and the approval."""


class Ground(StrEnum):
    """Why a referral was rejected or voided, or why its reward was cut."""

    FRAUD = "fraud"
    """By its signals."""
    REFUNDED = "refunded"
    """Refunds left less than the program's amount of the qualifying order."""
    UNDECIDED = "undecided"
    """It was flagged, nobody decided, and the program rejects then."""
    DECISION = "decision"
    """A person rejected it."""
    CAP = "cap"
    """It was approved, and a cap cut the reward."""


class Signal(NamedTuple):
    """A signal that was found, with its action and its weight when it was found last, and when that was."""

    id: str
    action: str
    weight: int
    at: datetime


class Counted(NamedTuple):
    """An order of the friend that counts toward the one that qualifies."""

    ordered_at: datetime
    order_id: str


@dataclass(frozen=True, slots=True)
class Referral:
    """A friend's sign-up with an advocate's code, and its state.

    `advocate_points` and `friend_points` are those that the approval gave, also after it was voided; the advocate's
    include `milestone_points`. From the qualifying order until it is closed, `kept` has the sum that refunds of the
    order asked for, and the state of their `Fold` (null where it has to be computed from all of them); None where both
    have to be computed.
    """

    referral_id: UUID
    advocate_id: str
    friend_id: str
    code: str
    program_version: int
    state: State
    signed_up_at: datetime
    reason: Ground | None = None
    order_id: str | None = None
    qualified_at: datetime | None = None
    """The time of the qualifying order."""
    due_at: datetime | None = None
    """When the hold is over."""
    flagged_at: datetime | None = None
    approved_at: datetime | None = None
    closed_at: datetime | None = None
    """When it was rejected, voided or expired."""
    next_at: datetime | None = None
    """The first instant at which time alone changes the referral; None where it never does."""
    advocate_points: int | None = None
    friend_points: int | None = None
    milestone_points: int = 0
    milestones: tuple[int, ...] = ()
    """The counts of the milestones that it paid."""
    signals: tuple[Signal, ...] = ()
    is_cleared: bool = False
    """Whether a person approved it: signals neither flag nor block it any more."""
    has_bought: bool = False
    """Whether an order of the friend from before the sign-up is known."""
    was_referred: bool = False
    """Whether the friend had signed up with another customer's code before."""
    counted: tuple[Counted, ...] = ()
    """Before it is qualified, the orders that count, where more than one is needed; in the order of time and id."""
    number: int | None = field(default=None, compare=False)
    """The place in the order of recording; None before it is stored."""
    kept: Mapping[str, Any] | None = field(default=None, compare=False)
    cause: Cause | None = field(default=None, compare=False)
    """The cause of the last step that was not due by time."""

    @property
    def since(self) -> datetime:
        """When the referral reached its state."""
        return self.closed_at or self.approved_at or self.flagged_at or self.qualified_at or self.signed_up_at

    @property
    def score(self) -> int:
        """The sum of the weights of the signals."""
        return sum(signal.weight for signal in self.signals)

    @property
    def place(self) -> tuple[datetime, int]:
        """The place among referrals that fall due: by instant, then in the order of recording."""
        assert self.next_at is not None, "it falls due"
        assert self.number is not None, "it is stored"
        return self.next_at, self.number


@dataclass(frozen=True, slots=True)
class SignUp:
    """A sign-up of a friend with the code of an advocate."""

    referral_id: UUID
    friend_id: str
    advocate_id: str
    code: str
    time: datetime

    @property
    def is_self(self) -> bool:
        """Whether the code is the friend's own."""
        return self.friend_id == self.advocate_id


@dataclass(frozen=True, slots=True)
class Step:
    """A change of a referral's state, which is announced and recorded.

    `at` is the time of its event. `actor` is the principal that decided, with a `note`.
    """

    referral: Referral
    at: datetime
    cause: Cause
    actor: str = SYSTEM
    note: str | None = None


def referral_id_of(event: Event) -> UUID:
    """The id of the referral of a sign-up event: the same each time that the event is handled."""
    # None of the three contains NUL.
    return uuid.uuid5(_NAMESPACE, f"{event.customer_id}\x00{event.source}\x00{event.id}")


def cause_of(referral: Referral) -> Cause:
    """The cause of what falls due of a referral: that of its last step before.

    Of referrals from before causes were stored, the referral itself is the cause.
    """
    return referral.cause or Cause.of_request(str(referral.referral_id))


def in_order(referrals: Sequence[Referral]) -> list[Referral]:
    """Stored referrals in the order in which they fall due."""
    return sorted(referrals, key=lambda referral: referral.place)
