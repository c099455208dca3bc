"""Whether stored facts explain a referral's state, and its rewards, in some order of arrival."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.referrals.rules import steps
from services.referrals.rules.program.compiled import Program
from services.referrals.rules.referral import HELD, OPEN, Ground, Referral, State
from services.referrals.rules.rewards import Account, Ledger, Paid, span
from shared.contracts.orders import Order
from shared.programs.kind import Book


def is_explained(
    referral: Referral, program: Program, orders: Collection[Order], block_at: int, *, is_alone: bool
) -> bool:
    """Whether orders and signals explain the state of a referral.

    `orders` are recorded orders of the friend with their refunds: at least one from before the sign-up, the first that
    count, as many as are needed, and the referral's own. `block_at` is the least score at which any version blocks.
    `is_alone` says that no other referral of the friend stands.
    """
    counting = sorted((order.time, order.order_id) for order in orders if steps.counts(referral, order, program))
    if referral.state in {State.SIGNED_UP, *HELD}:
        has_bought = any(order.time < referral.signed_up_at for order in orders)
        if has_bought is not referral.has_bought:
            return False
    if referral.order_id is None:
        is_open = referral.state in OPEN and (len(counting) < program.nth or not is_alone)
        return is_open or (referral.state is State.REJECTED and _is_stopped(referral, block_at))
    own = next((order for order in orders if order.order_id == referral.order_id), None)
    if own is None or (referral.qualified_at, referral.due_at) != (own.time, program.due_at(own.time)):
        return False
    is_nth = sum(place <= (own.time, own.order_id) for place in counting) >= program.nth
    return is_nth and _is_settled(referral, own, program) and _is_stopped(referral, block_at)


def _is_settled(referral: Referral, order: Order, program: Program) -> bool:
    """Whether enough is kept of the qualifying order, or too little where refunds ended the referral."""
    fell_at = steps.fell_below(order, steps.least(program, order.purchase.currency))
    if referral.reason is Ground.REFUNDED:
        # A refund that arrived later can have an earlier time; the referral keeps its own.
        return fell_at is not None and referral.closed_at is not None and referral.closed_at >= fell_at
    return fell_at is None or referral.state is State.REJECTED


def _is_stopped(referral: Referral, block_at: int) -> bool:
    """Whether the signals flag or block a referral that is flagged, or was rejected for fraud; true of all others."""
    if referral.state is State.FLAGGED:
        # A signal that was found again has the action of a later program.
        return bool(referral.signals)
    if referral.reason is Ground.FRAUD:
        return any(signal.action == "block" for signal in referral.signals) or referral.score >= block_at
    return True


class Rewarded(NamedTuple):
    """An approval or a void of an advocate's referral, and what the approval paid, milestones apart."""

    referral_id: UUID
    is_void: bool
    at: datetime
    program_version: int
    advocate_points: int
    friend_points: int
    milestones: tuple[int, ...]
    milestone_points: int


def wrongly_paid(advocate_id: str, paid: Sequence[Rewarded], programs: Book[Program]) -> list[UUID]:
    """Those of an advocate's approvals whose reward is not what caps and milestones leave, in the order of recording.

    Under caps of the whole program, which depend on other advocates, a reward is at most that.
    """
    known = {own.program_version: programs.version(own.program_version) for own in paid}
    own_caps = {
        number: replace(program, caps=tuple(cap for cap in program.caps if cap.scope == "advocate"))
        for number, program in known.items()
    }
    spans = {
        span(cap, own.at, program.zone, advocate_id)
        for own in paid
        for program in [own_caps[own.program_version]]
        for cap in program.caps
    }
    ledger = Ledger({advocate_id: Account()}, dict.fromkeys(spans, Paid()))
    wrong: list[UUID] = []
    for own in paid:
        if own.is_void:
            ledger.void(advocate_id, own.milestones)
            continue
        program = own_caps[own.program_version]
        due = ledger.approve(program, advocate_id, own.at)
        points, most = (own.advocate_points, own.friend_points), (due.advocate, due.friend)
        is_shared = len(program.caps) < len(known[own.program_version].caps)
        is_right = points[0] <= most[0] and points[1] <= most[1] if is_shared else points == most
        if not is_right or (own.milestones, own.milestone_points) != (due.milestones, due.milestone_points):
            wrong.append(own.referral_id)
    return wrong
