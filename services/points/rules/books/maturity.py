"""Maturity: what falls due by itself, applied to the second: holds that run out, activation, giving up, expiry.

What is due for a customer is applied in the order of its instants; of one instant holds are released first, then points
are activated, then undelivered ones given up, then expired. Each is recorded as of its instant: nothing else was
recorded for the customer since, and every balance read from then on has counted it already.

The sweep does the plain part of it by one statement for many customers (store/sweeping.py): what changes here changes
there too; tests compare the two.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import IntEnum
from heapq import heapify, heappop, heappush
from typing import Final
from uuid import UUID

from services.points.rules.books.books import Books
from services.points.rules.books.settling import close_waiting_lots, settle
from services.points.rules.books.state import Hold
from services.points.rules.books.trigger import Trigger
from services.points.rules.ledger import postings
from services.points.rules.ledger.lots import Lot, Portion, earliest, first, next_due
from services.points.rules.program import earning
from services.points.rules.program.earning import PURCHASE, Origin
from shared.contracts.envelope import Cause

OPEN: Final = "held"
EXPIRED: Final = "expired"

_EXPIRY: Final = "expiry"
"""The origin and the reason of a transaction that lets points expire."""


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
    heap = _all_due(books, customer)
    heapify(heap)
    while heap and heap[0][0] <= books.now:
        at, rank, origin, id_ = heappop(heap)
        # Each id once: a lot is queued again when some of it became available before it expires.
        together = {id_: None}
        while heap and heap[0][:2] == (at, rank) and (rank is _Rank.EXPIRE or heap[0][2] == origin):
            together[heappop(heap)[3]] = None
        available: list[UUID] = []
        if rank is _Rank.RELEASE:
            for hold_id in together:
                hold = books.state.holds[customer][hold_id]
                available += [lot_id for lot_id, _ in hold.portions]
                release(books, hold, at)
        elif rank is _Rank.GIVE_UP:
            _give_up(books, customer, origin, at)
        else:
            lots = [lot for lot in map(books.lots_of(customer).__getitem__, together) if _is_of(lot, rank)]
            if rank is _Rank.ACTIVATE:
                available = [lot.id for lot in lots]
                _activate(books, lots, at)
            else:
                _expire(books, lots, at)
        # What became available may have to expire at once.
        for due in _expiries([books.lots_of(customer)[lot_id] for lot_id in available], at):
            heappush(heap, due)
    _look_ahead(books, customer)


def _all_due(books: Books, customer: str) -> list[_Due]:
    due: list[_Due] = [
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
            due.append((at, rank, lot.origin, lot.id))
    return due


def _next_due(lot: Lot) -> datetime | None:
    """As `next_due`, but a lot that waits for a delivery is given up even where a refund has emptied it before.

    The refund took it for what other rules had given: what this rule gave still has to be taken back, from elsewhere.
    """
    return lot.cancels_at if lot.pending and lot.activates_at is None else next_due(lot)


def _expiries(lots: Iterable[Lot], since: datetime) -> list[_Due]:
    return [
        (max(since, lot.expires_at), _Rank.EXPIRE, lot.origin, lot.id)
        for lot in lots
        if lot.remaining and not lot.pending and lot.expires_at is not None
    ]


def _is_of(lot: Lot, rank: _Rank) -> bool:
    """Whether there is still something to do for a lot that was queued."""
    return lot.remaining > 0 and lot.pending is (rank is _Rank.ACTIVATE)


def release(books: Books, hold: Hold, at: datetime, state: str = EXPIRED) -> None:
    """Give back what is held, at an instant: it pays debt first, and expires when the time of its lots is over."""
    lots = books.lots_of(hold.customer_id)
    portions = [Portion(lots[lot_id], points) for lot_id, points in hold.portions]
    cause = Cause(str(hold.id), str(hold.id))
    context = Trigger(at, at, cause).context(origin_of(hold.id), reason_of(hold.id))
    books.record(postings.release(books.state.accounts[hold.customer_id], portions, context, books.ids), cause)
    books.keep_hold(hold._replace(state=state, portions=()))


def origin_of(hold_id: UUID) -> str:
    """The origin of the transactions of a hold."""
    return str(Origin("hold", str(hold_id)))


def reason_of(hold_id: UUID) -> dict[str, str]:
    """The reason of the transactions of a hold."""
    return {"kind": "hold", "hold_id": str(hold_id)}


def expire_given_back(books: Books, hold: Hold, at: datetime) -> None:
    """Let expire what a hold just gave back at an instant, where its time is over: while it was held it could not."""
    lots = [books.lots_of(hold.customer_id)[lot_id] for lot_id, _ in hold.portions]
    _expire(books, [lot for lot in lots if lot.remaining and lot.expires_at is not None and lot.expires_at <= at], at)


def _activate(books: Books, lots: list[Lot], at: datetime) -> None:
    if not lots:
        return
    customer, origin = lots[0].customer_id, lots[0].origin
    cause = _cause_of(lots[0])
    context = Trigger(at, at, cause).context(origin, earning.reason_of(origin))
    transaction_id = books.record(postings.activate(books.state.accounts[customer], lots, context, books.ids), cause)
    prefix, id_ = Origin.parse(origin)
    if prefix == PURCHASE.prefix:
        books.attribute((customer, id_), transaction_id)


def _expire(books: Books, lots: list[Lot], at: datetime) -> None:
    if not lots:
        return
    cause = _cause_of(lots[0])
    context = Trigger(at, at, cause).context(_EXPIRY, {"kind": _EXPIRY})
    books.record(postings.expire(books.state.accounts[lots[0].customer_id], lots, context, books.ids), cause)


def _give_up(books: Books, customer: str, origin: str, at: datetime) -> None:
    key = (customer, Origin.parse(origin).id)
    waiting = next(lot for lot in books.own_lots((customer, origin)) if lot.pending)
    settle(books, key, books.state.orders[key].standing, Trigger(at, at, _cause_of(waiting)))
    close_waiting_lots(books, key)


def _look_ahead(books: Books, customer: str) -> None:
    """Keep when something falls due next, by what is loaded and by the instant that the store gave for the rest."""
    holds = books.state.holds.get(customer, {}).values()
    due_at = first(_next_due(lot) for lot in books.lots_of(customer).values())
    due_at = earliest(due_at, first(hold.expires_at for hold in holds if hold.state == OPEN))
    due_at = earliest(due_at, books.state.next_due.get(customer, books.due_before.get(customer)))
    if due_at is not None and due_at <= books.now:
        raise LookupError(f"something that fell due at {due_at} could not be applied")
    books.set_next_due(customer, due_at)


def _cause_of(lot: Lot) -> Cause:
    """No event triggers maturity: its cause is the transaction that granted the points."""
    return Cause(str(lot.transaction_id), str(lot.transaction_id))
