"""Redemptions: points are spent on a reward or at a shop, and come back when the redemption is cancelled."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from services.points.handlers.commands import (
    Call,
    InsufficientPointsError,
    OpenBooks,
    close_books,
    open_books,
    read_books,
)
from services.points.rules.books.rewards import Reward, tier_suffices
from services.points.rules.books.state import Hold
from services.points.rules.books.tiers import Span, standing_before
from services.points.rules.ledger import postings
from services.points.rules.ledger.lots import Lot, Portion
from services.points.rules.program import dates
from services.points.store import redemptions, rewards, rules, timelines
from services.points.store.redemptions import Redemption
from shared.postgres.pool import Connection

GRACE: Final = timedelta(days=30)
"""How long points of a cancelled redemption stay available if their own date has passed."""


class NotFoundError(Exception):
    """There is no such reward, redemption or hold."""


class RefusedError(Exception):
    """The request is not allowed; `code` is the error code of the API."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class ReferenceUsedError(Exception):
    """The reference belongs to `first`, a redemption that was cancelled or a hold that is over.

    It is an error, since a shop that got the first result again and read no more than its status would give goods away.
    """

    def __init__(self, first: Redemption | Hold) -> None:
        super().__init__(f"the reference was used by {first.id}")
        self.first = first


@dataclass(frozen=True, slots=True)
class ForReward:
    """Points for a number of a reward."""

    reward_id: str
    quantity: int


@dataclass(frozen=True, slots=True)
class ForReference:
    """Points that a shop takes as payment; the reference is unique within the customer."""

    points: int
    reference: str


async def redeem_for_reward(connection: Connection, call: Call, wanted: ForReward) -> Redemption:
    """Redeem points for a reward: stock and points move together or not at all.

    Raises:
        NotFoundError: there is no such reward.
        RefusedError: not_in_window, tier_too_low, limit_reached, out_of_stock.
        InsufficientPointsError: it costs more than is available.
    """
    async with open_books(connection, call) as opened:
        # After the customer's lock, as every writer of both does: no two of them can deadlock.
        reward = await rewards.lock(connection, wanted.reward_id)
        if reward is None:
            raise NotFoundError
        await _check(connection, call, reward, wanted.quantity)
        redemption = await _spend(
            opened,
            _redemption(opened, reward.points * wanted.quantity)._replace(
                reward_id=reward.id, quantity=wanted.quantity, took_stock=reward.stock is not None
            ),
        )
    if redemption.took_stock:
        await rewards.move_stock(connection, reward.id, -wanted.quantity)
    return redemption


async def _check(connection: Connection, call: Call, reward: Reward, quantity: int) -> None:
    if not reward.is_open(call.now):
        raise RefusedError("not_in_window", "The reward is not on offer now.")
    if reward.minimum_tier is not None:
        # Strictly after now: a promotion of this very instant counts for what is asked for after it.
        at = call.now + timedelta.resolution
        loaded = await timelines.load(connection, [call.customer_id], lambda _: Span(at, at))
        tier = standing_before(loaded.get(call.customer_id, ()), at).tier
        ladder = (await rules.in_force(connection, call.now)).document.tiers
        if not tier_suffices(tier, reward.minimum_tier, ladder):
            raise RefusedError("tier_too_low", f"The reward is for customers from {reward.minimum_tier} on.")
    if reward.limit_per_customer is not None:
        had = await redemptions.quantity_of(connection, call.customer_id, reward.id)
        if had + quantity > reward.limit_per_customer:
            raise RefusedError("limit_reached", f"A customer may have it {reward.limit_per_customer} times.")
    if reward.stock is not None and reward.stock < quantity:
        raise RefusedError("out_of_stock", "There are not so many left.")


async def redeem_for_reference(connection: Connection, call: Call, wanted: ForReference) -> Redemption:
    """Redeem points at a shop; the same reference again returns the first redemption while it stands.

    Raises:
        ReferenceUsedError: the first redemption of the reference was cancelled.
        RefusedError: reference_conflict, the reference was used for other points.
        InsufficientPointsError: more is asked for than is available.
    """
    try:
        async with open_books(connection, call, to_spend=wanted.points) as opened:
            redemption = await _spend(opened, _redemption(opened, wanted.points, wanted.reference))
    except InsufficientPointsError:
        if (first := await _redeemed(connection, call, wanted)) is None:
            raise
        return first
    if opened.is_written:
        return redemption
    # The reference is looked up only where it is not new: the customer's lock keeps others from using it meanwhile.
    first = await _redeemed(connection, call, wanted)
    assert first is not None, "nothing was written only because of it"
    return first


async def redeem_unlocked(connection: Connection, call: Call, wanted: ForReference) -> Redemption | None:
    """Redeem points like `redeem_for_reference`, but by two statements without a transaction around them.

    None: nothing is written, since the account changed between them, the reference or the request's key is used, or
    more has to be read. Then the other function decides.

    Raises:
        StoredMeanwhileError: the request's key has a response; nothing is written.
    """
    opened = await read_books(connection, call, wanted.points)
    if opened is None:
        return None
    redemption = await _spend(opened, _redemption(opened, wanted.points, wanted.reference))
    return redemption if await close_books(opened) else None


async def _redeemed(connection: Connection, call: Call, wanted: ForReference) -> Redemption | None:
    """The redemption that was made under a reference, if there is one.

    Raises:
        ReferenceUsedError: it was cancelled.
        RefusedError: reference_conflict, it was made for other points.
    """
    first = await redemptions.by_reference(connection, call.customer_id, wanted.reference)
    if first is not None and first.cancelled_at is not None:
        raise ReferenceUsedError(first)
    if first is not None and first.points != wanted.points:
        raise RefusedError("reference_conflict", "The reference was used for other points.")
    return first


def _redemption(opened: OpenBooks, points: int, reference: str | None = None) -> Redemption:
    """A new redemption, before its transaction is made."""
    return Redemption(
        id=next(opened.books.ids),
        customer_id=opened.call.customer_id,
        points=points,
        reward_id=None,
        quantity=None,
        reference=reference,
        hold_id=None,
        transaction_id=UUID(int=0),
        created_at=opened.call.now,
        cancelled_at=None,
    )


async def _spend(opened: OpenBooks, redemption: Redemption) -> Redemption:
    """Take the points of a redemption, which is written with the books."""
    lots = await opened.spendable(redemption.points)
    context = opened.call.context("redemption", redemption.id, _reason("redemption", redemption))
    entry = postings.redeem(opened.account, redemption.points, lots, context, opened.books.ids)
    opened.redemption = redemption._replace(transaction_id=opened.record(entry))
    return opened.redemption


def _reason(kind: str, redemption: Redemption) -> dict[str, str]:
    reason = {"kind": kind, "redemption_id": str(redemption.id)}
    return reason if redemption.reward_id is None else reason | {"reward_id": redemption.reward_id}


async def cancel(connection: Connection, redemption_id: UUID, call: Call) -> Redemption:
    """Cancel a redemption: its lots come back with their dates, and the stock that it took. Again it has no effect.

    Raises:
        NotFoundError: the customer of the call has no such redemption.
    """
    async with open_books(connection, call) as opened:
        redemption = await redemptions.find(connection, redemption_id)
        if redemption is None or redemption.customer_id != call.customer_id:
            raise NotFoundError
        if redemption.cancelled_at is not None:
            return redemption
        spent = await redemptions.portions(connection, redemption.transaction_id)
        lots = await opened.load_lots([lot_id for lot_id, _ in spent])
        fresh = await _fresh_date(connection, call.now)
        portions = [Portion(_with_date(lots[lot_id], call.now, fresh), points) for lot_id, points in spent]
        context = call.context("redemption", redemption.id, _reason("cancellation", redemption))
        opened.record(postings.restore(opened.account, portions, context, opened.books.ids))
    if redemption.took_stock and redemption.reward_id is not None and redemption.quantity is not None:
        await rewards.move_stock(connection, redemption.reward_id, redemption.quantity)
    return await redemptions.cancel(connection, redemption.id, call.now)


async def _fresh_date(connection: Connection, now: datetime) -> datetime:
    zone = (await rules.in_force(connection, now)).zone
    return dates.midnight(dates.after(dates.day_of(now, zone), GRACE.days + 1), zone)


def _with_date(lot: Lot, now: datetime, fresh: datetime) -> Lot:
    """A lot as it comes back: with a fresh date if its own has passed."""
    if lot.expires_at is not None and lot.expires_at <= now:
        return lot._replace(expires_at=fresh)
    return lot
