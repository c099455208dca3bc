"""The state of the customers that a batch touches, and what a batch changes of it.

The store loads a state; only `Books` changes it, and notes in `Changes` what has to be written.
"""

from collections.abc import Mapping
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
from shared.contracts.orders import Content, content_of_purchase
from shared.contracts.outcomes import Refusal, Waiting
from shared.contracts.refunds import Kept, Refund
from shared.contracts.shop import PurchaseCompleted

Key = tuple[str, str]
"""A customer's id and an id within the customer: of an order, of a referral, or the origin of an accrual."""


EMPTY: Final[Mapping[str, Any]] = {}


class Order(msgspec.Struct, frozen=True, gc=False):
    """An order as bought, what limits left at its first judgement, and what it was given so far (points by rule)."""

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
    """The transaction of its purchase, where this batch made it."""
    refunded: Mapping[str, Any] | None = EMPTY
    """The stored fold of its refunds (see `State.refunds_of`); None: its refunds have no stored fold."""

    @property
    def content(self) -> Content:
        """The content of the purchase event, to distinguish its repeats from orders that differ."""
        return content_of_purchase(self.bought, self.occurred_at)


class Accrual(NamedTuple):
    """Something beside orders that earned points (a review, a birthday …), and what it was given so far.

    `origin` identifies it within its customer; `facts` are what conditions look at, as JSON has them.
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
    """The points that a referral event gave to a customer, and whether they were taken back for good."""

    referral_id: str
    points: int
    voided: bool


class Resettling(NamedTuple):
    """A new timeline that changes more than one transaction settles.

    What occurred from `since` on may still be judged by the tiers from before. `occurred_at`, `correlation_id` and
    `causation_id` are those of the event with the timeline: the transactions that follow from it carry them.
    """

    since: datetime
    occurred_at: datetime
    correlation_id: str
    causation_id: str


class Hold(NamedTuple):
    """Points that are reserved: from which lots, until when, and the state of the reservation."""

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
    """Everything that is loaded for a batch; of the lots, those that the batch may need (see `store.loading`)."""

    accounts: dict[str, Account]
    timelines: dict[str, tuple[TierEntry, ...]] = field(default_factory=dict)
    rises: dict[str, dict[str, int]] = field(default_factory=dict)
    """By customer and tier: the number of rises before the entries that are loaded."""
    orders: dict[Key, Order] = field(default_factory=dict)
    refunds: dict[Key, Refunds] = field(default_factory=dict)
    """By order; made on demand (see `refunds_of`)."""
    repeated_refunds: dict[Key, dict[str, Refund]] = field(default_factory=dict)
    """By order and refund id: the stored refunds that this batch repeats."""
    later_refunds: dict[Key, Later] = field(default_factory=dict)
    """Of orders for which a refund arrives late: the refunds that count after it."""
    accruals: dict[Key, Accrual] = field(default_factory=dict)
    payments: dict[Key, Payment] = field(default_factory=dict)
    births: dict[str, Birth] = field(default_factory=dict)
    lots: dict[str, dict[UUID, Lot]] = field(default_factory=dict)
    holds: dict[str, dict[UUID, Hold]] = field(default_factory=dict)
    """By customer and id: the holds that have run out, and those that a request names."""
    next_due: dict[str, datetime | None] = field(default_factory=dict)
    """Of customers whose due lots and holds are all loaded: when the first of the rest falls due (None: never)."""
    resettling: dict[str, Resettling] = field(default_factory=dict)
    """Of customers: how far the last timeline was settled."""
    unloaded: dict[str, datetime] = field(default_factory=dict)
    """Of customers with a new timeline: the instant from which not everything that it judges otherwise is loaded."""
    uses: dict[UseKey, Use] = field(default_factory=dict)
    waiting: dict[Key, list[Waiting]] = field(default_factory=dict)
    """By customer and the origin that is waited for."""

    @property
    def rules_versions(self) -> set[int]:
        """The versions of the rules that loaded orders and accruals were judged by."""
        versions = {order.rules_version for order in self.orders.values()}
        return versions | {accrual.rules_version for accrual in self.accruals.values()}

    def refunds_of(self, key: Key) -> Refunds:
        """The refunds of an order that is loaded."""
        refunds = self.refunds.get(key)
        if refunds is None:
            order = self.orders[key]
            repeated, later = self.repeated_refunds.get(key), self.later_refunds.get(key)
            refunds = self.refunds[key] = Refunds.of(order.bought, order.refunded, repeated, later)
        return refunds

    def kept_of(self, key: Key) -> Kept | None:
        """What is kept of an order that is loaded; None where it has no refund."""
        if self.orders[key].refunded == EMPTY and key not in self.refunds:
            return None
        return self.refunds_of(key).kept


class Announced(msgspec.Struct, frozen=True, gc=False):
    """A transaction to be published: with its business time, its cause, and the part that qualifies for tiers."""

    transaction: Transaction
    time: datetime
    qualifying: int
    cause: Cause


@dataclass(slots=True)
class Changes:
    """What has to be written after a fold."""

    transactions: list[Transaction] = field(default_factory=list)
    announced: list[Announced] = field(default_factory=list)
    accounts: set[str] = field(default_factory=set)
    lots_made: dict[UUID, Lot] = field(default_factory=dict)
    lots_changed: dict[UUID, Lot] = field(default_factory=dict)
    orders_made: dict[Key, None] = field(default_factory=dict)
    orders_changed: dict[Key, None] = field(default_factory=dict)
    order_transactions: list[tuple[str, str, int, UUID]] = field(default_factory=list)
    """Transactions of orders after their first: the customer, the order, the transaction's number and its id."""
    refunds: list[tuple[Key, Refund, int]] = field(default_factory=list)
    """The order, the refund, and its number among the refunds of the order, by arrival."""
    accruals: dict[Key, None] = field(default_factory=dict)
    payments: set[Key] = field(default_factory=set)
    births: set[str] = field(default_factory=set)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    uses: dict[UseKey, None] = field(default_factory=dict)
    timelines: dict[str, datetime] = field(default_factory=dict)
    """By customer: the instant from which the timeline is new."""
    resettling: dict[str, Resettling | None] = field(default_factory=dict)
    """None: everything is settled."""
    waiting: list[Waiting] = field(default_factory=list)
    """The events that wait from now on; not those for which the batch itself brought what they wait for."""
    refusals: list[Refusal] = field(default_factory=list)
    repeats: int = 0
    repeats_that_differ: int = 0
    unlisted_tiers: int = 0
    """The number of tiers in timelines of events that the rules in force do not list."""
