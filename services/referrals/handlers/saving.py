"""Stores what changed of referrals, and announces it."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from services.referrals.rules.referral import Ground, Referral, State, Step
from services.referrals.rules.rewards import Ledger
from services.referrals.store import referrals, rewards
from services.referrals.store import steps as history
from shared.contracts.envelope import Publication, publication
from shared.contracts.loyalty import ReferralChanged
from shared.messaging import outbox
from shared.postgres.pool import Connection

SOURCE: Final = "/wafa/referrals"


async def save(
    connection: Connection, changed: Collection[Referral], steps: Sequence[Step], ledger: Ledger, now: datetime
) -> None:
    """Store changed referrals, the steps that they took with their rewards, and the events of the steps.

    A referral with several steps is written once, as it is after the last. The advocates are locked.
    """
    await referrals.save(connection, changed, now)
    await rewards.save(connection, ledger.changes, ledger.buckets)
    await history.add(connection, steps, now)
    await outbox.announce(connection, [_publication(step) for step in steps])


def _publication(step: Step) -> Publication:
    referral = step.referral
    # A voided referral announces the points that it takes back: none where it was never approved.
    is_rewarded = referral.state in {State.APPROVED, State.VOIDED}
    is_suspicious = referral.state is State.FLAGGED or referral.reason is Ground.FRAUD
    data = ReferralChanged(
        customer_id=referral.advocate_id,
        referral_id=str(referral.referral_id),
        friend_id=referral.friend_id,
        advocate_points=(referral.advocate_points or 0) if is_rewarded else None,
        friend_points=(referral.friend_points or 0) if is_rewarded else None,
        order_id=referral.order_id,
        signals=tuple(signal.id for signal in referral.signals) if is_suspicious else None,
        reason=referral.reason,
    )
    return publication(f"loyalty.referral.{referral.state}.v1", step.at, data, step.cause, SOURCE)
