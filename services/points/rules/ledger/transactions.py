"""Transactions: the postings that they consist of, the context that they are made in, the lots that they change.

A posting moves points from one account to another, so every transaction adds up to 0.

Values that are made for every event are frozen structs: three times as fast to make as a named tuple, and the garbage
collector does not track them. Values that are written to the database as they are (accounts, lots, postings) are
tuples.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from services.points.rules.ledger.accounts import Account
from services.points.rules.ledger.lots import Lot


class Posting(NamedTuple):
    """Points that move from the account `source` to the account `target`."""

    source: str
    target: str
    points: int
    lot_id: UUID | None


class TransactionContext(msgspec.Struct, frozen=True, gc=False):
    """Why and when a transaction is made; `reason` is published, `inputs` are needed to rebuild its receipt."""

    occurred_at: datetime
    recorded_at: datetime
    origin: str
    reason: Mapping[str, str]
    rules_version: int | None
    inputs: Mapping[str, Any]
    receipt_digest: bytes
    orders: int = 0
    """The number of orders that it adds to the customer's: 1 for a purchase."""


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """A transaction with its postings; `account` is the account after it.

    `activates_at` and `expires_at` are the earliest instants of its points; `activating` and `expiring` are the points
    that become available or expire at that instant. `pending` counts all pending points, with or without a date,
    `repaid` those that paid debt.
    """

    id: UUID
    account: Account
    kind: str
    points: int
    context: TransactionContext
    postings: tuple[Posting, ...]
    activates_at: datetime | None = None
    expires_at: datetime | None = None
    activating: int = 0
    expiring: int = 0
    pending: int = 0
    repaid: int = 0


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A journal entry: a transaction, with every lot that it made or changed."""

    transaction: Transaction
    made: tuple[Lot, ...] = ()
    changed: tuple[Lot, ...] = ()
