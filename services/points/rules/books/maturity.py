"""What falls due by itself, applied to the second: holds that run out, activation, giving up, expiry.

A customer's dues are applied in the order of their instants; of one instant holds are released first, then points
are activated, then undelivered ones given up, then expired. Each is recorded as of its instant: nothing else of
the customer was recorded since, and every balance read from then on has counted it already.

The sweep does the plain part of it by a statement for many customers at once (store/sweeping.py): what changes here
changes there too; tests hold one against the other.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import IntEnum
from heapq import heapify, heappop, heappush
from typing import Final
from uuid import UUID

from services.points.rules.books.books import Books, Trigger, plain_context
from services.points.rules.books.settling import close_waiting, note_transaction, settle
from services.points.rules.books.state import Hold
from services.points.rules.ledger import postings
from services.points.rules.ledger.lots import Lot, Portion, earliest, first, next_due
from shared.contracts.envelope import Cause

OPEN: Final = "held"
EXPIRED: Final = "expired"


class _Rank(IntEnum):
    RELEASE = 0
    ACTIVATE = 1
    GIVE_UP = 2
    EXPIRE = 3


_Due = tuple[datetime, _Rank, str, UUID]
"""When, what, of which origin, and the id of the lot or the hold."""


def is_due(books: Books, customer: str) -> bool:
    """Whether something may have fallen due for a customer."""
    due_at = books.state.accounts[customer].due_at
    return due_at is not None and due_at <= books.now


def apply_due(books: Books, customers: Iterable[str]) -> None:
    """Apply what has fallen due for customers by now."""
    for customer in customers:
        if is_due(books, customer):
            _apply(books, customer)


def _apply(books: Books, customer: str) -> None:
    heap = _dues(books, customer)
    heapify(heap)
    while heap and heap[0][0] <= books.now:
        at, rank, origin, id_ = heappop(heap)
        # Each once: a lot stands in the queue again when some of it became available before it ends.
        together = {id_: None}
        while heap and heap[0][:2] == (at, rank) and (rank is _Rank.EXPIRE or heap[0][2] == origin):
            together[heappop(heap)[3]] = None
        given: list[UUID] = []
        if rank is _Rank.RELEASE:
            for hold_id in together:
                hold = books.state.holds[customer][hold_id]
                given += [lot_id for lot_id, _ in hold.portions]
                release(books, hold, at)
        elif rank is _Rank.GIVE_UP:
            _give_up(books, customer, origin, at)
        else:
            lots = [lot for lot in (books.lots_of(customer)[one] for one in together) if _is_of(lot, rank)]
            if rank is _Rank.ACTIVATE:
                given = [lot.id for lot in lots]
                _activate(books, lots, at)
            else:
                _expire(books, lots, at)
        # What became available may have to expire at once.
        for due in _expiries([books.lots_of(customer)[lot_id] for lot_id in given], at):
            heappush(heap, due)
    _look_ahead(books, customer)


def _dues(books: Books, customer: str) -> list[_Due]:
    found: list[_Due] = [
        (hold.expires_at, _Rank.RELEASE, str(hold.id), hold.id)
        for hold in books.state.holds.get(customer, {}).values()
        if hold.state == OPEN
    ]
    for lot in books.lots_of(customer).values():
        at = _next_due(lot)
        if at is not None:
            rank = _Rank.EXPIRE
            if lot.pending:
                rank = _Rank.ACTIVATE if lot.activates_at is not None else _Rank.GIVE_UP
            found.append((at, rank, lot.origin, lot.id))
    return found


def _next_due(lot: Lot) -> datetime | None:
    """As `next_due`; what waits for a delivery is given up also where a refund has taken all of its lot before.

    It was taken for what other rules had given: what this one gave has to be taken back still, from elsewhere.
    """
    return lot.cancels_at if lot.pending and lot.activates_at is None else next_due(lot)


def _expiries(lots: Iterable[Lot], since: datetime) -> list[_Due]:
    return [
        (max(since, lot.expires_at), _Rank.EXPIRE, lot.origin, lot.id)
        for lot in lots
        if lot.remaining and not lot.pending and lot.expires_at is not None
    ]


def _is_of(lot: Lot, rank: _Rank) -> bool:
    """Whether there is still something to do for a lot that stood in the queue."""
    return lot.remaining > 0 and lot.pending is (rank is _Rank.ACTIVATE)


def release(books: Books, hold: Hold, at: datetime, state: str = EXPIRED) -> None:
    """Give back what is held, at an instant; its lots pay debt first, and expire when their time is over."""
    lots = books.lots_of(hold.customer_id)
    portions = [Portion(lots[lot_id], points) for lot_id, points in hold.portions]
    cause = Cause(str(hold.id), str(hold.id))
    why = plain_context(Trigger(at, at, cause), f"hold/{hold.id}", {"kind": "hold", "hold_id": str(hold.id)})
    books.record(postings.release(books.state.accounts[hold.customer_id], portions, why, books.ids), cause)
    keep_hold(books, hold._replace(state=state, portions=()))


def expire_given_back(books: Books, hold: Hold, at: datetime) -> None:
    """End what was just given back of a hold at an instant, where its time is over: until then it did not expire."""
    lots = [books.lots_of(hold.customer_id)[lot_id] for lot_id, _ in hold.portions]
    _expire(books, [lot for lot in lots if lot.remaining and lot.expires_at is not None and lot.expires_at <= at], at)


def keep_hold(books: Books, hold: Hold) -> None:
    """Keep what is known of a hold now."""
    books.state.holds.setdefault(hold.customer_id, {})[hold.id] = hold
    books.changes.holds[hold.id] = hold


def _activate(books: Books, lots: list[Lot], at: datetime) -> None:
    if not lots:
        return
    customer, origin = lots[0].customer_id, lots[0].origin
    cause = _cause_of(lots[0])
    why = plain_context(Trigger(at, at, cause), origin, _reason_of(origin))
    made = books.record(postings.activate(books.state.accounts[customer], lots, why, books.ids), cause)
    key = (customer, origin.removeprefix("order/"))
    if origin.startswith("order/"):
        note_transaction(books, key, made)


def _expire(books: Books, lots: list[Lot], at: datetime) -> None:
    if not lots:
        return
    cause = _cause_of(lots[0])
    why = plain_context(Trigger(at, at, cause), "expiry", {"kind": "expiry"})
    books.record(postings.expire(books.state.accounts[lots[0].customer_id], lots, why, books.ids), cause)


def _give_up(books: Books, customer: str, origin: str, at: datetime) -> None:
    key = (customer, origin.removeprefix("order/"))
    waiting = next(lot for lot in books.own_lots((customer, origin)) if lot.pending)
    settle(books, key, books.state.orders[key].standing, Trigger(at, at, _cause_of(waiting)))
    close_waiting(books, key)


def _look_ahead(books: Books, customer: str) -> None:
    """Note when something falls due next, by what is loaded and what is known of the rest."""
    holds = books.state.holds.get(customer, {}).values()
    due_at = first(_next_due(lot) for lot in books.lots_of(customer).values())
    due_at = earliest(due_at, first(hold.expires_at for hold in holds if hold.state == OPEN))
    due_at = earliest(due_at, books.state.next_due.get(customer, books.due_before.get(customer)))
    if due_at is not None and due_at <= books.now:
        raise LookupError(f"something that fell due at {due_at} could not be applied")
    books.state.accounts[customer] = books.state.accounts[customer]._replace(due_at=due_at)
    books.changes.accounts.add(customer)


def _cause_of(lot: Lot) -> Cause:
    """Time is nobody's event: what falls due follows from the transaction that gave the points."""
    return Cause(str(lot.transaction_id), str(lot.transaction_id))


REASONS: Final = {
    "order": ("purchase", "order_id"),
    "review": ("review", "review_id"),
    "activity": ("activity", "activity_id"),
    "survey": ("survey", "answer_id"),
    "referral": ("referral", "referral_id"),
}
"""By the kind of an origin: the kind of the reason, and the name of the id in it."""


def _reason_of(origin: str) -> dict[str, str]:
    kind, _, id_ = origin.partition("/")
    if kind in REASONS:
        name, field = REASONS[kind]
        return {"kind": name, field: id_}
    return {"kind": kind}
