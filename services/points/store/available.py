"""The lots that points are taken from: of several customers, or of a single one with its account."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import asyncpg

from services.points.rules.ledger.accounts import Account
from services.points.rules.ledger.lots import Lot, spending_order
from shared.postgres.pool import Connection

_FIRST_PAGE: Final = 64
"""Number of lots read at first, then four times as many, and so on."""

READ_SQL = """
SELECT page.* FROM unnest($1::text[]) AS wanted (customer_id) CROSS JOIN LATERAL (
    (SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, held, spent, reversed, expired, pending,
            occurred_at, activates_at, cancels_at, expires_at
     FROM lot
     WHERE lot.customer_id = wanted.customer_id AND remaining > 0 AND NOT pending AND expires_at > $2
     ORDER BY expires_at, occurred_at, id LIMIT $3)
    UNION ALL
    (SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, held, spent, reversed, expired, pending,
            occurred_at, activates_at, cancels_at, expires_at
     FROM lot
     WHERE lot.customer_id = wanted.customer_id AND remaining > 0 AND NOT pending AND expires_at IS NULL
     ORDER BY expires_at, occurred_at, id LIMIT $3)
) AS page
"""


async def read(connection: Connection, wanted: Mapping[str, int], now: datetime) -> dict[str, list[Lot]]:
    """By customer: the available lots that so many points are taken from, in spending order.

    All available lots of a customer who holds fewer points. Lots that are due by now are left out: they expire before
    anything is taken.
    """
    by_customer: dict[str, list[Lot]] = {}
    left, limit = dict(wanted), _FIRST_PAGE
    while left:
        of_customer: dict[str, list[Lot]] = {customer: [] for customer in left}
        for row in await connection.fetch(READ_SQL, list(left), now, limit):
            of_customer[row["customer_id"]].append(Lot(*row))
        for customer, lots in of_customer.items():
            first = sorted(lots, key=spending_order)[:limit]
            if len(lots) < limit or sum(lot.remaining for lot in first) >= left[customer]:
                by_customer[customer] = first
                del left[customer]
        limit *= 4
    return by_customer


class LockedAccount(NamedTuple):
    """A locked account and the lots that points are taken from, or None where `read` has to read these."""

    account: Account
    lots: Sequence[Lot] | None


class UnlockedAccount(NamedTuple):
    """An account, the lots that points are taken from, and the version of the account's row.

    While the row has this version, the account and its available lots are unchanged.
    """

    account: Account
    lots: Sequence[Lot]
    version: int


_ACCOUNT: Final = len(Account._fields)

_SHORT_PAGE: Final = 16
"""Number of lots read with the account: enough for most, and cheap for a customer who has very many."""

# The lots are as they were when the statement began, which may be before it waited for the lock. Whoever changed
# available lots meanwhile made a transaction, so the locked account has another `sequence` than the one `seen`.
LOCK_AND_READ_SQL = """
WITH locked AS MATERIALIZED (
    SELECT customer_id, available, pending, held, debt, earned, redeemed, sequence, orders, recorded_at, due_at
    FROM account WHERE customer_id = $1 FOR UPDATE
)
SELECT locked.*, (SELECT sequence FROM account WHERE customer_id = $1) AS seen, page.*
FROM locked LEFT JOIN LATERAL (
    (SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, held, spent, reversed, expired, pending,
            occurred_at, activates_at, cancels_at, expires_at
     FROM lot
     WHERE lot.customer_id = locked.customer_id AND remaining > 0 AND NOT lot.pending AND expires_at > $2
     ORDER BY expires_at, occurred_at, id LIMIT $3)
    UNION ALL
    (SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, held, spent, reversed, expired, pending,
            occurred_at, activates_at, cancels_at, expires_at
     FROM lot
     WHERE lot.customer_id = locked.customer_id AND remaining > 0 AND NOT lot.pending AND expires_at IS NULL
     ORDER BY expires_at, occurred_at, id LIMIT $3)
) AS page ON true
"""


async def lock_and_read(connection: Connection, customer: str, points: int, now: datetime) -> LockedAccount | None:
    """Lock a customer's account, and read the lots that so many points are taken from; None: there is no account."""
    rows = await connection.fetch(LOCK_AND_READ_SQL, customer, now, _SHORT_PAGE)
    if not rows:
        return None
    account, seen = Account(*rows[0][:_ACCOUNT]), rows[0][_ACCOUNT]
    return LockedAccount(account, _enough(rows, points) if seen == account.sequence else None)


READ_WITH_ACCOUNT_SQL = """
SELECT account.customer_id, available, account.pending, account.held, debt, earned, redeemed, sequence, orders,
       recorded_at, due_at, account.xmin AS version, page.*
FROM account LEFT JOIN LATERAL (
    (SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, held, spent, reversed, expired, pending,
            occurred_at, activates_at, cancels_at, expires_at
     FROM lot
     WHERE lot.customer_id = account.customer_id AND remaining > 0 AND NOT lot.pending AND expires_at > $2
     ORDER BY expires_at, occurred_at, id LIMIT $3)
    UNION ALL
    (SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, held, spent, reversed, expired, pending,
            occurred_at, activates_at, cancels_at, expires_at
     FROM lot
     WHERE lot.customer_id = account.customer_id AND remaining > 0 AND NOT lot.pending AND expires_at IS NULL
     ORDER BY expires_at, occurred_at, id LIMIT $3)
) AS page ON true
WHERE account.customer_id = $1
"""


async def read_with_account(
    connection: Connection, customer: str, points: int, now: datetime
) -> UnlockedAccount | None:
    """Read a customer's account with the lots that so many points are taken from, without a lock.

    None: there is no account, or the lots have to be read by `read`.
    """
    rows = await connection.fetch(READ_WITH_ACCOUNT_SQL, customer, now, _SHORT_PAGE)
    lots = _enough(rows, points)
    return None if lots is None else UnlockedAccount(Account(*rows[0][:_ACCOUNT]), lots, rows[0][_ACCOUNT])


def _enough(rows: Sequence[asyncpg.Record], points: int) -> Sequence[Lot] | None:
    """The lots that follow the account in these rows, in spending order; None if they have fewer points."""
    lots = [Lot(*row[_ACCOUNT + 1 :]) for row in rows if row["id"] is not None]
    lots = sorted(lots, key=spending_order)[:_SHORT_PAGE]
    return lots if sum(lot.remaining for lot in lots) >= points else None
