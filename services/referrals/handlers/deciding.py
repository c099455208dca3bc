"""Decisions of people: of one referral, or of many at once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from services.referrals.handlers import due, knowing, locking, saving
from services.referrals.rules.deciding import Decision, decide, is_overturned
from services.referrals.rules.evidence.keys import EvidenceKey
from services.referrals.rules.judging import Judge
from services.referrals.rules.referral import Referral, State, Step
from services.referrals.store import purchases, referrals
from shared.contracts.envelope import Cause
from shared.contracts.orders import Order, OrderKey
from shared.postgres.orders import with_refunds
from shared.postgres.pool import Connection


class Refused(StrEnum):
    """Why a referral was not decided on."""

    NOT_FOUND = "not_found"
    NOT_FLAGGED = "not_flagged"
    """It does not wait for a decision, or not any more."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request with a decision: who makes it, why, and when; its cause is that of what is published."""

    decision: Decision
    note: str
    actor: str
    cause: Cause
    now: datetime


class Decided(NamedTuple):
    """The referrals that were decided on, in the order asked, and the others, each with the reason."""

    done: Sequence[UUID]
    refused: Sequence[tuple[UUID, Refused]]


async def decide_on(connection: Connection, ids: Sequence[UUID], call: Call, key: EvidenceKey | None) -> Decided:
    """Decide on referrals, each on its own, after what has fallen due of both sides is applied."""
    asked = await referrals.read(connection, ids)
    sides = await _lock(connection, asked.values(), call.now, key)
    asked = await referrals.read(connection, ids)
    known = await knowing.begin(connection, call.now)
    orders = await _orders(connection, [own for own in asked.values() if is_overturned(own, call.decision)])
    deciding = _Deciding(call, asked, orders, sides.referrals, Judge(known))
    decided = deciding.run(ids)
    while deciding.judge.wanted:
        known = await knowing.learn(connection, known, deciding.judge.wanted, key)
        deciding = _Deciding(call, asked, orders, sides.referrals, Judge(known))
        decided = deciding.run(ids)
    changed = [step.referral for step in deciding.steps]
    await saving.save(connection, changed, deciding.steps, deciding.judge.ledger, call.now)
    return decided


async def _lock(
    connection: Connection, asked: Collection[Referral], now: datetime, key: EvidenceKey | None
) -> locking.Sides:
    """Lock both sides of referrals; what had fallen due of them is applied."""
    customers = {side for referral in asked for side in (referral.friend_id, referral.advocate_id)}
    sides = await locking.lock(connection, customers, (), now)
    if not sides.is_due:
        return sides
    await due.apply_due(connection, sides.locked, customers, now, key)
    return await locking.reread(connection, sides, customers, now)


async def _orders(connection: Connection, overturned: Collection[Referral]) -> Mapping[OrderKey, Order]:
    """The qualifying orders of rejected referrals, with their refunds."""
    keys = {(referral.friend_id, referral.order_id) for referral in overturned if referral.order_id is not None}
    return await with_refunds(connection, await purchases.load_orders(connection, keys))


class _Deciding:
    """Decides on referrals one after the other."""

    def __init__(
        self,
        call: Call,
        asked: Mapping[UUID, Referral],
        orders: Mapping[OrderKey, Order],
        of_friends: Mapping[str, Sequence[Referral]],
        judge: Judge,
    ) -> None:
        self.judge = judge
        self.steps: list[Step] = []
        self._call = call
        self._asked = dict(asked)
        self._orders = orders
        self._standing = {
            friend: referral.referral_id
            for friend, own in of_friends.items()
            for referral in own[:1]
            if referral.state is not State.EXPIRED
        }

    def run(self, ids: Sequence[UUID]) -> Decided:
        done: list[UUID] = []
        refused: list[tuple[UUID, Refused]] = []
        for id_ in ids:
            referral = self._asked.get(id_)
            if referral is None:
                refused.append((id_, Refused.NOT_FOUND))
            elif self._decide(referral):
                done.append(id_)
            else:
                refused.append((id_, Refused.NOT_FLAGGED))
        return Decided(done, refused)

    def _decide(self, referral: Referral) -> bool:
        call, friend_id = self._call, referral.friend_id
        is_free = self._standing.get(friend_id, referral.referral_id) == referral.referral_id
        order = self._orders.get((friend_id, referral.order_id or ""))
        moves = decide(self.judge, referral, call.decision, order, is_free=is_free)
        for after, at in moves:
            assert at is not None, "a decision changes the state"
            after_call = replace(after, cause=call.cause)
            self.steps.append(Step(after_call, at, call.cause, call.actor, call.note))
            self._asked[after.referral_id] = after_call
            if after.state is State.REJECTED:
                self._standing.pop(friend_id, None)
            else:
                self._standing[friend_id] = after.referral_id
        return bool(moves)
