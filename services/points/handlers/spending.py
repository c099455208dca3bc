"""Redemptions: points become a reward, or what a shop gives for them; and come back when it is cancelled."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from services.points.handlers.commands import (
    Call,
    InsufficientPointsError,
    account_of,
    close_books,
    open_books,
    open_to_spend,
    spendable,
)
from services.points.rules.books.books import Books
from services.points.rules.books.rewards import Reward, tier_suffices
from services.points.rules.books.state import Hold
from services.points.rules.books.tiers import Span, standing_before
from services.points.rules.ledger import postings
from services.points.rules.ledger.lots import Lot, Portion
from services.points.rules.program import dates
from services.points.store import lots, redemptions, rewards, rules, timelines
from services.points.store.redemptions import Redemption
from shared.postgres.ids import new_id
from shared.postgres.pool import Connection

GRACE: Final = timedelta(days=30)
"""How long points of a cancelled redemption stay whose own date has passed."""


class NotFoundError(Exception):
    """There is no such reward or redemption."""


class RefusedError(Exception):
    """The catalogue does not allow it; `code` tells why, as the API names it."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class ReferenceUsedError(Exception):
    """The reference belongs to a redemption that was cancelled, or to a hold that is over: `first`.

    A shop that read only the status of the first result again would give the goods away.
    """

    def __init__(self, first: Redemption | Hold) -> None:
        super().__init__(f"the reference was used by {first.id}")
        self.first = first


@dataclass(frozen=True, slots=True)
class ForReward:
    """Points for so many of a reward."""

    reward_id: str
    quantity: int


@dataclass(frozen=True, slots=True)
class ForReference:
    """Points for what a shop gives; the reference is unique within the customer."""

    points: int
    reference: str


async def redeem_for_reward(connection: Connection, call: Call, wanted: ForReward) -> Redemption:
    """Redeem a reward: stock and points move together or not at all.

    Raises:
        NotFoundError: there is no such reward.
        RefusedError: not_in_window, tier_too_low, limit_reached, out_of_stock.
        InsufficientPointsError: it costs more than is available.
    """
    books = await open_books(connection, call)
    # After the customer's lock, as every writer of both does: so nobody waits for each other.
    reward = await rewards.lock(connection, wanted.reward_id)
    if reward is None:
        raise NotFoundError
    await _check(connection, call, reward, wanted.quantity)
    points = reward.points * wanted.quantity
    redemption = Redemption(
        id=next(books.ids),
        customer_id=call.customer_id,
        points=points,
        reward_id=reward.id,
        quantity=wanted.quantity,
        reference=None,
        hold_id=None,
        transaction_id=UUID(int=0),
        created_at=call.now,
        cancelled_at=None,
        took_stock=reward.stock is not None,
    )
    made = await _spend(connection, books, call, redemption, await spendable(connection, books, call, points))
    assert made is not None, "it has no reference"
    if made.took_stock:
        await rewards.move_stock(connection, reward.id, -wanted.quantity)
    return made


async def _check(connection: Connection, call: Call, reward: Reward, quantity: int) -> None:
    if not reward.is_open(call.now):
        raise RefusedError("not_in_window", "The reward is not on offer now.")
    if reward.minimum_tier is not None:
        # Strictly after now: a promotion of this very instant counts for what is asked for after it.
        at = call.now + timedelta.resolution
        known = await timelines.load(connection, [call.customer_id], lambda _: Span(at, at))
        tier = standing_before(known.get(call.customer_id, ()), at).tier
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
    """Redeem points; the same reference again gives the first redemption while it stands.

    Raises:
        ReferenceUsedError: the first redemption of the reference was cancelled.
        RefusedError: reference_conflict, it was used for other points.
        InsufficientPointsError: more is asked for than is available.
    """
    redemption = Redemption(
        id=new_id(),
        customer_id=call.customer_id,
        points=wanted.points,
        reward_id=None,
        quantity=None,
        reference=wanted.reference,
        hold_id=None,
        transaction_id=UUID(int=0),
        created_at=call.now,
        cancelled_at=None,
    )
    # The reference is looked up where it is not new: under the customer's lock nobody else can use it meanwhile.
    try:
        books, available = await open_to_spend(connection, call, wanted.points)
        made = await _spend(connection, books, call, redemption, available)
    except InsufficientPointsError:
        if (known := await _redeemed(connection, call, wanted)) is None:
            raise
        return known
    made = made or await _redeemed(connection, call, wanted)
    assert made is not None, "it was made, now or before"
    return made


async def _redeemed(connection: Connection, call: Call, wanted: ForReference) -> Redemption | None:
    """The redemption that was made under a reference, if there is one."""
    known = await redemptions.by_reference(connection, call.customer_id, wanted.reference)
    if known is not None and known.cancelled_at is not None:
        raise ReferenceUsedError(known)
    if known is not None and known.points != wanted.points:
        raise RefusedError("reference_conflict", "The reference was used for other points.")
    return known


async def _spend(
    connection: Connection, books: Books, call: Call, redemption: Redemption, available: Sequence[Lot]
) -> Redemption | None:
    """Take the points from available lots and keep the redemption; None, and no change, if its reference is used."""
    reason = {"kind": "redemption", "redemption_id": str(redemption.id)}
    if redemption.reward_id is not None:
        reason["reward_id"] = redemption.reward_id
    context = call.context(f"redemption/{redemption.id}", reason)
    entry = postings.redeem(account_of(books, call), redemption.points, available, context, books.ids)
    redemption = redemption._replace(transaction_id=books.record(entry, call.cause))
    return redemption if await close_books(connection, books, redemption) else None


async def cancel(connection: Connection, redemption_id: UUID, call: Call) -> Redemption:
    """Give the same lots back with their dates, and the stock that it took; again it has no effect.

    Raises:
        NotFoundError: the customer of the call has no such redemption.
    """
    books = await open_books(connection, call)
    redemption = await redemptions.find(connection, redemption_id)
    if redemption is None or redemption.customer_id != call.customer_id:
        raise NotFoundError
    if redemption.cancelled_at is not None:
        return redemption
    spent = await redemptions.portions(connection, redemption.transaction_id)
    books.know(await lots.by_id(connection, [lot_id for lot_id, _ in spent]))
    known = books.lots_of(call.customer_id)
    fresh = await _fresh_date(connection, call.now)
    portions = [Portion(_with_date(known[lot_id], call.now, fresh), points) for lot_id, points in spent]
    reason = {"kind": "cancellation", "redemption_id": str(redemption.id)}
    if redemption.reward_id is not None:
        reason["reward_id"] = redemption.reward_id
    context = call.context(f"redemption/{redemption.id}", reason)
    books.record(postings.restore(account_of(books, call), portions, context, books.ids), call.cause)
    await close_books(connection, books)
    if redemption.took_stock and redemption.reward_id is not None and redemption.quantity is not None:
        await rewards.move_stock(connection, redemption.reward_id, redemption.quantity)
    return await redemptions.cancel(connection, redemption.id, call.now)


async def _fresh_date(connection: Connection, now: datetime) -> datetime:
    zone = (await rules.in_force(connection, now)).zone
    return dates.midnight(dates.after(dates.day_of(now, zone), GRACE.days + 1), zone)


def _with_date(lot: Lot, now: datetime, fresh: datetime) -> Lot:
    """A lot as it comes back: one whose date has passed with a new one."""
    if lot.expires_at is not None and lot.expires_at <= now:
        return lot._replace(expires_at=fresh)
    return lot
