"""The books: the only writer of the state of customers. Each change is applied to the state and noted for the store.

Rules read `state` as they like and change it by the verbs of `Books`; a test of the architecture holds that.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from services.points.rules.books.births import Birth
from services.points.rules.books.state import Accrual, Announced, Changes, Hold, Key, Order, Payment, Resettling, State
from services.points.rules.books.tiers import TierEntry
from services.points.rules.ledger import postings
from services.points.rules.ledger.accounts import Account
from services.points.rules.ledger.lots import Grant, Lot
from services.points.rules.ledger.transactions import Entry, TransactionContext
from services.points.rules.program.compiled_rule import is_extra
from services.points.rules.program.earning import TIER_PROMOTION
from services.points.rules.program.limits import Use, UseKey
from services.points.rules.program.ruleset import RuleBook
from shared.contracts.envelope import Cause, Event
from shared.contracts.outcomes import Refusal, Waiting
from shared.contracts.refunds import Refund, Taken

PUBLISHED: Final = frozenset({"earned", "activated", "reversed", "redeemed", "restored", "expired", "adjusted"})
"""The kinds of transactions that are published; a hold moves points within its customer."""

MOST_OF_AN_ACCOUNT: Final = 4 * 10**18
"""The most points that rules bring an account to; what is given by hand on top still fits a bigint."""

_PLENTY: Final = 2 * 10**15
"""More room than any single event needs."""


@dataclass(slots=True)
class Books:
    """The state of some customers, and its changes so far.

    `now` is the clock, `ids` yields new ids, `rules` has the versions that may be needed.
    """

    state: State
    rules: RuleBook
    now: datetime
    ids: Iterator[UUID]
    changes: Changes = field(default_factory=Changes)
    due_before: dict[str, datetime] = field(default_factory=dict, init=False)
    """By customer: when something fell due next, as it was loaded."""
    _by_origin: dict[str, dict[str, dict[UUID, None]]] = field(default_factory=dict, init=False)
    """By customer (of those that were asked for) and origin: the lots."""
    _by_time: dict[str, list[tuple[datetime, str]]] | None = field(default=None, init=False)
    """By customer: times and ids of the orders, once they were asked for."""

    def __post_init__(self) -> None:
        for customer, account in self.state.accounts.items():
            if account.due_at is not None:
                self.due_before[customer] = account.due_at

    # Reading.

    def lots_of(self, customer: str) -> dict[UUID, Lot]:
        """The lots of a customer that are loaded or were made since, by id."""
        return self.state.lots.setdefault(customer, {})

    def own_lots(self, key: Key) -> list[Lot]:
        """The lots of a customer that are loaded or were made since, and came from one origin."""
        lots = self.lots_of(key[0])
        by_origin = self._by_origin.get(key[0])
        if by_origin is None:
            by_origin = self._by_origin[key[0]] = {}
            for lot in lots.values():
                by_origin.setdefault(lot.origin, {})[lot.id] = None
        return [lots[lot_id] for lot_id in by_origin.get(key[1], ())]

    def orders_by_time(self, customer: str) -> list[tuple[datetime, str]]:
        """Times and ids of a customer's orders that are loaded or were made since, in the order of time."""
        if self._by_time is None:
            self._by_time = defaultdict(list)
            for key, order in self.state.orders.items():
                self._by_time[key[0]].append((order.occurred_at, key[1]))
        orders = self._by_time[customer]
        orders.sort()  # Nearly all of it is in order already.
        return orders

    def fitting(self, customer: str, points: Mapping[str, int]) -> Mapping[str, int]:
        """Points (by rule) as far as they fit the customer's account, the last of them cut first."""
        room = _room(self.state.accounts[customer])
        if room >= _PLENTY or sum(points.values()) <= room:
            return points
        fitting: dict[str, int] = {}
        for rule, count in points.items():
            fitting[rule] = max(0, min(count, room))
            room -= fitting[rule]
        return fitting

    # Adding what is loaded later.

    def add_lots(self, lots: Iterable[Lot]) -> None:
        """Add lots that were loaded; those that are there already stay as they are."""
        for lot in lots:
            self.lots_of(lot.customer_id).setdefault(lot.id, lot)
            if lot.customer_id in self._by_origin:
                self._by_origin[lot.customer_id].setdefault(lot.origin, {})[lot.id] = None

    def add_uses(self, uses: Mapping[UseKey, Use]) -> None:
        """Add uses of limits that were loaded."""
        self.state.uses.update(uses)

    # Points.

    def earn(self, customer: str, grants: Sequence[Grant], context: TransactionContext, cause: Cause) -> UUID:
        """Give what rules grant; returns the transaction's id."""
        entry = postings.earn(self.state.accounts[customer], grants, context, self.ids)
        if context.reason["kind"] == TIER_PROMOTION.reason:
            return self.record(entry, cause)
        qualifying = entry.transaction.points
        for grant in grants:
            if is_extra(grant.rule):
                qualifying -= grant.points
        return self.record(entry, cause, qualifying)

    def take_back(self, customer: str, points: Mapping[str, int], context: TransactionContext, cause: Cause) -> UUID:
        """Take points (by rule) back; returns the transaction's id."""
        own = self.own_lots((customer, context.origin))
        suffices = sum(lot.remaining for lot in own) >= sum(points.values())
        lots = own if suffices else self.lots_of(customer).values()
        entry = postings.take_back(self.state.accounts[customer], points, lots, context, self.ids)
        if context.reason["kind"] == TIER_PROMOTION.reason:
            return self.record(entry, cause)
        return self.record(entry, cause, sum(count for name, count in points.items() if not is_extra(name)))

    def record(self, entry: Entry, cause: Cause, qualifying: int = 0) -> UUID:
        """Enter a transaction and its lots; returns the transaction's id.

        `qualifying` is the part of its points that qualifies for tiers. What a tier gives or takes qualifies for none,
        or points and tiers would chase each other.
        """
        transaction = entry.transaction
        customer = transaction.account.customer_id
        self.state.accounts[customer] = transaction.account
        lots, changes = self.lots_of(customer), self.changes
        for lot in entry.made:
            lots[lot.id] = changes.lots_made[lot.id] = lot
        if entry.made and (by_origin := self._by_origin.get(customer)) is not None:
            for lot in entry.made:
                by_origin.setdefault(lot.origin, {})[lot.id] = None
        if entry.changed:
            self.keep_lots(entry.changed)
        changes.accounts.add(customer)
        changes.transactions.append(transaction)
        if transaction.points and transaction.kind in PUBLISHED:
            changes.announced.append(Announced(transaction, transaction.context.occurred_at, qualifying, cause))
        return transaction.id

    def keep_lots(self, lots: Iterable[Lot]) -> None:
        """Keep lots as they are now; a lot that this batch made is still inserted."""
        changes = self.changes
        for lot in lots:
            self.lots_of(lot.customer_id)[lot.id] = lot
            (changes.lots_made if lot.id in changes.lots_made else changes.lots_changed)[lot.id] = lot

    def set_next_due(self, customer: str, due_at: datetime | None) -> None:
        """Keep when something falls due next for a customer; None: never."""
        self.state.accounts[customer] = self.state.accounts[customer]._replace(due_at=due_at)
        self.changes.accounts.add(customer)

    def keep_hold(self, hold: Hold) -> None:
        """Keep a hold as it is now."""
        self.state.holds.setdefault(hold.customer_id, {})[hold.id] = hold
        self.changes.holds[hold.id] = hold

    # Orders.

    def add_order(self, key: Key, order: Order) -> None:
        """Add a new order."""
        self.state.orders[key] = order
        self.changes.orders_made[key] = None
        if self._by_time is not None:
            self._by_time[key[0]].append((order.occurred_at, key[1]))

    def keep_order(self, key: Key, order: Order) -> None:
        """Keep an order as it is now; an order that this batch made is still inserted."""
        self.state.orders[key] = order
        if key not in self.changes.orders_made:
            self.changes.orders_changed[key] = None

    def add_refund(self, key: Key, refund: Refund) -> Taken:
        """Add a refund to its order; returns what it took of what was kept."""
        refunds = self.state.refunds_of(key)
        taken = refunds.add(refund)
        self.changes.refunds.append((key, refund, refunds.fold.count))
        self.keep_order(key, self.state.orders[key])
        return taken

    def attribute(self, key: Key, transaction_id: UUID) -> None:
        """Attribute the customer's last transaction to an order, beside the transaction of its purchase."""
        sequence = self.state.accounts[key[0]].sequence
        self.changes.order_transactions.append((*key, sequence, transaction_id))

    # Other state of customers.

    def keep_accrual(self, key: Key, accrual: Accrual) -> None:
        """Keep an accrual as it is now."""
        self.state.accruals[key] = accrual
        self.changes.accruals[key] = None

    def keep_payment(self, key: Key, payment: Payment) -> None:
        """Keep the payment of a referral as it is now."""
        self.state.payments[key] = payment
        self.changes.payments.add(key)

    def keep_birth(self, customer: str, birth: Birth) -> None:
        """Keep a customer's date of birth."""
        self.state.births[customer] = birth
        self.changes.births.add(customer)

    def count_uses(self, uses: Mapping[UseKey, Use]) -> None:
        """Keep uses of limits as they are now."""
        for key, use in uses.items():
            self.state.uses[key] = use
            self.changes.uses[key] = None

    def set_timeline(self, customer: str, timeline: tuple[TierEntry, ...], start: datetime) -> None:
        """Replace a customer's timeline, which is new from an instant on."""
        self.state.timelines[customer] = timeline
        starts = self.changes.timelines
        starts[customer] = min(start, starts.get(customer, start))

    def set_resettling(self, customer: str, rest: Resettling | None) -> None:
        """Keep what is left to settle by a customer's timeline; None: nothing."""
        self.changes.resettling[customer] = rest

    # Outcomes of events.

    def refuse(self, refusal: Refusal) -> None:
        """Refuse an event."""
        self.changes.refusals.append(refusal)

    def note_repeat(self, *, differs: bool) -> None:
        """Count an event that repeats an earlier one by its natural key, and may differ from it."""
        self.changes.repeats += not differs
        self.changes.repeats_that_differ += differs

    def note_unlisted(self, tiers: int) -> None:
        """Count the tiers in an event's timeline that the rules in force do not list."""
        self.changes.unlisted_tiers += tiers

    def let_wait(self, event: Event, about: str, natural_id: str) -> None:
        """Let an event wait for what it is about."""
        waiting = Waiting(about, natural_id, event)
        self.state.waiting.setdefault((event.customer_id, about), []).append(waiting)
        self.changes.waiting.append(waiting)

    def take_waiting(self, customer: str, about: str) -> list[Event]:
        """Remove and return the events that waited for this, from earlier batches or from this one, in their order."""
        if not self.state.waiting:
            return []
        waited = self.state.waiting.pop((customer, about), [])
        if waited and self.changes.waiting:
            taken = set(map(id, waited))
            self.changes.waiting = [waiting for waiting in self.changes.waiting if id(waiting) not in taken]
        waited.sort(key=lambda waiting: (waiting.event.time, waiting.natural_id))
        return [waiting.event for waiting in waited]


def is_full(account: Account) -> bool:
    """Whether an account may have been given less than was due, for want of room."""
    return _room(account) < _PLENTY


def _room(account: Account) -> int:
    return MOST_OF_AN_ACCOUNT - max(account.earned, account.available + account.pending + account.held)
