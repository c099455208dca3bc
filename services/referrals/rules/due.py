"""What falls due by time: windows and holds that end, and flags that nobody decides on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from services.referrals.rules.judging import Judge, Known, Wanted
from services.referrals.rules.referral import Referral, State, Step, cause_of, in_order
from services.referrals.rules.rewards import Ledger


@dataclass(frozen=True, slots=True)
class Settled:
    """What fell due: the steps in their order, and the referrals as they stand afterwards.

    Where anything is `wanted`, it has to be done again once that is known.
    """

    ledger: Ledger
    wanted: Wanted
    steps: list[Step] = field(default_factory=list[Step])
    referrals: dict[UUID, Referral] = field(default_factory=dict[UUID, Referral])


def settle(due: Iterable[Referral], known: Known) -> Settled:
    """Apply what has fallen due of stored referrals, in the order of (instant, recording)."""
    judge = Judge(known)
    settled = Settled(judge.ledger, judge.wanted)
    waiting = in_order(list(due))
    while waiting:
        for step in fall_due(judge, waiting.pop(0), most=1):
            settled.steps.append(step)
            settled.referrals[step.referral.referral_id] = step.referral
            if step.referral.state is State.REJECTED:
                judge.edges.reject(step.referral.referral_id, step.referral.friend_id, step.referral.advocate_id)
            if is_due(step.referral, judge):
                waiting = in_order([step.referral, *waiting])
    return settled


def is_due(referral: Referral, judge: Judge) -> bool:
    """Whether something of a referral has fallen due."""
    return referral.next_at is not None and referral.next_at <= judge.now


def fall_due(judge: Judge, referral: Referral, most: int | None = None) -> Iterator[Step]:
    """The steps of a referral that have fallen due, at most so many."""
    while is_due(referral, judge) and most != 0:
        for move in judge.due(referral):
            assert move.at is not None, "what falls due changes the state"
            referral = move.referral
            yield Step(referral, move.at, cause_of(referral))
        most = None if most is None else most - 1
