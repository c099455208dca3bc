"""The ledger's arithmetic: an account, its lots, and the two movements of settling.

A posting moves points from one account to another, so every transaction adds up to 0. What flows
into `available` pays debt first; what is taken back beyond what is there becomes debt.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

AVAILABLE: Final = "available"
PENDING: Final = "pending"
HELD: Final = "held"
DEBT: Final = "debt"
ISSUED: Final = "issued"
REVERSED: Final = "reversed"
REDEEMED: Final = "redeemed"
EXPIRED: Final = "expired"
ADJUSTED: Final = "adjusted"
PROGRAM: Final = (ISSUED, REVERSED, REDEEMED, EXPIRED, ADJUSTED)

ADJUSTMENT: Final = "adjustment"

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class Account(NamedTuple):
    """A customer's balances in points, and the numbers of its last transaction and order; as its row."""

    customer_id: str
    available: int
    pending: int
    held: int
    debt: int
    earned: int
    redeemed: int
    sequence: int
    orders: int
    recorded_at: datetime


class Lot(NamedTuple):
    """Points that one rule gave for one thing: what remains of them, and what was taken back; as its row."""

    id: UUID
    customer_id: str
    transaction_id: UUID
    origin: str
    rule: str
    granted: int
    remaining: int
    reversed: int
    spent: int
    pending: bool
    occurred_at: datetime
    activates_at: datetime | None
    expires_at: datetime | None


class Posting(NamedTuple):
    """Points that go from the account `source` to the account `target`."""

    source: str
    target: str
    points: int
    lot_id: UUID | None


class Occasion(NamedTuple):
    """Why and when a transaction is made; `reason` is as published, `inputs` are what its receipt needs."""

    occurred_at: datetime
    recorded_at: datetime
    origin: str
    reason: Mapping[str, str]
    rules_version: int | None
    inputs: Mapping[str, Any]
    receipt_digest: bytes
    orders: int = 0
    """How many orders it adds to the customer's: 1 for a purchase."""


class Transaction(NamedTuple):
    """A transaction with its postings; `account` is the account after it."""

    id: UUID
    account: Account
    kind: str
    points: int
    occasion: Occasion
    postings: tuple[Posting, ...]


class Movement(NamedTuple):
    """What a movement did: the transaction, and every lot that it made or changed."""

    transaction: Transaction
    made: tuple[Lot, ...] = ()
    changed: tuple[Lot, ...] = ()


def earn(account: Account, awards: Mapping[str, int], occasion: Occasion, ids: Iterator[UUID]) -> Movement:
    """Give the awards (points by rule, each 0 or more), available at once; a transaction of 0 is one too."""
    return _give(account, awards, occasion, ids, "earned")


def _give(account: Account, awards: Mapping[str, int], occasion: Occasion, ids: Iterator[UUID], kind: str) -> Movement:
    transaction_id = next(ids)
    source = ADJUSTED if kind == "adjusted" else ISSUED
    debt = account.debt
    postings: list[Posting] = []
    lots: list[Lot] = []
    for rule, points in awards.items():
        if points == 0:
            continue
        repaid = min(debt, points)
        debt -= repaid
        lot = Lot(
            id=next(ids),
            customer_id=account.customer_id,
            transaction_id=transaction_id,
            origin=occasion.origin,
            rule=rule,
            granted=points,
            remaining=points - repaid,
            reversed=repaid,
            spent=0,
            pending=False,
            occurred_at=occasion.occurred_at,
            activates_at=None,
            expires_at=None,
        )
        lots.append(lot)
        if repaid:
            postings.append(Posting(source, DEBT, repaid, lot.id))
        if lot.remaining:
            postings.append(Posting(source, AVAILABLE, lot.remaining, lot.id))
    total = sum(awards.values())
    repaid = account.debt - debt
    after = _after(account, occasion, available=total - repaid, debt=-repaid, earned=0 if kind == "adjusted" else total)
    return Movement(Transaction(transaction_id, after, kind, total, occasion, tuple(postings)), made=tuple(lots))


def take_back(
    account: Account, points: Mapping[str, int], lots: Sequence[Lot], occasion: Occasion, ids: Iterator[UUID]
) -> Movement:
    """Take points (by rule) back: from the origin's own lots (the rule's own first, pending before available),
    then from the others (soonest expiry), then as debt.

    `lots` are the customer's open lots, at least those of the origin; the others are needed only
    where the origin's own do not suffice.
    """
    order = sorted(lots, key=lambda lot: (lot.origin != occasion.origin, not lot.pending, spending_order(lot)))
    taking = _Taking(REVERSED, {lot.id: lot for lot in order})
    left = 0
    for rule, wanted in points.items():
        own = [lot for lot in order if lot.origin == occasion.origin and lot.rule == rule]
        left += taking.take(wanted, own)
    debt = taking.take(left, order)
    if debt:
        taking.postings.append(Posting(DEBT, REVERSED, debt, None))
    total = sum(points.values())
    after = _after(account, occasion, available=-taking.available, pending=-taking.pending, debt=debt, earned=-total)
    transaction = Transaction(next(ids), after, "reversed", -total, occasion, tuple(taking.postings))
    return Movement(transaction, changed=tuple(taking.changed.values()))


def adjust(account: Account, points: int, lots: Sequence[Lot], occasion: Occasion, ids: Iterator[UUID]) -> Movement:
    """Correct a balance by hand, up or down; `lots` are all open lots of the customer.

    Raises:
        ValueError: more would be taken than is available.
    """
    if points > 0:
        return _give(account, {ADJUSTMENT: points}, occasion, ids, "adjusted")
    if -points > account.available:
        raise ValueError(f"{-points} points are more than the {account.available} that are available")
    order = sorted((lot for lot in lots if not lot.pending), key=spending_order)
    taking = _Taking(ADJUSTED, {lot.id: lot for lot in order})
    taking.take(-points, order)
    after = _after(account, occasion, available=points)
    transaction = Transaction(next(ids), after, "adjusted", points, occasion, tuple(taking.postings))
    return Movement(transaction, changed=tuple(taking.changed.values()))


def spending_order(lot: Lot) -> tuple[datetime, datetime, UUID]:
    """Lots go in the order: expiry soonest (never last), age by occurrence, id."""
    return lot.expires_at or _NEVER, lot.occurred_at, lot.id


@dataclass(slots=True)
class _Taking:
    """Points taken out of lots, step by step, to the account `target`."""

    target: str
    lots: dict[UUID, Lot]
    postings: list[Posting] = field(default_factory=list)
    changed: dict[UUID, Lot] = field(default_factory=dict)
    available: int = 0
    pending: int = 0

    def take(self, points: int, candidates: Sequence[Lot]) -> int:
        """Take up to `points` from the candidates in their order; returns what could not be taken."""
        for candidate in candidates:
            if points == 0:
                break
            lot = self.lots[candidate.id]
            taken = min(points, lot.remaining)
            if taken == 0:
                continue
            points -= taken
            if self.target == REVERSED:
                lot = lot._replace(remaining=lot.remaining - taken, reversed=lot.reversed + taken)
            else:
                lot = lot._replace(remaining=lot.remaining - taken, spent=lot.spent + taken)
            self.lots[lot.id] = self.changed[lot.id] = lot
            self.postings.append(Posting(PENDING if lot.pending else AVAILABLE, self.target, taken, lot.id))
            if lot.pending:
                self.pending += taken
            else:
                self.available += taken
        return points


def _after(account: Account, occasion: Occasion, **gained: int) -> Account:
    """The account after its next transaction, by what its balances gained; a statement never runs back."""
    # Every field by hand: `replace` costs three times as much, and this happens for every event.
    gain = gained.get
    return Account(
        account.customer_id,
        account.available + gain("available", 0),
        account.pending + gain("pending", 0),
        account.held,
        account.debt + gain("debt", 0),
        account.earned + gain("earned", 0),
        account.redeemed,
        account.sequence + 1,
        account.orders + occasion.orders,
        max(account.recorded_at, occasion.recorded_at),
    )
