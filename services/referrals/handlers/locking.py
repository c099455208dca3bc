"""Locks both sides of referrals, and reads under the locks what stands and whether anything has fallen due."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from services.referrals.rules.referral import Referral
from services.referrals.store import locks, referrals
from shared.postgres.pool import Connection


class Sides(NamedTuple):
    """The referrals of friends that were not rejected, and the owners of codes. Both sides are locked.

    `is_due` says that something of them has fallen due.
    """

    locked: set[str]
    referrals: dict[str, list[Referral]]
    advocates: dict[str, str]
    is_due: bool

    def customers(self) -> set[str]:
        """The advocates and the owners of codes."""
        of_friends = {referral.advocate_id for own in self.referrals.values() for referral in own}
        return of_friends.union(self.advocates.values())


async def lock(connection: Connection, customers: Collection[str], keys: Collection[str], now: datetime) -> Sides:
    """Lock customers, the advocates who brought them, and the owners of codes, until the transaction ends."""
    await locks.begin(connection)
    while True:
        locked = await locks.lock(connection, customers, keys)
        sides = Sides(locked, *await referrals.load_at_hand(connection, customers, locked, keys, now))
        if sides.customers() <= locked:
            return sides
        # A sign-up was committed meanwhile, and its advocate is not locked. To lock out of order could deadlock:
        # release the locks, and lock all again.
        await locks.release(connection)


async def reread(connection: Connection, sides: Sides, customers: Collection[str], now: datetime) -> Sides:
    """The sides after what had fallen due is applied."""
    at_hand = await referrals.load_at_hand(connection, customers, (), (), now)
    return sides._replace(referrals=at_hand.by_friend, is_due=at_hand.is_due)
