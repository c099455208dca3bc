"""The rows of a purchase, the same for every peer, in the tables of the points worker.

Inbox, account, transaction, posting, lot, purchase, program account and outbox; `json` for columns, Python's own.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b, sha256
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

Row = tuple[Any, ...]

CLAIM_SQL = "INSERT INTO inbox (digest) VALUES ($1) ON CONFLICT DO NOTHING RETURNING digest"

OPEN_SQL = "INSERT INTO account (customer_id) VALUES ($1) ON CONFLICT DO NOTHING"

LOCK_SQL = "SELECT available, earned, sequence, orders FROM account WHERE customer_id = $1 FOR UPDATE"

KNOWN_SQL = "SELECT 1 FROM purchase WHERE customer_id = $1 AND order_id = $2"

UPDATE_SQL = """
UPDATE account SET available = $2, earned = $3, sequence = $4, orders = $5, recorded_at = $6 WHERE customer_id = $1
"""

TRANSACTION_SQL = """
INSERT INTO transaction (id, customer_id, sequence, kind, points, available_after, pending_after, held_after,
                         debt_after, earned_after, redeemed_after, occurred_at, recorded_at, reason, rules_version,
                         inputs, receipt_digest)
VALUES ($1, $2, $3, 'earned', $4, $5, 0, 0, 0, $6, 0, $7, $8, $9, 1, $10, $11)
"""

POSTING_SQL = """
INSERT INTO posting (transaction_id, number, source, target, points, lot_id)
VALUES ($1, 0, 'issued', 'available', $2, $3)
"""

LOT_SQL = """
INSERT INTO lot (id, customer_id, transaction_id, origin, rule, granted, remaining, pending, occurred_at)
VALUES ($1, $2, $3, $4, 'base', $5, $5, false, $6)
"""

PURCHASE_SQL = """
INSERT INTO purchase (customer_id, order_id, source, occurred_at, ordinal, rules_version, body, given, multiplier,
                      transaction_ids)
VALUES ($1, $2, $3, $4, $5, 1, $6, $7, '1', $8)
"""

PROGRAM_SQL = """
INSERT INTO program_account (kind, shard, balance) VALUES ('issued', 0, -$1::bigint)
ON CONFLICT (kind, shard) DO UPDATE SET balance = program_account.balance + excluded.balance
"""

ANNOUNCE_SQL = "INSERT INTO outbox (topic, key, value) VALUES ('loyalty.points', $1, $2)"


async def prepare(connection: asyncpg.Connection) -> None:
    """Set the codec of a new connection."""
    await connection.set_type_codec("json", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


@dataclass(frozen=True, slots=True)
class Bought:
    """A purchase that a peer has read."""

    id: str
    source: str
    time: str
    customer: str
    order: str
    currency: str
    total: str
    lines: Sequence[Mapping[str, Any]]

    @property
    def digest(self) -> UUID:
        """Its digest in the inbox."""
        name = f"{self.customer}\0{self.source}\0{self.id}"
        return UUID(bytes=blake2b(name.encode(), digest_size=16).digest())


@dataclass(frozen=True, slots=True)
class Standing:
    """A customer's account."""

    available: int
    earned: int
    sequence: int
    orders: int


@dataclass(frozen=True, slots=True)
class Rows:
    """The arguments of each statement; those about points are None without points."""

    transaction: Row
    purchase: Row
    account: Row
    posting: Row | None
    lot: Row | None
    program: Row | None
    announcement: Row | None
    after: Standing


def rows_of(bought: Bought, before: Standing) -> Rows:
    """The rows of a purchase, which earns a point for each whole unit of its total."""
    points, occurred_at, now = int(float(bought.total)), datetime.fromisoformat(bought.time), datetime.now(UTC)
    transaction_id, lot_id = uuid7(), uuid7()
    after = Standing(before.available + points, before.earned + points, before.sequence + 1, before.orders + 1)
    receipt = {"rules_version": 1, "rules": [{"rule": "base", "matched": True, "awarded": points}]}
    digest = sha256(json.dumps(receipt).encode()).digest()
    body = {"currency": bought.currency, "total": bought.total, "lines": bought.lines}
    reason = {"kind": "purchase", "order_id": bought.order}
    given = {"base": points} if points else {}
    return Rows(
        transaction=(
            *(transaction_id, bought.customer, after.sequence, points, after.available, after.earned),
            *(occurred_at, now, reason, {"multiplier": "1"}, digest),
        ),
        purchase=(
            *(bought.customer, bought.order, bought.source, occurred_at, after.orders, body, given),
            [transaction_id],
        ),
        account=(bought.customer, after.available, after.earned, after.sequence, after.orders, now),
        posting=(transaction_id, points, lot_id) if points else None,
        lot=(lot_id, bought.customer, transaction_id, f"order/{bought.order}", points, occurred_at) if points else None,
        program=(points,) if points else None,
        announcement=(bought.customer.encode(), _event(bought, transaction_id, after)) if points else None,
        after=after,
    )


async def apply(connection: Any, bought: Bought) -> None:
    """Apply a purchase once, statement by statement, in the given transaction."""
    if not await connection.fetchval(CLAIM_SQL, bought.digest):
        return
    await connection.execute(OPEN_SQL, bought.customer)
    before = Standing(**await connection.fetchrow(LOCK_SQL, bought.customer))
    if await connection.fetchval(KNOWN_SQL, bought.customer, bought.order):
        return
    rows = rows_of(bought, before)
    await connection.execute(TRANSACTION_SQL, *rows.transaction)
    for statement, row in ((POSTING_SQL, rows.posting), (LOT_SQL, rows.lot), (PROGRAM_SQL, rows.program)):
        if row is not None:
            await connection.execute(statement, *row)
    await connection.execute(UPDATE_SQL, *rows.account)
    await connection.execute(PURCHASE_SQL, *rows.purchase)
    if rows.announcement is not None:
        await connection.execute(ANNOUNCE_SQL, *rows.announcement)


def _event(bought: Bought, transaction_id: UUID, after: Standing) -> bytes:
    points = int(float(bought.total))
    return json.dumps(
        {
            "specversion": "1.0",
            "id": str(uuid7()),
            "source": "/wafa/points",
            "type": "loyalty.points.earned.v1",
            "time": bought.time,
            "subject": bought.customer,
            "datacontenttype": "application/json",
            "correlationid": bought.id,
            "causationid": bought.id,
            "data": {
                "customer_id": bought.customer,
                "transaction_id": str(transaction_id),
                "points": points,
                "reason": {"kind": "purchase", "order_id": bought.order},
                "qualifying_points": points,
                "rules_version": 1,
                "balance": {"available": after.available, "pending": 0, "held": 0, "debt": 0},
            },
        }
    ).encode()
