"""The lots that points are taken from: of several customers, or of a single one with the lock of its account."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

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


_ACCOUNT: Final = len(Account._fields)

_SHORT_PAGE: Final = 16
"""Number of lots read with the lock: enough for most, and cheap for a customer who has very many."""

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
    lots = [Lot(*row[_ACCOUNT + 1 :]) for row in rows if row["id"] is not None]
    lots = sorted(lots, key=spending_order)[:_SHORT_PAGE]
    is_enough = seen == account.sequence and sum(lot.remaining for lot in lots) >= points
    return LockedAccount(account, lots if is_enough else None)
