"""Decisions of people about referrals that wait for one, or that were rejected without one."""

from dataclasses import replace
from enum import StrEnum
from typing import Final

from services.referrals.rules import steps
from services.referrals.rules.judging import Judge, Move
from services.referrals.rules.referral import Ground, Referral, State
from shared.contracts.orders import Order


class Decision(StrEnum):
    """What a person decides."""

    APPROVE = "approve"
    REJECT = "reject"


OVERTURNED: Final = frozenset({Ground.FRAUD, Ground.UNDECIDED})
"""The grounds of rejections without a person, which a person can overturn."""


def is_overturned(referral: Referral, decision: Decision) -> bool:
    """Whether a decision can overturn the rejection of a referral, as far as the referral alone says.

    Its qualifying order has to be known.
    """
    return (
        decision is Decision.APPROVE
        and referral.state is State.REJECTED
        and referral.reason in OVERTURNED
        and referral.order_id is not None
    )


def decide(
    judge: Judge, referral: Referral, decision: Decision, order: Order | None = None, *, is_free: bool = True
) -> list[Move]:
    """The steps of a decision of now; none where the referral waits for none.

    `order` is the qualifying one, with its refunds, of a referral whose rejection is overturned; `is_free` says that no
    other referral of the friend stands.
    """
    if referral.state is State.FLAGGED:
        if decision is Decision.REJECT:
            return [Move(steps.reject(referral, Ground.DECISION, judge.now), judge.now)]
        return _cleared(judge, steps.clear(referral))
    if not is_overturned(referral, decision) or order is None or not is_free:
        return []
    if steps.fell_below(order, steps.least(judge.program_of(referral), order.purchase.currency)) is not None:
        return []
    return _cleared(judge, replace(steps.clear(referral), kept=steps.kept_of(order)))


def _cleared(judge: Judge, referral: Referral) -> list[Move]:
    """The flag is gone: the referral is approved when it is due, at once where it is."""
    assert referral.due_at is not None, "it is qualified"
    return [judge.approve(referral, judge.now)] if referral.due_at <= judge.now else [Move(referral, judge.now)]
