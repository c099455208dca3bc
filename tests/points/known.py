"""What is known of customers, in memory: events folded as a batch is, without a database."""

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

from services.points.rules.fold import fold
from services.points.rules.known import Changes, State
from services.points.rules.ledger import Account, Lot, Occasion
from shared.contracts.envelope import Event
from tests.points.shop import NOON

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def numbered() -> Iterator[UUID]:
    """Ids 1, 2, 3 …"""
    return (UUID(int=number) for number in itertools.count(1))


def account(available: int = 0, *, pending: int = 0, debt: int = 0) -> Account:
    """Ann's account with these balances, which were all earned."""
    earned = available + pending - debt
    return Account("ann", available, pending, 0, debt, earned, 0, 0, 0, datetime(1, 1, 1, tzinfo=UTC))


def strangers(*customers: str) -> State:
    """Customers of whom nothing is known."""
    accounts = {name: Account(name, 0, 0, 0, 0, 0, 0, 0, 0, datetime(1, 1, 1, tzinfo=UTC)) for name in customers}
    return State(accounts, {}, {}, {}, {}, set(), {}, {}, {})


def tell(state: State, *events: Event) -> Changes:
    """Fold events in; the state is up to date after it."""
    return fold(state, events, NOW, _IDS)


_IDS = numbered()


def occasion(origin: str = "order/1") -> Occasion:
    """Why a transaction is made."""
    return Occasion(NOON, NOW, origin, {"kind": "purchase"}, 1, {}, b"")


def lot(
    number: int,
    remaining: int,
    *,
    origin: str = "order/1",
    rule: str = "base",
    pending: bool = False,
    occurred_at: datetime = NOON,
    expires_at: datetime | None = None,
) -> Lot:
    """A lot of ann's that is whole."""
    return Lot(
        id=UUID(int=number),
        customer_id="ann",
        transaction_id=UUID(int=0),
        origin=origin,
        rule=rule,
        granted=remaining,
        remaining=remaining,
        reversed=0,
        spent=0,
        pending=pending,
        occurred_at=occurred_at,
        activates_at=None,
        expires_at=expires_at,
    )


def moved(changes: Changes) -> Sequence[tuple[str, int]]:
    """Kind and points of each transaction."""
    return [(one.kind, one.points) for one in changes.transactions]
