"""50,000 records of any bytes on real Kafka: workers survive, and every event among them has its effect."""

import asyncio
import importlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local import status
from deploy.local.kafka import ApacheKafka
from deploy.local.postgres import Postgres
from shared.contracts import topics
from shared.contracts.envelope import Event, decode
from shared.contracts.reasons import Malformed
from shared.messaging.fetching import Consumer
from shared.messaging.inbox import digest
from shared.messaging.record_batches import Fetched, Unreadable
from tests.kafka import odd_records
from tests.kafka.odd_records import Content
from tests.support.fleet import Member
from tests.support.raw_kafka import RawProducer
from tests.support.stack import Stack

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

ODD = 50_000
ORDINARY = 600
AT_ONCE = 60
SEED = 20261130
MOST_MEGABYTES = 400
STRUCTURED = [(b"content-type", b"application/cloudevents+json"), (b"caf\xe9", b"\xff")]
WHERE = {topics.PURCHASES: 8, topics.REVIEWS: 2, topics.REFERRALS: 2, topics.CUSTOMERS: 3, topics.ACTIVITIES: 2}
WHERE |= {topics.POINTS: 2, topics.TIERS: 3, topics.LOYALTY_REFERRALS: 2}

INBOX_SQL = "SELECT digest FROM inbox"
LETTERS_SQL = 'SELECT topic, partition, "offset", reason, error FROM dead_letter'
EARNED_SQL = "SELECT customer_id, available FROM account WHERE customer_id LIKE 'ordinary-%'"
SPENT_SQL = "SELECT count(*) FROM purchase WHERE customer_id LIKE 'ordinary-%'"
TOLD_SQL = """
SELECT count(*) FROM message WHERE customer_id LIKE 'ordinary-%' AND channel = 'in_app' AND trigger = 'points_earned'
"""


def ordinary(number: int) -> Content:
    """A purchase of a customer of its own."""
    customer = f"ordinary-{number}"
    total = f"{points(number)}.00"
    event = {
        "specversion": "1.0",
        "id": f"event-{number}",
        "source": "/shop",
        "type": "shop.purchase.completed.v1",
        "time": "2026-06-01T10:00:00Z",
        "data": {
            "customer_id": customer,
            "order_id": f"o-{number}",
            "currency": "USD",
            "total": total,
        },
    }
    return customer.encode(), json.dumps(event).encode(), STRUCTURED


def points(number: int) -> int:
    """The points of a numbered customer."""
    return number % 90 + 10


@dataclass
class Written:
    """The accepted and the refused batches."""

    odd: int = 0
    offsets: Counter[TopicPartition] = field(default_factory=Counter[TopicPartition])
    refused: Counter[str] = field(default_factory=Counter[str])


async def publish(bootstrap: str) -> Written:
    """Publish odd records on every topic, with ordinary purchases in their batches, and oversized ones in between."""
    chance, written = Random(SEED), Written()
    monsters, refusable = odd_records.monsters(chance), list(odd_records.refusable().items())
    waiting = [ordinary(number) for number in range(ORDINARY)]
    each = -(-ORDINARY * AT_ONCE * sum(WHERE.values()) // (ODD * WHERE[topics.PURCHASES]))
    producer = await RawProducer.connect(bootstrap)
    while written.odd < ODD or waiting or monsters:
        topic = chance.choices(list(WHERE), list(WHERE.values()))[0]
        place = TopicPartition(topic, chance.randrange(4))
        if monsters and chance.random() < 0.02:
            batch, among = monsters.pop(), []
        else:
            among = waiting[: each + 1] if topic == topics.PURCHASES else []
            batch = odd_records.batch(chance, topic, AT_ONCE, among)
        answer = await producer.produce(*place, batch.content)
        assert answer.error == 0, f"{answer} to a batch on {place}"
        assert answer.offset == written.offsets[place], "every offset is one of these"
        written.offsets[place] += batch.count
        written.odd += batch.count - len(among)
        waiting = waiting[len(among) :]
        if chance.random() < 0.1:  # batches that this broker refuses, though others may not
            name, wrong = chance.choice(refusable)
            written.refused[name] += (await producer.produce(*place, wrong)).error != 0
    await producer.close()
    return written


async def read_back(bootstrap: str, ends: Counter[TopicPartition]) -> list[Fetched]:
    """All published records, as workers see them."""
    consumer = Consumer(bootstrap_servers=bootstrap, isolation_level="read_committed")
    await consumer.start()
    records: list[Fetched] = []
    try:
        consumer.assign(list(ends))
        for place in ends:
            consumer.seek(place, 0)
        while [place for place in ends if await consumer.position(place) < ends[place]]:
            for several in (await consumer.getmany(timeout_ms=1000)).values():
                records += several
    finally:
        await consumer.stop()
    return records


@dataclass
class Expected:
    """The expected results of a service: dead letters by place, events, and the number of unknown types."""

    letters: set[tuple[str, int, int]] = field(default_factory=set[tuple[str, int, int]])
    events: list[Event] = field(default_factory=list[Event])
    skipped: int = 0

    def add(self, fetched: Fetched, wanted: frozenset[str]) -> None:
        record = fetched.record if isinstance(fetched, Unreadable) else fetched
        place = (record.topic, record.partition, record.offset)
        if isinstance(fetched, Unreadable):
            self.letters.add(place)
            return
        try:
            event = decode(fetched, wanted)
        except Malformed:
            self.letters.add(place)
        else:
            self.skipped += event is None
            self.events += [event] if event is not None else []


async def check_service(
    stack: Stack, service: str, fetched: list[Fetched], ends: Counter[TopicPartition]
) -> Counter[str]:
    """Check that every record had an effect, became a dead letter, or was skipped and counted; returns the counts."""
    settings = importlib.import_module(f"services.{service}.settings").Settings()
    spec = importlib.import_module(f"services.{service}.worker").spec(settings)
    expected = Expected()
    for item in fetched:
        record_of = item.record if isinstance(item, Unreadable) else item
        if record_of.topic in spec.topics:
            expected.add(item, spec.wanted)
    rows = await stack.fetch(service, LETTERS_SQL)
    letters = Counter((row["topic"], row["partition"], row["offset"]) for row in rows)
    twice = [tuple(row) for row in rows if letters[row["topic"], row["partition"], row["offset"]] > 1]
    assert not twice
    assert expected.letters <= letters.keys()
    applied = {row["digest"] for row in await stack.fetch(service, INBOX_SQL)}
    places = {
        digest(event): (event.record.topic, event.record.partition, event.record.offset) for event in expected.events
    }
    lost = [name for name, place in places.items() if name not in applied and place not in letters]
    assert not lost, f"{len(lost)} events had no effect"
    refused = letters.keys() - expected.letters
    within = {place for place in refused if place[2] < ends[TopicPartition(*place[:2])]}
    assert within <= {(event.record.topic, event.record.partition, event.record.offset) for event in expected.events}
    return Counter(letters=len(expected.letters), effects=len(expected.events) - len(within), skipped=expected.skipped)


async def test_records_of_any_bytes_do_not_stop_workers(kafka: ApacheKafka, durable: Postgres, folder: Path):
    began = time.monotonic()
    await _create_with_timestamps_of_producers(kafka.bootstrap, topics.ACTIVITIES)
    stack = await Stack.make(kafka, durable.url(), folder)
    written = await publish(kafka.bootstrap)
    published = time.monotonic()
    try:
        workers = [stack.worker(service) for service in stack.services]
        await stack.ready(*workers)
        await stack.drain(seconds=300)
        handled = time.monotonic()
        await stack.ready(*workers)
        assert all(worker.runs for worker in workers)
        sizes = {worker.service: _most_megabytes(worker.pid) for worker in workers}
        skipped = {worker.service: await asyncio.to_thread(_skipped, worker) for worker in workers}
        assert set((await stack.fleet.end_workers()).values()) == {0}, "none ended by itself"
    finally:
        stack.stop()
    fetched = await read_back(kafka.bootstrap, written.offsets)
    counts = {name: await check_service(stack, name, fetched, written.offsets) for name in stack.services}
    for service, count in counts.items():
        assert skipped[service] >= count["skipped"]
        assert sizes[service] < MOST_MEGABYTES, sizes
    assert dict(await stack.fetch("points", EARNED_SQL)) == {
        f"ordinary-{number}": points(number) for number in range(ORDINARY)
    }
    assert await stack.value("tiers", SPENT_SQL) == ORDINARY
    assert await stack.value("referrals", SPENT_SQL) == ORDINARY
    assert await stack.value("notifications", TOLD_SQL) == ORDINARY
    listed = stack.run("points", "dead-letters", "list", "--json", seconds=120)
    assert len(listed.stdout.splitlines()) >= counts["points"]["letters"], listed.stderr
    starts = {(place.topic, place.partition): 0 for place in written.offsets}
    await status._ends(kafka.bootstrap, starts, trusted=False)
    print(f"\n{written.odd} records published in {published - began:.0f} s, handled in {handled - published:.0f} s")  # noqa: T201
    print(f"refused by the broker: {dict(written.refused)}")  # noqa: T201
    print(f"of each service: {counts}, megabytes {sizes}")  # noqa: T201


async def _create_with_timestamps_of_producers(bootstrap: str, topic: str) -> None:
    configs = {"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": str(2**63 - 1)}
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 4, 1, topic_configs=configs)])
    finally:
        await admin.close()


def _skipped(worker: Member) -> int:
    lines = worker.probe("/metrics")[1].splitlines()
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith("wafa_skipped_total{"))


def _most_megabytes(pid: int) -> int:
    """The peak memory of a process."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024
