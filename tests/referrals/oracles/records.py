"""What the model keeps: orders with their refunds, evidence, sign-ups, referrals and what was published."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final

from tests.referrals.oracles.program import Program

SINCE_EVER: Final = datetime(1, 1, 1, tzinfo=UTC)


@dataclass
class Order:
    """An order as bought, and the refunds that are known of it."""

    order_id: str
    source: str
    time: datetime
    currency: str
    total: Fraction
    lines: dict[str, Fraction]
    refunds: dict[str, "Refund"] = field(default_factory=dict)

    @property
    def place(self) -> tuple[datetime, str]:
        """Its place among the orders of its customer."""
        return self.time, self.order_id

    def fell_at(self, program: Program) -> datetime | None:
        """The instant from which too little is kept of it; None where enough is."""
        lines = dict(self.lines) or {"": self.total}
        for refund in sorted(self.refunds.values(), key=lambda refund: (refund.time, refund.refund_id)):
            _take(lines, refund, by_line=bool(refund.lines and self.lines))
            if not program.is_enough(sum(lines.values(), Fraction(0)), self.currency):
                return max(refund.time, self.time)
        return None


def _take(lines: dict[str, Fraction], refund: "Refund", *, by_line: bool) -> None:
    kept = sum(lines.values(), Fraction(0))
    if by_line:
        for line_id, amount in refund.lines:
            lines[line_id] = max(Fraction(0), lines[line_id] - amount)
    elif kept:
        share = max(Fraction(0), kept - refund.amount) / kept
        for line_id in lines:
            lines[line_id] *= share


@dataclass
class Refund:
    """Money given back for an order."""

    refund_id: str
    time: datetime
    currency: str
    amount: Fraction
    lines: list[tuple[str, Fraction]]


@dataclass(frozen=True)
class Told:
    """A piece of evidence: an event of `time` told a value of a customer."""

    customer_id: str
    kind: str
    value: str
    time: datetime


@dataclass(frozen=True)
class SignUp:
    """A sign-up as it was handled; `ip` and `network` are what is compared of its address."""

    friend_id: str
    advocate_id: str
    code: str
    time: datetime
    ip: str | None
    network: str | None


@dataclass(frozen=True)
class Found:
    """A signal found: the action and the weight are those of the version by which it was found last."""

    action: str
    weight: int


@dataclass(frozen=True)
class Step:
    """A row of history."""

    state: str
    at: datetime
    reason: str | None
    actor: str
    note: str | None


@dataclass(frozen=True)
class Published:
    """An event."""

    verb: str
    time: datetime
    advocate_id: str
    friend_id: str
    code: str
    order_id: str | None
    reason: str | None
    signals: tuple[str, ...]
    points: tuple[int, int] | None


@dataclass
class Referral:
    """A referral; `number` is its place in the order of recording."""

    number: int
    friend_id: str
    advocate_id: str
    code: str
    program: Program
    signed_up_at: datetime
    state: str = ""
    reason: str | None = None
    signals: dict[str, Found] = field(default_factory=dict)
    order: Order | None = None
    due_at: datetime | None = None
    flagged_at: datetime | None = None
    """When the flag was recorded."""
    lifted: bool = False
    """Whether a person approved it: it is not judged again."""
    approved_at: datetime | None = None
    base: tuple[int, int] = (0, 0)
    """The points of both sides as they were paid, without milestones."""
    milestones: dict[int, int] = field(default_factory=dict)
    history: list[Step] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str]:
        """Its natural key: the friend and the code."""
        return self.friend_id, self.code

    @property
    def score(self) -> int:
        """The sum over the distinct signals."""
        return sum(found.weight for found in self.signals.values())

    @property
    def points(self) -> tuple[int, int]:
        """The points of both sides, milestones included."""
        return self.base[0] + sum(self.milestones.values()), self.base[1]

    @property
    def stands(self) -> bool:
        """Whether it is the one that its friend may have."""
        return self.state not in {"rejected", "expired"}


@dataclass(frozen=True)
class By:
    """Who caused a step, and the note of a person."""

    actor: str = "system"
    note: str | None = None


@dataclass
class Facts:
    """Everything that the service knows, and what it published and refused."""

    programs: list[Program] = field(default_factory=list[Program])
    codes: dict[str, str] = field(default_factory=dict[str, str])
    told: list[Told] = field(default_factory=list[Told])
    registered: dict[str, datetime] = field(default_factory=dict[str, datetime])
    sign_ups: list[SignUp] = field(default_factory=list[SignUp])
    orders: dict[str, list[Order]] = field(default_factory=dict[str, list[Order]])
    waiting: list[Any] = field(default_factory=list[Any])
    referrals: list[Referral] = field(default_factory=list[Referral])
    erased: dict[str, datetime] = field(default_factory=dict[str, datetime])
    published: list[Published] = field(default_factory=list[Published])
    refused: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    disposable: frozenset[str] = frozenset()

    def program_at(self, instant: datetime) -> Program:
        """The version in force at an instant."""
        begun = [program for program in self.programs if program.effective_at <= instant]
        return max(begun, key=lambda program: (program.effective_at, program.version))

    def of_friend(self, friend_id: str) -> list[Referral]:
        """The referrals of a friend, in the order of recording."""
        return [referral for referral in self.referrals if referral.friend_id == friend_id]

    def is_erased(self, customer_id: str, time: datetime) -> bool:
        """Whether an event of a time is from before the customer's erasure."""
        return time <= self.erased.get(customer_id, SINCE_EVER)
