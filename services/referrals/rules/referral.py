"""A referral, and the steps that it takes. Every step is a new value; what happened is the list of them.

The instants are those of the facts that decided (the order's, the refund's), whatever arrived last.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

from services.referrals.rules.program import Program
from shared.contracts.envelope import Event
from shared.contracts.kept import Fold, Refund
from shared.contracts.orders import Order

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "/wafa/referrals")


class State(StrEnum):
    """How far a referral has come; the names of the events that tell of it."""

    SIGNED_UP = "signed_up"
    QUALIFIED = "qualified"
    FLAGGED = "flagged"
    APPROVED = "approved"
    REJECTED = "rejected"
    VOIDED = "voided"


class Ground(StrEnum):
    """Why a referral was rejected or voided."""

    SELF_REFERRAL = "self_referral"
    """The code was the customer's own."""
    REFERRED_BEFORE = "referred_before"
    """An earlier sign-up of the friend, as handled, had another customer's code."""
    BOUGHT_BEFORE = "bought_before"
    """The friend has an order from before the sign-up."""
    REFUNDED = "refunded"
    """Too little is kept of the qualifying order."""


@dataclass(frozen=True, slots=True)
class Referral:
    """A friend's sign-up with an advocate's code, and what became of it.

    `advocate_points` and `friend_points` are what the approval gave, also after a void. While the referral is approved,
    `kept` tells what refunds asked for and left of the order: their sum, and the state of their `Fold` (null where it
    has to be computed from all of them). None: both follow from the refunds alone.
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
        """When the referral came into its state."""
        return self.closed_at or self.approved_at or self.qualified_at or self.signed_up_at


@dataclass(frozen=True, slots=True)
class SignUp:
    """A sign-up with a known code: the friend's, with the advocate's code."""

    referral_id: UUID
    friend_id: str
    advocate_id: str
    code: str
    time: datetime


def referral_id_of(event: Event) -> UUID:
    """The id of the referral that a sign-up event makes: the same one each time the event is handled."""
    # None of the three holds NUL.
    return uuid.uuid5(_NAMESPACE, f"{event.customer_id}\x00{event.source}\x00{event.id}")


def sign_up(asked: SignUp, program: Program, orders: Sequence[Order], *, referred: bool) -> list[Referral]:
    """The steps of a new referral, given the friend's known orders and whether somebody referred the friend before."""
    opened = _open(asked, program)
    if asked.advocate_id == asked.friend_id:
        return [_reject(opened, Ground.SELF_REFERRAL)]
    if referred:
        return [_reject(opened, Ground.REFERRED_BEFORE)]
    if any(order.time < asked.time for order in orders):
        return [_reject(opened, Ground.BOUGHT_BEFORE)]
    for order in sorted(orders, key=lambda one: (one.time, one.order_id)):
        if _qualifies(opened, order, program):
            return [opened, *_qualify(opened, order, program)]
    return [opened]


def judge_order(referral: Referral, order: Order, program: Program) -> list[Referral]:
    """The steps that a referral takes when an order of the friend becomes known."""
    if referral.state is not State.SIGNED_UP:
        return []
    if order.time < referral.signed_up_at:
        return [_reject(referral, Ground.BOUGHT_BEFORE)]
    return _qualify(referral, order, program) if _qualifies(referral, order, program) else []


def is_about(referral: Referral, order_id: str) -> bool:
    """Whether refunds of an order of the friend matter to the referral."""
    return referral.state is State.APPROVED and referral.order_id == order_id


def judge_refund(referral: Referral, order: Order, refund: Refund, program: Program) -> Referral:
    """An approved referral after a new refund of its order: void, or with what is kept now.

    `order` holds the new refund, if it holds any.

    Raises:
        UnreadRefundsError: that depends on the refunds of the order, which were not read.
    """
    if referral.kept is not None:
        asked = Fraction(referral.kept["asked"]) + Fraction(refund.amount)
        if Fraction(order.purchase.total) - asked >= program.minimum:
            # No refund takes more than it asks for: enough is kept, wherever this one counts.
            return replace(referral, kept=_with_refund(referral.kept, order, refund, asked))
        fold = None if referral.kept["fold"] is None else Fold.from_json(order.purchase, referral.kept["fold"])
        if fold is not None and fold.accepts(refund):
            is_latest = fold.last is None or refund.place > fold.last
            fold.add(refund)
            if fold.total >= program.minimum:
                return replace(referral, kept={"asked": str(asked), "fold": fold.to_json()})
            if is_latest:
                return _void(referral, order.effective_at(refund))
    fell_at = fell_below(order, program.minimum)
    return replace(referral, kept=_kept(order)) if fell_at is None else _void(referral, fell_at)


def fell_below(order: Order, minimum: Decimal) -> datetime | None:
    """When refunds left less than `minimum` of an order's money; None while that much is kept.

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
    """Whether a referral stands where these facts lead in one order of arrival or another.

    `orders` are orders of the friend that are known now, whenever they arrived: all of them, or of those from before
    the sign-up and of those that can qualify one each, if there is one, and the referral's own.
    """
    asked = SignUp(
        *(referral.referral_id, referral.friend_id, referral.advocate_id, referral.code, referral.signed_up_at)
    )
    opened = _open(asked, program)
    if asked.advocate_id == asked.friend_id or referred:
        return [referral] == sign_up(asked, program, (), referred=referred)
    # After an approval an order from before the sign-up changes nothing, so it need not have rejected.
    is_late = any(order.time < asked.time for order in orders)
    if referral.state is State.REJECTED:
        return is_late and referral == _reject(opened, Ground.BOUGHT_BEFORE)
    if referral.state is State.SIGNED_UP:
        return not is_late and referral == opened and not any(_qualifies(opened, one, program) for one in orders)
    order = next((one for one in orders if one.order_id == referral.order_id), None)
    return order is not None and _qualifies(opened, order, program) and _is_settled(referral, opened, order, program)


def _open(asked: SignUp, program: Program) -> Referral:
    return Referral(
        referral_id=asked.referral_id,
        advocate_id=asked.advocate_id,
        friend_id=asked.friend_id,
        code=asked.code,
        program_version=program.version,
        state=State.SIGNED_UP,
        signed_up_at=asked.time,
    )


def _is_settled(referral: Referral, opened: Referral, order: Order, program: Program) -> bool:
    """Whether a referral that qualified by the order is approved while enough of it is kept, and void otherwise."""
    qualified, approved = _qualify(opened, replace(order, refunds=()), program)
    fell_at = fell_below(order, program.minimum)
    if fell_at is None or referral.closed_at is None:
        return fell_at is None and referral == approved
    # A refund that arrived after the void can have an earlier time; the void keeps its own.
    is_void = replace(referral, closed_at=fell_at, kept=None) in {_void(qualified, fell_at), _void(approved, fell_at)}
    return is_void and referral.closed_at >= fell_at


def _qualifies(referral: Referral, order: Order, program: Program) -> bool:
    """Whether the order, as bought, is one that the program rewards. Other currencies have no rate."""
    return (
        referral.signed_up_at <= order.time <= program.deadline(referral.signed_up_at)
        and order.purchase.currency == program.document.currency
        and Decimal(order.purchase.total) >= program.minimum
    )


def _qualify(referral: Referral, order: Order, program: Program) -> list[Referral]:
    qualified = replace(referral, state=State.QUALIFIED, order_id=order.order_id, qualified_at=order.time)
    fell_at = fell_below(order, program.minimum)
    if fell_at is not None:
        return [qualified, _void(qualified, fell_at)]
    approved = replace(
        qualified,
        state=State.APPROVED,
        approved_at=order.time,
        advocate_points=program.document.advocate_points,
        friend_points=program.document.friend_points,
        kept=_kept(order),
    )
    return [qualified, approved]


def _reject(referral: Referral, ground: Ground) -> Referral:
    return replace(referral, state=State.REJECTED, reason=ground, closed_at=referral.signed_up_at)


def _void(referral: Referral, fell_at: datetime) -> Referral:
    return replace(referral, state=State.VOIDED, reason=Ground.REFUNDED, closed_at=fell_at, kept=None)
