"""Invariants of topics and databases, however often processes are killed."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer

from tests.support.stack import Stack

TRANSACTIONS_SQL = "SELECT id::text, customer_id, sequence FROM transaction WHERE points <> 0"
MESSAGES_SQL = """
SELECT occasion FROM message WHERE channel = 'in_app' AND trigger IN ('points_earned', 'points_taken_back')
"""


@dataclass(frozen=True, slots=True)
class Published:
    """An event on a topic, with its place."""

    partition: int
    offset: int
    event: dict[str, Any]


async def read(bootstrap: str, topic: str) -> list[Published]:
    """Every event on a topic from its start, by partition and offset; markers of an unknown type are left out."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        published: list[Published] = []
        while batches := await consumer.getmany(timeout_ms=3000, max_records=5000):
            records = [record for batch in batches.values() for record in batch]
            published += [Published(record.partition, record.offset, json.loads(record.value)) for record in records]
    finally:
        await consumer.stop()
    own = [item for item in published if item.event["type"].startswith("loyalty.")]
    return sorted(own, key=lambda item: (item.partition, item.offset))


async def check_every_transaction_is_published(stack: Stack) -> int:
    """Check that each transaction's event is published, in order per customer; returns the number of repeats."""
    events = await read(stack.broker.bootstrap, "loyalty.points")
    transactions = {
        row["id"]: (row["customer_id"], row["sequence"]) for row in await stack.fetch("points", TRANSACTIONS_SQL)
    }
    first: dict[str, str] = {}
    for event in events:
        first.setdefault(event.event["data"]["transaction_id"], event.event["id"])
    assert set(first) == set(transactions)
    check_order(transactions[item] for item in first)
    ids = {(event.event["data"]["transaction_id"], event.event["id"]) for event in events}
    assert len(ids) == len(first), "what is published again keeps its id"
    return len(events) - len(first)


def check_order(places: Iterable[tuple[str, int]]) -> None:
    """Check that each customer's sequence numbers increase."""
    last: dict[str, int] = {}
    for customer, sequence in places:
        assert sequence > last.get(customer, 0), customer
        last[customer] = sequence


async def check_every_event_had_its_effect_once(stack: Stack) -> None:
    """Check that each transaction's event has one message (those of referrals have the referral's own)."""
    subjects = [row["occasion"] for row in await stack.fetch("notifications", MESSAGES_SQL)]
    assert len(subjects) == len(set(subjects))
    expected = {
        f"transaction/{record.event['data']['transaction_id']}"
        for record in await read(stack.broker.bootstrap, "loyalty.points")
        if (record.event["type"], record.event["data"]["reason"]["kind"]) != ("loyalty.points.earned.v1", "referral")
    }
    assert set(subjects) == expected


async def check_nothing_was_refused(stack: Stack) -> None:
    """Check that there is no dead letter and no outbox row."""
    for service in stack.services:
        assert await stack.fetch(service, "SELECT reason, error FROM dead_letter LIMIT 3") == []
        assert await stack.value(service, "SELECT count(*) FROM outbox") == 0


async def check_the_ledger(stack: Stack) -> None:
    """Check that the trial balance is 0 and `verify` finds nothing."""
    total = "SELECT (SELECT sum(available + pending + held - debt) FROM account) + sum(balance) FROM program_account"
    assert await stack.value("points", total) == 0
    verified = stack.run("points", "verify", "--sample", "30000", seconds=120)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert verified.stdout.count(": ok\n") == len(verified.stdout.splitlines())
