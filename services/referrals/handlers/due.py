"""Applies what falls due by time, before anything else is done with a referral."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from services.referrals.handlers import knowing, saving
from services.referrals.rules.due import Settled, settle
from services.referrals.rules.evidence.keys import EvidenceKey
from services.referrals.rules.judging import Known
from services.referrals.rules.referral import Referral
from services.referrals.store import locks, referrals, rewards
from shared.postgres.pool import Connection, Pool

AT_ONCE: Final = 500
"""Referrals that are judged together."""

Counts = Counter[str]
"""What was done: numbers of steps by their state."""


async def apply_due(
    connection: Connection,
    advocates: Collection[str],
    friends: Collection[str],
    now: datetime,
    key: EvidenceKey | None,
) -> Counts:
    """Apply everything that has fallen due of locked advocates and of friends, whose advocates are locked too."""
    counts: Counts = Counter()
    while True:
        due = await referrals.load_due(connection, advocates, friends, now, AT_ONCE)
        if not due:
            return counts
        counts += await settle_some(connection, due, now, key)


async def settle_some(
    connection: Connection, due: Sequence[Referral], now: datetime, key: EvidenceKey | None
) -> Counts:
    """Apply what has fallen due of referrals, store and announce it; their advocates are locked."""
    known = await knowing.begin(connection, now)
    settled = await _settled(connection, due, known, key)
    if settled.ledger.buckets and any(program.caps_all for _, program in known.programs):
        # What follows in the transaction may ask what the program paid: two that both share the lock would wait for
        # each other then.
        await rewards.lock_program(connection)
    changed = settled.referrals.values()
    for referral in changed:
        # Loaded again and again, it would keep the caller from ending.
        assert referral.next_at is None or referral.next_at > now, f"what fell due is applied: {referral.referral_id}"
    await saving.save(connection, changed, settled.steps, settled.ledger, now)
    return Counter(str(step.referral.state) for step in settled.steps)


async def _settled(connection: Connection, due: Sequence[Referral], known: Known, key: EvidenceKey | None) -> Settled:
    settled = settle(due, known)
    while settled.wanted:
        known = await knowing.learn(connection, known, settled.wanted, key)
        settled = settle(due, known)
    return settled


async def refresh(pool: Pool, advocates: Collection[str], now: datetime, key: EvidenceKey | None = None) -> None:
    """Apply what has fallen due of advocates before their referrals are read, in a transaction of its own.

    It costs one statement where nothing has fallen due.
    """
    async with pool.acquire() as connection:
        if not await referrals.load_due(connection, advocates, (), now, 1):
            return
        async with connection.transaction():
            await locks.lock_only(connection, advocates)
            await apply_due(connection, advocates, (), now, key)
