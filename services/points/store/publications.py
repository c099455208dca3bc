"""The events of `loyalty.points`: every one of them is made here."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from services.points.rules.books.state import Announced
from services.points.rules.ledger.accounts import Account
from services.points.store.notices import Ending
from shared.contracts.envelope import Cause, PlainData, Publication, publication
from shared.contracts.values import in_utc

SOURCE: Final = "/wafa/points"


class Balance(msgspec.Struct, frozen=True, gc=False):
    """A customer's points after a transaction."""

    available: int
    pending: int
    held: int
    debt: int


class PointsMoved(PlainData, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The data of an event, with the fields of `shared.contracts.loyalty.PointsMoved` in their order.

    Every event has such data, whose cost the contract's model would double.
    """

    transaction_id: str
    points: int
    reason: Mapping[str, str] | msgspec.Raw
    qualifying_points: int
    pending_points: int | None = None
    activates_at: datetime | None = None
    activating_points: int | None = None
    expires_at: datetime | None = None
    expiring_points: int | None = None
    repaid_points: int | None = None
    rules_version: int | None = None
    balance: Balance


def points_event(kind: str, time: datetime, cause: Cause, data: PointsMoved) -> Publication:
    """The event `loyalty.points.<kind>.v1` at the business time of its root cause."""
    return publication(f"loyalty.points.{kind}.v1", time, data, cause, SOURCE)


def of_transaction(announced: Announced) -> Publication:
    """The event that publishes a transaction."""
    transaction = announced.transaction
    activates_at, expires_at = transaction.activates_at, transaction.expires_at
    data = PointsMoved(
        customer_id=transaction.account.customer_id,
        transaction_id=str(transaction.id),
        points=abs(transaction.points),
        reason=transaction.context.reason,
        qualifying_points=announced.qualifying,
        pending_points=transaction.pending or None,
        activates_at=None if activates_at is None else in_utc(activates_at),
        activating_points=None if activates_at is None else transaction.activating,
        expires_at=None if expires_at is None else in_utc(expires_at),
        expiring_points=None if expires_at is None else transaction.expiring,
        repaid_points=transaction.repaid or None,
        rules_version=transaction.context.rules_version,
        balance=_balance(transaction.account),
    )
    return points_event(transaction.kind, announced.time, announced.cause, data)


def of_ending(ending: Ending, account: Account, now: datetime) -> Publication:
    """The notice of points that will expire; its cause is the transaction that granted some of them."""
    transaction_id = str(ending.transaction_id)
    data = PointsMoved(
        customer_id=ending.customer_id,
        transaction_id=transaction_id,
        points=ending.points,
        reason={"kind": "expiry"},
        qualifying_points=0,
        expires_at=in_utc(ending.expires_at),
        expiring_points=ending.points,
        balance=_balance(account),
    )
    return points_event("expiring", now, Cause(transaction_id, transaction_id), data)


def _balance(account: Account) -> Balance:
    return Balance(account.available, account.pending, account.held, account.debt)
