"""A run without Kafka or processes, for the tests: handlers on real databases, one batch after another."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from services.points.handlers import balances
from shared.contracts.envelope import Event, Record, decode
from shared.contracts.reasons import Malformed
from shared.contracts.values import format_instant
from shared.messaging.batch import Batch, Malformation
from shared.messaging.delivery import Delivery
from shared.messaging.positions import Group
from shared.postgres.pool import Pool
from tests.points.oracles.machine import publish
from tests.prove import findings, history, log, progress
from tests.prove.checks.oracle import Evidence
from tests.prove.earning import DOCUMENT
from tests.prove.history import History
from tests.prove.items import STRUCTURED
from tests.prove.lives import code_of
from tests.prove.log import Log
from tests.prove.stage import KEEP_OUTBOX_SQL
from tests.support import postgres
from tests.support.headers import in_bytes

SERVICES: Final = ("tiers", "referrals", "points", "notifications")
"""In the order of their events."""

_BATCH: Final = 100
VERSIONS_SQL: Final = "SELECT version, 'published' AS status, document, effective_at FROM document_version"


async def rehearse(url: str, seed: int, size: history.Size) -> tuple[History, Evidence]:
    """Handle a history on new databases, and gather the evidence for the checks."""
    shop_history = history.make(seed, size)
    begin = datetime.now(UTC)
    async with AsyncExitStack() as databases:
        pools = {service: await databases.enter_async_context(postgres.database(url, service)) for service in SERVICES}
        for pool in pools.values():
            await pool.execute(KEEP_OUTBOX_SQL)
        await publish(pools["points"], DOCUMENT, begin - timedelta(hours=1))
        await pools["referrals"].executemany(
            "INSERT INTO referral_code VALUES ($1, $2, now())",
            [(advocate, code_of(advocate)) for advocate in shop_history.advocates],
        )
        records = _published(shop_history, begin)
        for service in SERVICES:
            await _handle(pools[service], service, log.arranged(iter(records)))
            records += await _announced(pools[service])
        read = log.arranged(iter(records))
        return shop_history, await _evidence(pools, shop_history, read)


def _published(shop_history: History, begin: datetime) -> list[Record]:
    """The records of a history, in one partition."""
    offsets: defaultdict[str, int] = defaultdict(int)
    records: list[Record] = []
    for item in shop_history.items:
        topic = item.event.topic
        key, value, headers = item.record(begin)
        records.append(Record(topic, 0, offsets[topic], key, value, in_bytes(headers), datetime.now(UTC)))
        offsets[topic] += 1
    return records


async def _handle(pool: Pool, service: str, read: Log) -> None:
    spec = progress.spec(service)
    delivery = Delivery(pool, Group("rehearsal", spec.group), spec.handle)
    records = [item.record for item in read.all() if item.record.topic in spec.topics]
    for at in range(0, len(records), _BATCH):
        events, malformed = _decoded(records[at : at + _BATCH], spec.wanted)
        assert await delivery.deliver(Batch({}, events, malformed, 0), lambda _: False)


def _decoded(records: Sequence[Record], wanted: frozenset[str]) -> tuple[list[Event], list[Malformation]]:
    events: list[Event] = []
    malformed: list[Malformation] = []
    for record in records:
        try:
            event = decode(record, wanted)
        except Malformed as error:
            malformed.append(Malformation(record, error.reason, error.detail, error.type))
        else:
            events += [event] if event is not None else []
    return events, malformed


async def _announced(pool: Pool) -> list[Record]:
    rows = await pool.fetch("WITH taken AS (DELETE FROM outbox RETURNING *) SELECT * FROM taken ORDER BY id")
    headers = in_bytes([STRUCTURED])
    return [Record(row["topic"], 0, row["id"], row["key"], row["value"], headers, datetime.now(UTC)) for row in rows]


async def _evidence(pools: Mapping[str, Pool], shop_history: History, read: Log) -> Evidence:
    customers = sorted({item.event.customer_id for item in read.all() if item.event is not None})
    balance_of = {customer: await _balance(pools["points"], customer) for customer in customers}
    versions = [
        dict(row) | {"effective_at": format_instant(row["effective_at"])}
        for row in await pools["points"].fetch(VERSIONS_SQL)
    ]
    stored = await findings.read(pools, versions)
    return Evidence(SERVICES, read, [], stored, balance_of, customers, shop_history.advocates)


async def _balance(pool: Pool, customer: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    account = (await balances.balance(pool, customer, now)).account
    names = ("available", "pending", "held", "debt")
    balance = {name: getattr(account, name) for name in names}
    return balance | {
        "lifetime_earned": account.earned,
        "lifetime_redeemed": account.redeemed,
        "as_of": now.isoformat(),
    }
