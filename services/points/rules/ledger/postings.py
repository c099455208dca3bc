"""The ledger's arithmetic: postings of points between accounts, lot by lot.

What flows into `available` pays debt first; what is taken back and is not there becomes debt.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from services.points.rules.ledger.accounts import (
    ADJUSTED,
    ADJUSTMENT,
    AVAILABLE,
    DEBT,
    EXPIRED,
    HELD,
    ISSUED,
    PENDING,
    REDEEMED,
    REVERSED,
    Account,
)
from services.points.rules.ledger.lots import Grant, Lot, Portion, earliest, first, next_due, spending_order
from services.points.rules.ledger.transactions import Entry, Posting, Transaction, TransactionContext


def earn(account: Account, grants: Sequence[Grant], context: TransactionContext, ids: Iterator[UUID]) -> Entry:
    """Give what rules grant (each 0 or more points); a grant of 0 in all is a transaction too."""
    return _give(account, grants, context, ids, "earned")


def _give(
    account: Account, grants: Sequence[Grant], context: TransactionContext, ids: Iterator[UUID], kind: str
) -> Entry:
    transaction_id = next(ids)
    source = ADJUSTED if kind == "adjusted" else ISSUED
    debt = account.debt
    total = pending = activating = expiring = 0
    due_at = account.due_at
    activates: datetime | None = None
    expires: datetime | None = None
    postings: list[Posting] = []
    lots: list[Lot] = []
    for grant in grants:
        points = grant.points
        if points == 0:
            continue
        repaid = 0 if grant.pending else min(debt, points)
        debt -= repaid
        total += points
        lot = Lot(
            next(ids),
            account.customer_id,
            transaction_id,
            context.origin,
            grant.rule,
            points,
            points - repaid,
            0,
            0,
            repaid,
            0,
            grant.pending,
            context.occurred_at,
            grant.activates_at,
            grant.cancels_at,
            grant.expires_at,
        )
        lots.append(lot)
        if repaid:
            postings.append(Posting(source, DEBT, repaid, lot.id))
        if grant.pending:
            pending += points
            postings.append(Posting(source, PENDING, points, lot.id))
        elif lot.remaining:
            postings.append(Posting(source, AVAILABLE, lot.remaining, lot.id))
        if grant.pending or grant.expires_at is not None:
            due_at = earliest(due_at, next_due(lot))
            activates, activating = _soonest(activates, activating, grant.activates_at, lot.remaining)
            expires, expiring = _soonest(expires, expiring, grant.expires_at, lot.remaining)
    repaid = account.debt - debt
    # All fields are listed: `_replace` costs three times as much, and this happens for every event.
    after = Account(
        account.customer_id,
        account.available + total - pending - repaid,
        account.pending + pending,
        account.held,
        debt,
        account.earned if kind == "adjusted" else account.earned + total,
        account.redeemed,
        account.sequence + 1,
        account.orders + context.orders,
        max(account.recorded_at, context.recorded_at),
        due_at,
    )
    parts = (activating, expiring, pending, repaid)
    made = Transaction(transaction_id, after, kind, total, context, tuple(postings), activates, expires, *parts)
    return Entry(made, made=tuple(lots))


def _soonest(first_at: datetime | None, points: int, at: datetime | None, more: int) -> tuple[datetime | None, int]:
    """The earlier of two instants, and the points that have it; 0 points have no instant."""
    if at is None or not more or (first_at is not None and at > first_at):
        return first_at, points
    return at, more + (points if at == first_at else 0)


def take_back(
    account: Account, points: Mapping[str, int], lots: Iterable[Lot], context: TransactionContext, ids: Iterator[UUID]
) -> Entry:
    """Take points (by rule) back: from the origin's own lots (the rule's own first, pending before available),
    then from other available lots (soonest expiry first), then as debt.

    `lots` are the customer's open lots: those of the origin, and the others if the origin's own do not suffice.
    """
    flow = _Flow(account)
    open_lots = [lot for lot in lots if lot.remaining]
    own = sorted((lot for lot in open_lots if lot.origin == context.origin), key=_taking_order)
    left = 0
    for rule, wanted in points.items():
        left += flow.take(wanted, [lot for lot in own if lot.rule == rule], REVERSED)
    left = flow.take(left, own, REVERSED)
    if left:
        others = (lot for lot in open_lots if lot.origin != context.origin and not lot.pending)
        left = flow.take(left, sorted(others, key=spending_order), REVERSED)
    if left:
        flow.post(Posting(DEBT, REVERSED, left, None))
    total = sum(points.values())
    flow.earned = -total
    return flow.end("reversed", -total, context, next(ids))


def adjust(
    account: Account, points: int, lots: Iterable[Lot], context: TransactionContext, ids: Iterator[UUID]
) -> Entry:
    """Correct a balance by hand, up or down; `lots` are open lots of the customer that suffice.

    Raises:
        ValueError: more would be taken than is available.
    """
    if points > 0:
        return _give(account, [Grant(ADJUSTMENT, points)], context, ids, "adjusted")
    flow = _Flow(account)
    flow.spend(-points, lots, ADJUSTED)
    return flow.end("adjusted", points, context, next(ids))


def redeem(
    account: Account, points: int, lots: Iterable[Lot], context: TransactionContext, ids: Iterator[UUID]
) -> Entry:
    """Spend available points; `lots` are open lots of the customer that suffice.

    Raises:
        ValueError: more would be taken than is available.
    """
    flow = _Flow(account)
    flow.spend(points, lots, REDEEMED)
    flow.redeemed = points
    return flow.end("redeemed", -points, context, next(ids))


def hold(account: Account, points: int, lots: Iterable[Lot], context: TransactionContext, ids: Iterator[UUID]) -> Entry:
    """Reserve available points; `lots` are open lots of the customer that suffice.

    Raises:
        ValueError: more would be taken than is available.
    """
    flow = _Flow(account)
    flow.spend(points, lots, HELD)
    return flow.end("held", -points, context, next(ids))


def capture(account: Account, portions: Sequence[Portion], context: TransactionContext, ids: Iterator[UUID]) -> Entry:
    """Take points that were held."""
    flow = _Flow(account)
    for portion in portions:
        flow.move(portion, HELD, REDEEMED)
    flow.redeemed = sum(portion.points for portion in portions)
    return flow.end("redeemed", -flow.redeemed, context, next(ids))


def release(account: Account, portions: Sequence[Portion], context: TransactionContext, ids: Iterator[UUID]) -> Entry:
    """Give points back that were held; they pay debt first."""
    flow = _Flow(account)
    for portion in portions:
        flow.give_back(portion, HELD)
    return flow.end("released", sum(portion.points for portion in portions), context, next(ids))


def restore(account: Account, portions: Sequence[Portion], context: TransactionContext, ids: Iterator[UUID]) -> Entry:
    """Give points back that were redeemed, to their lots; they pay debt first."""
    flow = _Flow(account)
    for portion in portions:
        flow.give_back(portion, REDEEMED)
    total = sum(portion.points for portion in portions)
    flow.redeemed = -total
    return flow.end("restored", total, context, next(ids))


def activate(account: Account, lots: Sequence[Lot], context: TransactionContext, ids: Iterator[UUID]) -> Entry:
    """Make pending lots available; they pay debt first. `lots` carry the dates that they have from now on."""
    flow = _Flow(account)
    for lot in lots:
        flow.give_back(Portion(lot, lot.remaining), PENDING)
        flow.changed[lot.id] = flow.changed[lot.id]._replace(pending=False)
    return flow.end("activated", sum(lot.remaining for lot in lots), context, next(ids))


def expire(account: Account, lots: Sequence[Lot], context: TransactionContext, ids: Iterator[UUID]) -> Entry:
    """End what remains of available lots."""
    flow = _Flow(account)
    for lot in lots:
        flow.move(Portion(lot, lot.remaining), AVAILABLE, EXPIRED)
    return flow.end("expired", -sum(lot.remaining for lot in lots), context, next(ids))


def _taking_order(lot: Lot) -> tuple[object, ...]:
    return not lot.pending, spending_order(lot)


# By account: the field of a lot that counts its points while they are there. Points that paid debt count as reversed.
_COUNTED: Final = {
    AVAILABLE: "remaining",
    PENDING: "remaining",
    HELD: "held",
    REDEEMED: "spent",
    ADJUSTED: "spent",
    REVERSED: "reversed",
    DEBT: "reversed",
    EXPIRED: "expired",
}


class _Flow:
    """A transaction in the making: each posting moves its points within its lot too."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.postings: list[Posting] = []
        self.changed: dict[UUID, Lot] = {}
        self.gained = {AVAILABLE: 0, PENDING: 0, HELD: 0, DEBT: 0}
        self.expires: datetime | None = None
        self.expiring = 0
        self.earned = 0
        self.redeemed = 0

    def post(self, posting: Posting) -> None:
        """Add a posting. A debt is kept as a positive number, so a posting from it increases it."""
        self.postings.append(posting)
        for name, points in ((posting.source, -posting.points), (posting.target, posting.points)):
            if name in self.gained:
                self.gained[name] += -points if name == DEBT else points

    def move(self, portion: Portion, source: str, target: str) -> None:
        """Move points of a lot from one account to another."""
        lot = self.changed.get(portion.lot.id, portion.lot)
        fields: dict[str, Any] = {_COUNTED[source]: getattr(lot, _COUNTED[source]) - portion.points}
        into = _COUNTED[target]
        fields[into] = fields.get(into, getattr(lot, into)) + portion.points
        self.changed[lot.id] = lot._replace(**fields)
        self.post(Posting(source, target, portion.points, lot.id))

    def take(self, points: int, candidates: Iterable[Lot], target: str) -> int:
        """Take up to `points` from the candidates in their order; returns what could not be taken."""
        for candidate in candidates:
            if points == 0:
                break
            lot = self.changed.get(candidate.id, candidate)
            taken = min(points, lot.remaining)
            if taken:
                points -= taken
                self.move(Portion(lot, taken), PENDING if lot.pending else AVAILABLE, target)
        return points

    def spend(self, points: int, lots: Iterable[Lot], target: str) -> None:
        """Take available points in the order in which they are spent."""
        if points > self.account.available:
            raise ValueError(f"{points} points are more than the {self.account.available} that are available")
        order = sorted((lot for lot in lots if lot.remaining and not lot.pending), key=spending_order)
        if self.take(points, order, target):
            raise LookupError("the open lots do not hold what is available")

    def give_back(self, portion: Portion, source: str) -> None:
        """Move points into `available`, paying debt first."""
        repaid = min(portion.points, self.account.debt + self.gained[DEBT])
        if repaid:
            self.move(Portion(portion.lot, repaid), source, DEBT)
        if portion.points > repaid:
            left = portion.points - repaid
            self.move(Portion(portion.lot, left), source, AVAILABLE)
            self.expires, self.expiring = _soonest(self.expires, self.expiring, portion.lot.expires_at, left)
        # The dates of a lot may be new even where all of it paid debt.
        self.changed.setdefault(portion.lot.id, portion.lot)

    def end(self, kind: str, points: int, context: TransactionContext, id_: UUID) -> Entry:
        """The entry, with the account after it; `recorded_at` never decreases along a statement."""
        account, gained = self.account, self.gained
        changed = tuple(self.changed.values())
        after = Account(
            account.customer_id,
            account.available + gained[AVAILABLE],
            account.pending + gained[PENDING],
            account.held + gained[HELD],
            account.debt + gained[DEBT],
            account.earned + self.earned,
            account.redeemed + self.redeemed,
            account.sequence + 1,
            account.orders,
            max(account.recorded_at, context.recorded_at),
            earliest(account.due_at, first(map(next_due, changed))),
        )
        dates = (None, self.expires, 0, self.expiring, 0, max(0, -gained[DEBT]))
        made = Transaction(id_, after, kind, points, context, tuple(self.postings), *dates)
        return Entry(made, changed=changed)
