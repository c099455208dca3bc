"""The steps of a referral: each is a new value of it.

The times of steps are those of the deciding facts (the order, the refund, the instant at which something fell due),
whichever event arrived last.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum
from fractions import Fraction
from typing import Any, Final

from services.referrals.rules.program.compiled import Program
from services.referrals.rules.referral import Counted, Ground, Referral, Signal, SignUp, State
from services.referrals.rules.rewards import Reward
from services.referrals.rules.signals import Found
from shared.contracts.kept import Fold
from shared.contracts.orders import Order
from shared.contracts.refunds import Refund

_INSTANT: Final = timedelta(microseconds=1)
"""The resolution of instants: the window ends this much before the referral falls due."""


class Verdict(Enum):
    """What the signals of a referral come to."""

    CLEAN = "clean"
    FLAG = "flag"
    BLOCK = "block"


def opened(request: SignUp, program: Program) -> Referral:
    """The referral of a sign-up."""
    return Referral(
        referral_id=request.referral_id,
        advocate_id=request.advocate_id,
        friend_id=request.friend_id,
        code=request.code,
        program_version=program.version,
        state=State.SIGNED_UP,
        signed_up_at=request.time,
        next_at=_after(program.deadline(request.time)),
    )


def _after(moment: datetime) -> datetime:
    try:
        return moment + _INSTANT
    except OverflowError:  # the end of the calendar
        return moment


def with_signals(referral: Referral, found: Iterable[Found], at: datetime) -> Referral:
    """The referral with signals that were found: one that it has already gets the action and the weight of now."""
    signals = {signal.id: signal for signal in referral.signals}
    for signal in found:
        before = signals.get(signal.id)
        signals[signal.id] = Signal(*signal, at if before is None else before.at)
    return replace(referral, signals=tuple(signals.values())) if signals else referral


def verdict(referral: Referral, program: Program) -> Verdict:
    """What the referral's signals come to by a program."""
    return verdict_of(referral.signals, program)


def verdict_of(signals: Collection[Signal | Found], program: Program) -> Verdict:
    """What signals come to by a program."""
    actions = {signal.action for signal in signals}
    score = sum(signal.weight for signal in signals)
    if "block" in actions or score >= program.block_at:
        return Verdict.BLOCK
    return Verdict.FLAG if "flag" in actions or score >= program.flag_at else Verdict.CLEAN


def counts(referral: Referral, order: Order, program: Program) -> bool:
    """Whether an order as bought counts toward the one that qualifies the referral."""
    return referral.signed_up_at <= order.time <= program.deadline(referral.signed_up_at) and program.is_enough(
        order.purchase.total, order.purchase.currency
    )


def counting(referral: Referral, order: Order) -> Referral:
    """The referral with one more order that counts."""
    return replace(referral, counted=tuple(sorted((*referral.counted, Counted(order.time, order.order_id)))))


def qualify(referral: Referral, order: Order, program: Program) -> Referral:
    """The referral, qualified by an order."""
    due_at = program.due_at(order.time)
    return replace(
        referral,
        state=State.QUALIFIED,
        order_id=order.order_id,
        qualified_at=order.time,
        due_at=due_at,
        next_at=due_at,
        closed_at=None,
        counted=(),
    )


def flag(referral: Referral, at: datetime, now: datetime, program: Program) -> Referral:
    """The qualified referral, flagged; the time until it is settled without a person runs from `now`."""
    assert referral.due_at is not None, "it is qualified"
    return replace(referral, state=State.FLAGGED, flagged_at=at, next_at=program.undecided_at(now, referral.due_at))


def clear(referral: Referral) -> Referral:
    """The referral after a person approved it: qualified again, and its signals stop it no more."""
    return replace(
        referral,
        state=State.QUALIFIED,
        reason=None,
        flagged_at=None,
        closed_at=None,
        next_at=referral.due_at,
        is_cleared=True,
    )


def approve(referral: Referral, at: datetime, reward: Reward, reason: Ground | None = None) -> Referral:
    """The referral, approved with a reward, for a reason other than that a cap cut it."""
    return replace(
        referral,
        state=State.APPROVED,
        reason=Ground.CAP if reward.is_cut else reason,
        approved_at=at,
        flagged_at=None,
        next_at=None,
        advocate_points=reward.advocate + reward.milestone_points,
        friend_points=reward.friend,
        milestone_points=reward.milestone_points,
        milestones=reward.milestones,
    )


def reject(referral: Referral, ground: Ground, at: datetime) -> Referral:
    """The referral, rejected."""
    return replace(
        referral,
        state=State.REJECTED,
        reason=ground,
        closed_at=at,
        next_at=None,
        flagged_at=None,
        counted=(),
        kept=None,
    )


def void(referral: Referral, at: datetime) -> Referral:
    """The approved referral, voided by refunds."""
    return replace(referral, state=State.VOIDED, reason=Ground.REFUNDED, closed_at=at, kept=None)


def expire(referral: Referral, program: Program) -> Referral:
    """The referral, expired at the end of its window."""
    return replace(referral, state=State.EXPIRED, closed_at=program.deadline(referral.signed_up_at), next_at=None)


def least(program: Program, currency: str) -> Fraction:
    """The money of the qualifying order that has to be kept, in the order's currency, which has a rate."""
    return program.amount / program.rates[currency]


def fell_below(order: Order, minimum: Fraction) -> datetime | None:
    """When refunds left less than `minimum` of an order's money; None while at least that is kept.

    Raises:
        UnreadRefundsError: the refunds were not read.
    """
    return next((at for at, kept in order.kept_over_time() if kept < minimum), None)


def after_refund(referral: Referral, order: Order, refund: Refund, program: Program) -> Referral | datetime:
    """The referral with the new state of its order's refunds, or when these left too little.

    The order is the one that qualified it. Where its refunds were read, the new one is among them.

    Raises:
        UnreadRefundsError: the result depends on other refunds of the order, which were not read.
    """
    minimum = least(program, order.purchase.currency)
    if referral.kept is not None:
        asked = Fraction(referral.kept["asked"]) + Fraction(refund.amount)
        if Fraction(order.purchase.total) - asked >= minimum:
            # No refund takes more than it asks for: enough is kept, wherever this refund counts.
            return replace(referral, kept=_with_refund(referral.kept, order, refund, asked))
        fold = None if referral.kept["fold"] is None else Fold.from_json(order.purchase, referral.kept["fold"])
        if fold is not None and fold.accepts(refund):
            is_latest = fold.last is None or refund.place > fold.last
            fold.add(refund)
            if fold.total >= minimum:
                return replace(referral, kept={"asked": str(asked), "fold": fold.to_json()})
            if is_latest:
                return order.effective_at(refund)
    fell_at = fell_below(order, minimum)
    return replace(referral, kept=kept_of(order)) if fell_at is None else fell_at


def kept_of(order: Order) -> Mapping[str, Any]:
    """What `Referral.kept` stores of the refunds of an order.

    Raises:
        UnreadRefundsError: the refunds were not read.
    """
    asked = sum((Fraction(refund.amount) for refund in order.refunds or ()), Fraction(0))
    return {"asked": str(asked), "fold": order.fold().to_json()}


def _with_refund(kept: Mapping[str, Any], order: Order, refund: Refund, asked: Fraction) -> Mapping[str, Any]:
    fold = None if kept["fold"] is None else Fold.from_json(order.purchase, kept["fold"])
    if fold is None or not fold.accepts(refund):
        return {"asked": str(asked), "fold": None}
    fold.add(refund)
    return {"asked": str(asked), "fold": fold.to_json()}
