"""aiokafka with batches, as a good user writes it in an afternoon: `getmany`, and one transaction per batch.

The accounts of a batch are read together and folded in Python. Each kind of row is written by `executemany`, which
asyncpg sends at once, though every row is a statement. Offsets are committed to Kafka after the transaction.

`python -m tests.bench.peers.batches BOOTSTRAP DATABASE_URL`
"""

import asyncio
import json
import signal
import sys
from collections.abc import Iterable
from typing import Any, Final

import asyncpg
from aiokafka import AIOKafkaConsumer
from uuid_utils.compat import uuid7

from tests.bench.peers import rows
from tests.bench.peers.rows import Bought, Standing

_MOST: Final = 500

LOCK_SQL = """
SELECT customer_id, available, earned, sequence, orders FROM account WHERE customer_id = ANY($1)
ORDER BY customer_id FOR UPDATE
"""

KNOWN_SQL = "SELECT customer_id, order_id FROM purchase WHERE customer_id = ANY($1) AND order_id = ANY($2)"


async def main(bootstrap: str, url: str) -> None:
    """Consume as a separate group until stopped."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    consumer = AIOKafkaConsumer(
        "shop.purchases",
        bootstrap_servers=bootstrap,
        group_id=f"batches-{uuid7().hex}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=6000,  # the embedded broker takes half of it to let a member in
        heartbeat_interval_ms=2000,
    )
    async with asyncpg.create_pool(url, init=rows.prepare) as pool:
        await consumer.start()
        try:
            while not stopped.is_set():
                batches = await consumer.getmany(timeout_ms=200, max_records=_MOST)
                records = [record for batch in batches.values() for record in batch]
                if records:
                    async with pool.acquire() as connection, connection.transaction():
                        await _apply(connection, [_bought(json.loads(record.value)) for record in records])
                    await consumer.commit()
        finally:
            await consumer.stop()


async def _apply(connection: Any, batch: Iterable[Bought]) -> None:
    by_digest = {item.digest: item for item in batch}
    claimed = await connection.fetchmany(rows.CLAIM_SQL, [(digest,) for digest in by_digest])
    new = [by_digest[row["digest"]] for row in claimed]
    customers = sorted({item.customer for item in new})
    await connection.executemany(rows.OPEN_SQL, [(customer,) for customer in customers])
    accounts = {
        row["customer_id"]: Standing(row["available"], row["earned"], row["sequence"], row["orders"])
        for row in await connection.fetch(LOCK_SQL, customers)
    }
    recorded = {tuple(row) for row in await connection.fetch(KNOWN_SQL, customers, [item.order for item in new])}
    new_rows: list[rows.Rows] = []
    for item in new:
        if (item.customer, item.order) not in recorded:
            new_rows.append(rows.rows_of(item, accounts[item.customer]))
            accounts[item.customer] = new_rows[-1].after
            recorded.add((item.customer, item.order))
    await _write(connection, new_rows)


async def _write(connection: Any, new_rows: list[rows.Rows]) -> None:
    await connection.executemany(rows.TRANSACTION_SQL, [item.transaction for item in new_rows])
    await connection.executemany(rows.POSTING_SQL, [item.posting for item in new_rows if item.posting])
    await connection.executemany(rows.LOT_SQL, [item.lot for item in new_rows if item.lot])
    await connection.executemany(rows.UPDATE_SQL, {item.account[0]: item.account for item in new_rows}.values())
    await connection.executemany(rows.PURCHASE_SQL, [item.purchase for item in new_rows])
    await connection.executemany(rows.ANNOUNCE_SQL, [item.announcement for item in new_rows if item.announcement])
    if points := sum(item.program[0] for item in new_rows if item.program):
        await connection.execute(rows.PROGRAM_SQL, points)


def _bought(event: Any) -> Bought:
    data = event["data"]
    return Bought(
        *(event["id"], event["source"], event["time"]),
        *(data["customer_id"], data["order_id"], data["currency"], data["total"], data["lines"]),
    )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
