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
    """Points that go from the account `source` to the account `target`."""

    source: str
    target: str
    points: int
    lot_id: UUID | None


class TransactionContext(msgspec.Struct, frozen=True, gc=False):
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


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """A transaction with its postings; `account` is the account after it.

    `activates_at` and `expires_at` are the first ones of the points that it is about; `activating` and `expiring`
    are the points that become available, and end, at that very instant. `pending` are all that wait, with a date or
    without, and `repaid` those that settled a debt.
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
    """What a entry did: the transaction, and every lot that it made or changed."""

    transaction: Transaction
    made: tuple[Lot, ...] = ()
    changed: tuple[Lot, ...] = ()
