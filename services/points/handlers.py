"""Load, decide, write, announce: for a batch of events, and for one adjustment."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from services.points.rules import ledger, receipts
from services.points.rules.fold import about_order, about_review, due_for, fold
from services.points.rules.known import Announced
from services.points.rules.ledger import Occasion, Transaction
from services.points.rules.receipts import Basis
from services.points.store import accounts, auditing, loading, saving, statement
from services.points.store.loading import Wanted
from services.points.store.statement import Entry
from shared import telemetry
from shared.contracts.envelope import Cause, Event, Publication, publication
from shared.contracts.loyalty import ReferralChanged, TierChanged
from shared.contracts.outcomes import Refusal
from shared.contracts.shop import PurchaseCompleted, PurchaseRefunded, ReviewPublished, ReviewWithdrawn
from shared.messaging import outbox
from shared.postgres.ids import new_id
from shared.postgres.pool import Connection, Pool
from shared.turns import map_in_turns

SOURCE: Final = "/wafa/points"


async def handle(connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
    """Apply events to the books of their customers; returns what the rules refused."""
    state = await loading.load(connection, wanted_by(events))
    changes = fold(state, events, now, _ids())
    # The events are made while the database writes.
    publications = asyncio.create_task(map_in_turns(_publication, changes.announced))
    await saving.save(connection, state, changes)
    await outbox.announce(connection, await publications)
    telemetry.DUPLICATES.labels("natural_key").inc(changes.repeats)
    telemetry.DUPLICATES.labels("repeat_differs").inc(changes.repeats_that_differ)
    return changes.refusals


def wanted_by(events: Iterable[Event]) -> Wanted:
    """What has to be loaded for events."""
    customers: set[str] = set()
    orders: set[tuple[str, str]] = set()
    refunded: set[tuple[str, str]] = set()
    retold: dict[str, datetime] = {}
    reviews: set[tuple[str, str]] = set()
    skus: set[tuple[str, str]] = set()
    payments: set[tuple[str, str]] = set()
    waited_for: set[tuple[str, str]] = set()
    for event in events:
        customer = event.customer_id
        customers.add(customer)
        match event.data:
            case PurchaseCompleted(order_id=order_id):
                orders.add((customer, order_id))
                refunded.add((customer, order_id))
                waited_for.add((customer, about_order(order_id)))
            case PurchaseRefunded(order_id=order_id):
                orders.add((customer, order_id))
                refunded.add((customer, order_id))
            case ReviewPublished(review_id=review_id, sku=sku):
                reviews.add((customer, review_id))
                skus.add((customer, sku))
                waited_for.add((customer, about_review(review_id)))
            case ReviewWithdrawn(review_id=review_id):
                reviews.add((customer, review_id))
            case TierChanged(effective_at=effective_at):
                retold[customer] = min(effective_at, retold.get(customer, effective_at))
            case ReferralChanged(friend_id=friend, referral_id=referral_id):
                customers.add(friend)
                payments.update(((customer, referral_id), (friend, referral_id)))
            case _:
                pass
    return Wanted(customers, orders, refunded, retold, reviews, skus, payments, sorted(waited_for))


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A correction by hand: points up or down (not 0), with the reason for the books and a note."""

    customer_id: str
    points: int
    reason: str
    note: str | None


class InsufficientPointsError(Exception):
    """More was to be taken than is available; tells how much is missing."""

    def __init__(self, missing: int) -> None:
        super().__init__(f"{missing} points are missing")
        self.missing = missing


async def adjust(connection: Connection, adjustment: Adjustment, request_id: str, now: datetime) -> Transaction:
    """Correct a balance by hand, and tell of it.

    Raises:
        InsufficientPointsError: more would be taken than is available.
    """
    customer = adjustment.customer_id
    account = (await accounts.lock(connection, [customer]))[customer]
    if account.available + adjustment.points < 0:
        raise InsufficientPointsError(-adjustment.points - account.available)
    lots = await loading.open_lots(connection, [customer]) if adjustment.points < 0 else []
    occasion = Occasion(
        occurred_at=now,
        recorded_at=now,
        origin=f"adjustment/{request_id}",
        reason={"kind": "adjustment", "note": adjustment.note or adjustment.reason},
        rules_version=None,
        inputs={"reason": adjustment.reason, "note": adjustment.note},
        receipt_digest=receipts.digest(receipts.without_rules()),
    )
    movement = ledger.adjust(account, adjustment.points, lots, occasion, _ids())
    await saving.save_ledger(connection, [movement.transaction], movement.made, movement.changed)
    await accounts.update(connection, [movement.transaction.account])
    announced = Announced(movement.transaction, now, 0, Cause.of_request(request_id))
    await outbox.announce(connection, [_publication(announced)])
    return movement.transaction


@dataclass(frozen=True, slots=True)
class Check:
    """A check of the books, with the ids that it found wrong."""

    name: str
    offenders: list[str]


async def verify(pool: Pool, sample: int) -> AsyncIterator[Check]:
    """Check the books in one pass, from one snapshot; `sample` orders and receipts are judged anew."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await auditing.take_time(connection)
        balance = await accounts.trial_balance(connection)
        yield Check(
            "trial balance 0", [f"{kind} {points}" for kind, points in balance.items()] if sum(balance.values()) else []
        )
        for name, query in auditing.CHECKS:
            yield Check(name, await auditing.offenders(connection, query))
        yield Check("given = due", await _wrongly_given(connection, sample))
        yield Check("receipts rebuild to their digest", await _broken_receipts(connection, sample))


async def _wrongly_given(connection: Connection, sample: int) -> list[str]:
    keys = await auditing.sample_orders(connection, sample)
    orders = await loading.orders_by_key(connection, keys)
    refunds = await loading.refunds(connection, keys)
    timelines = await loading.timelines(connection, {key[0] for key in keys})
    return [
        f"{key[0]}/{key[1]}"
        for key, order in orders.items()
        if due_for(order, refunds.get(key, {}), timelines.get(key[0], ())) != order.given
    ][: auditing.MOST_SHOWN]


async def _broken_receipts(connection: Connection, sample: int) -> list[str]:
    found = await statement.entries(connection, await auditing.sample_transactions(connection, sample))
    bases = await statement.bases(connection, found)
    return [str(entry.line.id) for entry, basis in zip(found, bases, strict=True) if not _rebuilds(entry, basis)][
        : auditing.MOST_SHOWN
    ]


def _rebuilds(entry: Entry, basis: Basis) -> bool:
    try:
        return receipts.digest(receipts.rebuild(basis)) == entry.receipt_digest
    except LookupError:
        return False


def _publication(announced: Announced) -> Publication:
    """`PointsMoved` as plain data: a model would double the cost, which every event bears."""
    transaction = announced.transaction
    account = transaction.account
    data = {
        "customer_id": account.customer_id,
        "transaction_id": str(transaction.id),
        "points": abs(transaction.points),
        "reason": transaction.occasion.reason,
        "qualifying_points": announced.qualifying,
        "rules_version": transaction.occasion.rules_version,
        "balance": {
            "available": account.available,
            "pending": account.pending,
            "held": account.held,
            "debt": account.debt,
        },
    }
    if data["rules_version"] is None:
        del data["rules_version"]
    return publication(f"loyalty.points.{transaction.kind}.v1", announced.time, data, announced.cause, SOURCE)


def _ids() -> Iterator[UUID]:
    while True:
        yield new_id()
