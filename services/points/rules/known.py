"""What is known of the customers that a batch touches: the state that events are folded into."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.points.rules.earning import TierEntry
from services.points.rules.ledger import Account, Lot, Transaction
from shared.contracts.envelope import Cause
from shared.contracts.kept import Refund
from shared.contracts.outcomes import Refusal, Waiting
from shared.contracts.shop import PurchaseCompleted

Key = tuple[str, str]
"""A customer's id and a natural id within it: of an order, a review or a referral."""


class Order(NamedTuple):
    """An order as bought, and what was given for it so far (points by rule, at a tier's multiplier)."""

    order_id: str
    source: str
    occurred_at: datetime
    ordinal: int
    rules_version: int
    bought: PurchaseCompleted
    given: Mapping[str, int]
    multiplier: str
    transaction_ids: tuple[UUID, ...]


class Review(NamedTuple):
    """A review, what it was awarded at first, and whether it was withdrawn since."""

    review_id: str
    sku: str
    occurred_at: datetime
    verified: bool
    rules_version: int
    awarded: int
    withdrawn: bool


class Payment(NamedTuple):
    """What a referral gave to a customer, and whether it was taken back for good."""

    referral_id: str
    points: int
    voided: bool


@dataclass(frozen=True, slots=True)
class State:
    """Everything loaded for a batch; of lots, those that may be needed (see `store.load`)."""

    accounts: dict[str, Account]
    timelines: dict[str, tuple[TierEntry, ...]]
    orders: dict[Key, Order]
    refunds: dict[Key, dict[str, Refund]]
    reviews: dict[Key, Review]
    rewarded: set[tuple[str, str]]
    """(customer, sku) of which a review was awarded and not withdrawn."""
    payments: dict[Key, Payment]
    lots: dict[str, dict[UUID, Lot]]
    waiting: dict[Key, list[Waiting]]
    """By customer and what it is about."""


class Announced(NamedTuple):
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
    reviews: set[Key] = field(default_factory=set)
    payments: set[Key] = field(default_factory=set)
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
