"""What is known of the customers that a batch touches: the state that events are folded into."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from services.points.rules.births import Birth
from services.points.rules.document import On
from services.points.rules.judgement import Found
from services.points.rules.ledger import Account, Lot, Transaction
from services.points.rules.limits import Use, UseKey
from services.points.rules.tiers import Standing, TierEntry
from shared.contracts.envelope import Cause
from shared.contracts.kept import Refund
from shared.contracts.outcomes import Refusal, Waiting
from shared.contracts.shop import PurchaseCompleted

Key = tuple[str, str]
"""A customer's id and a natural id within it: of an order, a referral; or `kind/id` of any other occasion."""


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
    found: Found
    delivered_at: datetime | None
    transaction_ids: tuple[UUID, ...]


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
    found: Found
    withdrawn: bool


class Payment(NamedTuple):
    """What a referral event gave to a customer, and whether it was taken back for good."""

    referral_id: str
    points: int
    voided: bool


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
    refunds: dict[Key, dict[str, Refund]] = field(default_factory=dict)
    accruals: dict[Key, Accrual] = field(default_factory=dict)
    payments: dict[Key, Payment] = field(default_factory=dict)
    births: dict[str, Birth] = field(default_factory=dict)
    lots: dict[str, dict[UUID, Lot]] = field(default_factory=dict)
    holds: dict[str, dict[UUID, Hold]] = field(default_factory=dict)
    """Open holds of customers for whom something is due."""
    complete: set[str] = field(default_factory=set)
    """Customers whose open lots and holds are all loaded."""
    uses: dict[UseKey, Use] = field(default_factory=dict)
    waiting: dict[Key, list[Waiting]] = field(default_factory=dict)
    """By customer and what it is about."""


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
    refunds: list[tuple[Key, Refund]] = field(default_factory=list)
    accruals: dict[Key, None] = field(default_factory=dict)
    payments: set[Key] = field(default_factory=set)
    births: set[str] = field(default_factory=set)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    uses: dict[UseKey, None] = field(default_factory=dict)
    timelines: dict[str, datetime] = field(default_factory=dict)
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
