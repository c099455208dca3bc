"""What is known of the customers that a batch touches: the state that events are folded into."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from services.points.rules.books.births import Birth
from services.points.rules.books.refunds import Later, Refunds
from services.points.rules.books.tiers import Standing, TierEntry
from services.points.rules.ledger.accounts import Account
from services.points.rules.ledger.lots import Lot
from services.points.rules.ledger.transactions import Transaction
from services.points.rules.program.judgement import LimitCuts
from services.points.rules.program.limits import Use, UseKey
from services.points.rules.program.values import On
from shared.contracts.envelope import Cause
from shared.contracts.kept import Kept, Refund
from shared.contracts.outcomes import Refusal, Waiting
from shared.contracts.shop import PurchaseCompleted

Key = tuple[str, str]
"""A customer's id and a natural id within it: of an order, a referral; or `kind/id` of any other occasion."""


EMPTY: Final[Mapping[str, Any]] = {}


class Order(msgspec.Struct, frozen=True, gc=False):
    """An order as bought, what its first judgement found, and what was given for it so far (points by rule)."""

    order_id: str
    source: str
    occurred_at: datetime
    ordinal: int
    rules_version: int
    bought: PurchaseCompleted
    given: Mapping[str, int]
    standing: Standing
    cuts: LimitCuts
    delivered_at: datetime | None
    first_transaction: UUID | None = None
    """The transaction of its purchase, where that was made in this batch."""
    refunded: Mapping[str, Any] | None = EMPTY
    """What its refunds left, as it was stored (see `State.refunds_of`); None: nothing is stored of its refunds."""


class Accrual(NamedTuple):
    """What else earned points (a review, an activity, a birthday …), and what was given for it so far.

    `origin` names it within its customer; `facts` are what conditions look at, as JSON has them.
    """

    origin: str
    on: On
    occurred_at: datetime
    rules_version: int
    facts: Mapping[str, Any]
    given: Mapping[str, int]
    tier: str | None
    cuts: LimitCuts
    withdrawn: bool


class Payment(NamedTuple):
    """What a referral event gave to a customer, and whether it was taken back for good."""

    referral_id: str
    points: int
    voided: bool


class Resettling(NamedTuple):
    """A timeline that was told anew and changes more than one transaction settles.

    What occurred from `since` on may still be judged by the tiers from before. `occurred_at`, `correlation_id` and
    `causation_id` are of the event that told the timeline: its transactions tell of them.
    """

    since: datetime
    occurred_at: datetime
    correlation_id: str
    causation_id: str


class Hold(NamedTuple):
    """Points that are reserved: of which lots, until when, and what became of them."""

    id: UUID
    customer_id: str
    reference: str
    points: int
    portions: tuple[tuple[UUID, int], ...]
    """(lot, points) of what is still held."""
    state: str
    expires_at: datetime
    created_at: datetime
    captured: int = 0
    redemption_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class State:
    """Everything loaded for a batch; of lots, those that may be needed (see `store.load`)."""

    accounts: dict[str, Account]
    timelines: dict[str, tuple[TierEntry, ...]] = field(default_factory=dict)
    rises: dict[str, dict[str, int]] = field(default_factory=dict)
    """By customer and tier: how many rises there were before the entries that are loaded."""
    orders: dict[Key, Order] = field(default_factory=dict)
    refunds: dict[Key, Refunds] = field(default_factory=dict)
    """Of orders, made where they are asked for (see `refunds_of`)."""
    known_refunds: dict[Key, dict[str, Refund]] = field(default_factory=dict)
    """Of orders: the refunds, by id, that are among those that arrive."""
    later_refunds: dict[Key, Later] = field(default_factory=dict)
    """Of orders for which a refund arrives late: those that count after it."""
    accruals: dict[Key, Accrual] = field(default_factory=dict)
    payments: dict[Key, Payment] = field(default_factory=dict)
    births: dict[str, Birth] = field(default_factory=dict)
    lots: dict[str, dict[UUID, Lot]] = field(default_factory=dict)
    holds: dict[str, dict[UUID, Hold]] = field(default_factory=dict)
    """Of customers, by id: those that have run out, and those that are asked for."""
    next_due: dict[str, datetime | None] = field(default_factory=dict)
    """Of customers of whom all is loaded that is due: when the first of the rest is (None: never)."""
    resettling: dict[str, Resettling] = field(default_factory=dict)
    """Of customers: how far the last timeline was settled."""
    unloaded: dict[str, datetime] = field(default_factory=dict)
    """Of customers: from when on not all is loaded that is judged otherwise now."""
    uses: dict[UseKey, Use] = field(default_factory=dict)
    waiting: dict[Key, list[Waiting]] = field(default_factory=dict)
    """By customer and what it is about."""

    def refunds_of(self, key: Key) -> Refunds:
        """What is known of the refunds of an order that is loaded."""
        found = self.refunds.get(key)
        if found is None:
            order = self.orders[key]
            known, later = self.known_refunds.get(key), self.later_refunds.get(key)
            found = self.refunds[key] = Refunds.of(order.bought, order.refunded, known, later)
        return found

    def kept_of(self, key: Key) -> Kept | None:
        """What is kept of an order that is loaded; None where it has no refund."""
        if self.orders[key].refunded == EMPTY and key not in self.refunds:
            return None
        return self.refunds_of(key).kept


class Announced(msgspec.Struct, frozen=True, gc=False):
    """A transaction to be told of: the business time and cause, and its part that qualifies for tiers."""

    transaction: Transaction
    time: datetime
    qualifying: int
    cause: Cause


@dataclass(slots=True)
class Changes:
    """What a fold wants written, gathered while it goes."""

    transactions: list[Transaction] = field(default_factory=list)
    announced: list[Announced] = field(default_factory=list)
    accounts: set[str] = field(default_factory=set)
    lots_made: dict[UUID, Lot] = field(default_factory=dict)
    lots_changed: dict[UUID, Lot] = field(default_factory=dict)
    orders_made: dict[Key, None] = field(default_factory=dict)
    orders_changed: dict[Key, None] = field(default_factory=dict)
    order_transactions: list[tuple[str, str, int, UUID]] = field(default_factory=list)
    """Those of orders after their first: the customer, the order, the transaction's number and its id."""
    refunds: list[tuple[Key, Refund, int]] = field(default_factory=list)
    """With the order's, and the how many-th of it each is."""
    accruals: dict[Key, None] = field(default_factory=dict)
    payments: set[Key] = field(default_factory=set)
    births: set[str] = field(default_factory=set)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    uses: dict[UseKey, None] = field(default_factory=dict)
    timelines: dict[str, datetime] = field(default_factory=dict)
    resettling: dict[str, Resettling | None] = field(default_factory=dict)
    """None: all is settled."""
    waiting: list[Waiting] = field(default_factory=list)
    """What waits from now on, unless its time came within the batch."""
    refusals: list[Refusal] = field(default_factory=list)
    repeats: int = 0
    repeats_that_differ: int = 0

    def keep_lots(self, made: Iterable[Lot], changed: Iterable[Lot]) -> None:
        """Note lots that were made or changed; one that was made in this batch stays one to be made."""
        for lot in made:
            self.lots_made[lot.id] = lot
        for lot in changed:
            (self.lots_made if lot.id in self.lots_made else self.lots_changed)[lot.id] = lot
