"""The other side: a Faust agent as the tutorials write it, with one asyncpg transaction per event.

Stock Faust and stock asyncpg, as their documentation shows them: records for models, `json` for columns, Faust's
own consumer and acknowledgements, one event at a time. It makes the same rows in the same tables as the points
worker does for a purchase (inbox, account, transaction, posting, lot, purchase, program account, outbox), each by
a prepared statement of its own.

`python -m tests.bench.textbook BOOTSTRAP DATABASE_URL FOLDER`
"""

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b, sha256
from typing import Any
from uuid import UUID

import asyncpg
import faust
from uuid_utils.compat import uuid7

Connection = asyncpg.pool.PoolConnectionProxy


class Line(faust.Record):
    """A line of an order."""

    line_id: str
    sku: str
    quantity: Any
    amount: str
    category: str | None = None


class Purchase(faust.Record):
    """An order."""

    customer_id: str
    order_id: str
    currency: str
    total: str
    lines: list[Line]


class PurchaseCompleted(faust.Record, serializer="json"):
    """The event."""

    id: str
    source: str
    time: str
    data: Purchase


CLAIM_SQL = "INSERT INTO inbox (digest) VALUES ($1) ON CONFLICT DO NOTHING RETURNING 1"

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


def main(bootstrap: str, url: str, folder: str) -> None:
    """Run the app, as a consumer group of its own, until it is told to stop; Faust keeps files in the folder."""
    app = faust.App(
        f"textbook-{uuid7().hex}",
        broker=f"kafka://{bootstrap}",
        web_enabled=False,
        datadir=folder,
        broker_session_timeout=6.0,  # the embedded broker takes half of it to let a member in
        broker_heartbeat_interval=2.0,
    )
    purchases = app.topic("shop.purchases", value_type=PurchaseCompleted)
    pools: list[asyncpg.Pool] = []

    @app.task
    async def open_database() -> None:
        pools.append(await asyncpg.create_pool(url, init=_prepare))

    @app.agent(purchases)
    async def award(stream: Any) -> None:
        async for event in stream:
            async with pools[0].acquire() as connection, connection.transaction():
                await _handle(connection, event)

    app.finalize()
    faust.Worker(app, loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()


@dataclass(frozen=True, slots=True)
class _Award:
    """What a purchase comes to."""

    customer: str
    order: str
    points: int
    occurred_at: datetime
    recorded_at: datetime


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("json", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def _handle(connection: Connection, event: PurchaseCompleted) -> None:
    data = event.data
    customer, order = data.customer_id, data.order_id
    name = f"{customer}\0{event.source}\0{event.id}"
    if not await connection.fetchval(CLAIM_SQL, UUID(bytes=blake2b(name.encode(), digest_size=16).digest())):
        return
    await connection.execute(OPEN_SQL, customer)
    account = await connection.fetchrow(LOCK_SQL, customer)
    if await connection.fetchval(KNOWN_SQL, customer, order):
        return
    award = _Award(customer, order, int(float(data.total)), _instant(event.time), datetime.now(UTC))
    transaction_id = await _post(connection, award, account)
    body = {"currency": data.currency, "total": data.total, "lines": [line.asdict() for line in data.lines]}
    given = {"base": award.points} if award.points else {}
    await connection.execute(
        *(PURCHASE_SQL, customer, order, event.source, award.occurred_at, account["orders"] + 1, body, given),
        [transaction_id],
    )
    if award.points:
        await connection.execute(ANNOUNCE_SQL, customer.encode(), _announcement(award, transaction_id, event, account))


async def _post(connection: Connection, award: _Award, account: Any) -> UUID:
    """The ledger's rows; returns the transaction's id."""
    transaction_id, lot_id = uuid7(), uuid7()
    balance, earned = account["available"] + award.points, account["earned"] + award.points
    sequence, orders = account["sequence"] + 1, account["orders"] + 1
    reason = {"kind": "purchase", "order_id": award.order}
    receipt = {"rules_version": 1, "rules": [{"rule": "base", "matched": True, "awarded": award.points}]}
    await connection.execute(
        *(TRANSACTION_SQL, transaction_id, award.customer, sequence, award.points, balance, earned),
        *(award.occurred_at, award.recorded_at, reason, {"multiplier": "1"}),
        sha256(json.dumps(receipt).encode()).digest(),
    )
    if award.points:
        await connection.execute(POSTING_SQL, transaction_id, award.points, lot_id)
        origin = f"order/{award.order}"
        await connection.execute(
            LOT_SQL, lot_id, award.customer, transaction_id, origin, award.points, award.occurred_at
        )
        await connection.execute(PROGRAM_SQL, award.points)
    await connection.execute(UPDATE_SQL, award.customer, balance, earned, sequence, orders, award.recorded_at)
    return transaction_id


def _announcement(award: _Award, transaction_id: UUID, event: PurchaseCompleted, account: Any) -> bytes:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": str(uuid7()),
            "source": "/wafa/points",
            "type": "loyalty.points.earned.v1",
            "time": event.time,
            "subject": award.customer,
            "datacontenttype": "application/json",
            "correlationid": event.id,
            "causationid": event.id,
            "data": {
                "customer_id": award.customer,
                "transaction_id": str(transaction_id),
                "points": award.points,
                "reason": {"kind": "purchase", "order_id": award.order},
                "qualifying_points": award.points,
                "rules_version": 1,
                "balance": {
                    "available": account["available"] + award.points,
                    "pending": 0,
                    "held": 0,
                    "debt": 0,
                },
            },
        }
    ).encode()


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
