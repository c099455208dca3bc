"""The state of customers in memory: events folded as a batch is, without a database."""

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from services.points.rules.books.books import Books
from services.points.rules.books.fold import fold
from services.points.rules.books.state import Changes, State
from services.points.rules.ledger.accounts import Account
from services.points.rules.ledger.lots import Lot
from services.points.rules.ledger.transactions import TransactionContext
from services.points.rules.program.checking import parse
from services.points.rules.program.ruleset import RuleBook, RuleSet
from shared.contracts.envelope import Event
from tests.points.shop import NOON

NOW = datetime(2026, 6, 1, tzinfo=UTC)


SINCE_EVER = datetime(1, 1, 1, tzinfo=UTC)

_MIGRATION = Path("services/points/migrations/0002_programs.sql")
DEFAULT: Any = json.loads(
    re.search(r"VALUES \(1, '(.*?)', '0001", _MIGRATION.read_text(encoding="utf-8"), re.DOTALL)[1]
)
"""The document of version 1, as the migration has it."""


def ruleset(*rules: dict[str, Any], version: int = 1, **fields: Any) -> RuleSet:
    """A version of the rules: the default one, with other rules or fields where they are given."""
    return RuleSet.of(version, parse(DEFAULT | ({"rules": rules} if rules else {}) | fields))


def rulebook(*versions: tuple[datetime, RuleSet]) -> RuleBook:
    """Versions with the instants from which they are in force; the default one where none is given."""
    return RuleBook(versions or [(SINCE_EVER, ruleset())])


def numbered() -> Iterator[UUID]:
    """Ids 1, 2, 3 …"""
    return (UUID(int=number) for number in itertools.count(1))


def account(available: int = 0, *, pending: int = 0, debt: int = 0) -> Account:
    """Ann's account with these balances, which were all earned."""
    earned = available + pending - debt
    return Account("ann", available, pending, 0, debt, earned, 0, 0, 0, datetime(1, 1, 1, tzinfo=UTC))


def new_customers(*customers: str) -> State:
    """The state of new customers."""
    accounts = {name: Account(name, 0, 0, 0, 0, 0, 0, 0, 0, datetime(1, 1, 1, tzinfo=UTC)) for name in customers}
    return State(accounts)


def apply(state: State, *events: Event, rules: RuleBook | None = None, now: datetime = NOW) -> Changes:
    """Apply events to the state; returns what would be written."""
    return fold(Books(state, rules or rulebook(), now, _IDS), events)


_IDS = numbered()


def context(origin: str = "order/1") -> TransactionContext:
    """The context of a transaction."""
    return TransactionContext(NOON, NOW, origin, {"kind": "purchase"}, 1, {}, b"")


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
    """A lot of ann's with all its points left."""
    return Lot(
        id=UUID(int=number),
        customer_id="ann",
        transaction_id=UUID(int=0),
        origin=origin,
        rule=rule,
        granted=remaining,
        remaining=remaining,
        held=0,
        spent=0,
        reversed=0,
        expired=0,
        pending=pending,
        occurred_at=occurred_at,
        activates_at=None,
        cancels_at=None,
        expires_at=expires_at,
    )


def moved(changes: Changes) -> Sequence[tuple[str, int]]:
    """Kind and points of each transaction."""
    return [(transaction.kind, transaction.points) for transaction in changes.transactions]
