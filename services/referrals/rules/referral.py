"""A referral and its steps. Every step is a new value of the referral.

The times of steps are those of the deciding facts (the order, the refund), whichever event arrived last.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

from services.referrals.rules.program.compiled import Program
from shared.contracts.envelope import Event
from shared.contracts.kept import Fold
from shared.contracts.orders import Order
from shared.contracts.refunds import Refund

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "/wafa/referrals")


class State(StrEnum):
    """The state of a referral; the published event of each is `loyalty.referral.<state>.v1`."""

    SIGNED_UP = "signed_up"
    QUALIFIED = "qualified"
    FLAGGED = "flagged"
    APPROVED = "approved"
    REJECTED = "rejected"
    VOIDED = "voided"


class Ground(StrEnum):
    """Why a referral was rejected or voided."""

    SELF_REFERRAL = "self_referral"
    """A customer used their own code."""
    REFERRED_BEFORE = "referred_before"
    """The friend signed up before with another customer's code; the order of handling counts."""
    BOUGHT_BEFORE = "bought_before"
    """The friend had bought before the sign-up."""
    REFUNDED = "refunded"
    """Refunds left less than the program's minimum of the qualifying order."""


@dataclass(frozen=True, slots=True)
class Referral:
    """A friend's sign-up with an advocate's code, and its state.

    `advocate_points` and `friend_points` are those that the approval gave, also after it was voided. While the referral
    is approved, `kept` has the sum that refunds of the order asked for, and the state of their `Fold` (null where it
    has to be computed from all of them); None where both have to be computed.
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
    approved_at: datetime | None = None
    closed_at: datetime | None = None
    advocate_points: int | None = None
    friend_points: int | None = None
    kept: Mapping[str, Any] | None = field(default=None, compare=False)

    @property
    def since(self) -> datetime:
        """When the referral reached its state."""
        return self.closed_at or self.approved_at or self.qualified_at or self.signed_up_at


@dataclass(frozen=True, slots=True)
class SignUp:
    """A sign-up of a friend with the code of an advocate."""

    referral_id: UUID
    friend_id: str
    advocate_id: str
    code: str
    time: datetime


def referral_id_of(event: Event) -> UUID:
    """The id of the referral of a sign-up event: the same each time that the event is handled."""
    # None of the three contains NUL.
    return uuid.uuid5(_NAMESPACE, f"{event.customer_id}\x00{event.source}\x00{event.id}")


def sign_up(request: SignUp, program: Program, orders: Sequence[Order], *, referred: bool) -> list[Referral]:
    """The steps of a new referral, by the friend's orders and whether another customer referred the friend before."""
    opened = _open(request, program)
    if request.advocate_id == request.friend_id:
        return [_reject(opened, Ground.SELF_REFERRAL)]
    if referred:
        return [_reject(opened, Ground.REFERRED_BEFORE)]
    if any(order.time < request.time for order in orders):
        return [_reject(opened, Ground.BOUGHT_BEFORE)]
    for order in sorted(orders, key=lambda order: (order.time, order.order_id)):
        if _qualifies(opened, order, program):
            return [opened, *_qualify(opened, order, program)]
    return [opened]


def judge_order(referral: Referral, order: Order, program: Program) -> list[Referral]:
    """The steps of a referral when an order of the friend arrives."""
    if referral.state is not State.SIGNED_UP:
        return []
    if order.time < referral.signed_up_at:
        return [_reject(referral, Ground.BOUGHT_BEFORE)]
    return _qualify(referral, order, program) if _qualifies(referral, order, program) else []


def is_about(referral: Referral, order_id: str) -> bool:
    """Whether refunds of an order of the friend can change the referral."""
    return referral.state is State.APPROVED and referral.order_id == order_id


def judge_refund(referral: Referral, order: Order, refund: Refund, program: Program) -> Referral:
    """An approved referral after a new refund of its order: voided, or with the new state of the refunds.

    Where the refunds of `order` were read, the new one is among them.

    Raises:
        UnreadRefundsError: the result depends on other refunds of the order, which were not read.
    """
    if referral.kept is not None:
        asked = Fraction(referral.kept["asked"]) + Fraction(refund.amount)
        if Fraction(order.purchase.total) - asked >= program.amount:
            # No refund takes more than it asks for: enough is kept, wherever this refund counts.
            return replace(referral, kept=_with_refund(referral.kept, order, refund, asked))
        fold = None if referral.kept["fold"] is None else Fold.from_json(order.purchase, referral.kept["fold"])
        if fold is not None and fold.accepts(refund):
            is_latest = fold.last is None or refund.place > fold.last
            fold.add(refund)
            if fold.total >= program.amount:
                return replace(referral, kept={"asked": str(asked), "fold": fold.to_json()})
            if is_latest:
                return _void(referral, order.effective_at(refund))
    fell_at = fell_below(order, program.amount)
    return replace(referral, kept=_kept(order)) if fell_at is None else _void(referral, fell_at)


def fell_below(order: Order, minimum: Fraction) -> datetime | None:
    """When refunds left less than `minimum` of an order's money; None while at least that is kept.

    Raises:
        UnreadRefundsError: the refunds were not read.
    """
    return next((at for at, kept in order.kept_over_time() if kept < minimum), None)


def _kept(order: Order) -> Mapping[str, Any]:
    asked = sum((Fraction(refund.amount) for refund in order.refunds or ()), Fraction(0))
    return {"asked": str(asked), "fold": order.fold().to_json()}


def _with_refund(kept: Mapping[str, Any], order: Order, refund: Refund, asked: Fraction) -> Mapping[str, Any]:
    fold = None if kept["fold"] is None else Fold.from_json(order.purchase, kept["fold"])
    if fold is None or not fold.accepts(refund):
        return {"asked": str(asked), "fold": None}
    fold.add(refund)
    return {"asked": str(asked), "fold": fold.to_json()}


def is_explained(referral: Referral, program: Program, orders: Sequence[Order], *, referred: bool) -> bool:
    """Whether these facts lead to the referral's state in some order of arrival.

    `orders` are recorded orders of the friend, whenever they arrived: all of them, or at least one of those from before
    the sign-up, one of those that can qualify it, and the referral's own.
    """
    request = SignUp(
        *(referral.referral_id, referral.friend_id, referral.advocate_id, referral.code, referral.signed_up_at)
    )
    opened = _open(request, program)
    if request.advocate_id == request.friend_id or referred:
        return [referral] == sign_up(request, program, (), referred=referred)
    # An order from before the sign-up changes nothing after an approval, so the referral need not be rejected.
    is_late = any(order.time < request.time for order in orders)
    if referral.state is State.REJECTED:
        return is_late and referral == _reject(opened, Ground.BOUGHT_BEFORE)
    if referral.state is State.SIGNED_UP:
        return not is_late and referral == opened and not any(_qualifies(opened, order, program) for order in orders)
    order = next((order for order in orders if order.order_id == referral.order_id), None)
    return order is not None and _qualifies(opened, order, program) and _is_settled(referral, opened, order, program)


def _open(request: SignUp, program: Program) -> Referral:
    return Referral(
        referral_id=request.referral_id,
        advocate_id=request.advocate_id,
        friend_id=request.friend_id,
        code=request.code,
        program_version=program.version,
        state=State.SIGNED_UP,
        signed_up_at=request.time,
    )


def _is_settled(referral: Referral, opened: Referral, order: Order, program: Program) -> bool:
    """Whether a referral that the order qualified is approved if enough of it is kept, and voided if not."""
    qualified, approved = _qualify(opened, replace(order, refunds=()), program)
    fell_at = fell_below(order, program.amount)
    if fell_at is None or referral.closed_at is None:
        return fell_at is None and referral == approved
    # A refund that arrived after the referral was voided can have an earlier time; the referral keeps its own.
    is_void = replace(referral, closed_at=fell_at, kept=None) in {_void(qualified, fell_at), _void(approved, fell_at)}
    return is_void and referral.closed_at >= fell_at


def _qualifies(referral: Referral, order: Order, program: Program) -> bool:
    """Whether the order as bought qualifies the referral; orders in other currencies do not."""
    return (
        referral.signed_up_at <= order.time <= program.deadline(referral.signed_up_at)
        and order.purchase.currency == program.currency
        and program.is_enough(order.purchase.total, order.purchase.currency)
    )


def _qualify(referral: Referral, order: Order, program: Program) -> list[Referral]:
    qualified = replace(referral, state=State.QUALIFIED, order_id=order.order_id, qualified_at=order.time)
    fell_at = fell_below(order, program.amount)
    if fell_at is not None:
        return [qualified, _void(qualified, fell_at)]
    approved = replace(
        qualified,
        state=State.APPROVED,
        approved_at=order.time,
        advocate_points=program.advocate_points,
        friend_points=program.friend_points,
        kept=_kept(order),
    )
    return [qualified, approved]


def _reject(referral: Referral, ground: Ground) -> Referral:
    return replace(referral, state=State.REJECTED, reason=ground, closed_at=referral.signed_up_at)


def _void(referral: Referral, fell_at: datetime) -> Referral:
    return replace(referral, state=State.VOIDED, reason=Ground.REFUNDED, closed_at=fell_at, kept=None)
