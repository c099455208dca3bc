"""Faults caused by outsiders, without a crash: unreadable records, one customer's flood, hostile callers.

Each is injected once, like the other faults. `recovery` is None where other customers or callers were affected.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import psutil
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2
from pydantic_core import to_json

from deploy.topics import PARTITIONS
from shared.contracts import topics
from tests.prove.faults import Strike
from tests.prove.items import STRUCTURED
from tests.prove.patience import LOOK, until
from tests.prove.publishing import connected
from tests.prove.scene import Scene
from tests.support import hostile, raw_kafka
from tests.support.hostile import Target

_ORDERS: Final = 1_000
_REFUNDS: Final = 1_500
_NEIGHBORS: Final = 10
_NEIGHBOR_WAITS: Final = 15.0
"""Maximum seconds of a neighbor's purchase during the flood and the history's bursts."""
_BROKEN: Final = 24
_ATTACK_SECONDS: Final = 4.0
_READER_WAITS: Final = 2.0
"""Maximum seconds of a balance during hostile calls."""
_SWELLS: Final = 300 * 2**20
"""Maximum growth of the APIs' process in bytes during hostile calls."""
_JUNK: Final = bytes(range(256)) * 4


async def poison(scene: Scene) -> Strike:
    """Publish batches that client libraries cannot read, or only in part; each has to become a dead letter."""
    producer = await raw_kafka.RawProducer.connect(scene.stage.broker.bootstrap)
    written, batches = 0, list(_broken_batches())
    try:
        for number in range(_BROKEN):
            topic, partition = scene.random.choice(topics.SHOP), scene.random.randrange(PARTITIONS)
            answer = await producer.produce(topic, partition, batches[number % len(batches)])
            if answer.error == raw_kafka.Refused.NONE:
                scene.poisoned.add((topic, partition, answer.offset))
                scene.progress.note((topic, partition), answer.offset + 1)
                written += 1
    finally:
        await producer.close()
    struck_at = time.monotonic()
    seen = f"{written} of {_BROKEN} batches were taken by the broker" if written else None
    return Strike("Kafka", seen, await scene.progress.gone_on(scene.stage.cast.services, struck_at))


def _broken_batches() -> Iterator[bytes]:
    """Batches of one record, so that each has the offset of its dead letter."""
    now = int(time.time() * 1000)
    batch = raw_kafka.Batch(first_timestamp=now, max_timestamp=now)
    yield batch.of([raw_kafka.record(b"poison", _JUNK, [(b"caf\xe9", b"\xff"), (b"ce_\x00type", None)])])
    yield batch.of([raw_kafka.record(None, None, [(b"\xc3\x28" * 200, _JUNK)] * 50)])
    yield batch.around(raw_kafka.sized(b"\x00\x00\x00\x01k" + raw_kafka.varint(2**30) + b"v"), 1)
    yield batch.around(raw_kafka.sized(raw_kafka.body(b"k", b"{}")[:-1] + raw_kafka.varint(2**20)), 1)
    for codec in (raw_kafka.GZIP, raw_kafka.SNAPPY, raw_kafka.LZ4, raw_kafka.ZSTD):
        compressed = raw_kafka.Batch(first_timestamp=now, max_timestamp=now, codec=codec)
        yield compressed.around(_JUNK, 1)
        yield compressed.of([raw_kafka.record(b"poison", _JUNK, [(b"\x80", b"")])])


async def hot_customer(scene: Scene) -> Strike:
    """Publish 1,000 orders of one customer, newest first, and 1,500 refunds of one order.

    Meanwhile other customers of the same partition buy, and must not wait for these events.
    """
    name = f"hot-{scene.random.getrandbits(40):x}"
    async with connected(scene.stage.broker.bootstrap) as producer:
        flood = list(_flood(name, datetime.now(UTC)))
        await _publish(scene, producer, name, flood)
        struck_at = time.monotonic()
        waits = [await _neighbor(scene, producer, _beside(name, number)) for number in range(_NEIGHBORS)]
    recovery = await scene.progress.gone_on(scene.stage.cast.services, struck_at)
    longest = max((wait for wait in waits if wait is not None), default=0.0)
    seen = f"{len(flood)} events of one customer; a neighbor's purchase waited {longest:.1f} s at most"
    return Strike(name, seen, None if None in waits else recovery)


def _flood(customer: str, now: datetime) -> Iterator[tuple[str, datetime, dict[str, Any]]]:
    """Type, time and data of each event."""
    bought, refunded = "shop.purchase.completed.v1", "shop.purchase.refunded.v1"
    order = {"customer_id": customer, "currency": "USD"}
    for number in range(_ORDERS):
        yield (
            bought,
            now - timedelta(hours=1 + 7 * number),
            order | {"order_id": f"flood-{number}", "total": f"{1 + number % 9}.50"},
        )
    large = order | {"order_id": "large"}
    for number in range(_REFUNDS):
        refund = large | {"refund_id": f"part-{number}", "amount": "0.05"}
        yield refunded, now - timedelta(seconds=number), refund
        if number == _REFUNDS // 2:
            yield bought, now - timedelta(hours=1), large | {"total": "100.00"}


async def _publish(
    scene: Scene, producer: AIOKafkaProducer, customer: str, events: Sequence[tuple[str, datetime, dict[str, Any]]]
) -> None:
    sent = [
        await producer.send(
            topics.PURCHASES,
            to_json(
                {
                    "specversion": "1.0",
                    "id": f"{customer}-{number}",
                    "source": "/prove",
                    "type": type_,
                    "time": at.isoformat(),
                    "data": data,
                }
            ),
            key=customer.encode(),
            headers=[STRUCTURED],
        )
        for number, (type_, at, data) in enumerate(events)
    ]
    for metadata in await asyncio.gather(*sent):
        scene.progress.note((metadata.topic, metadata.partition), metadata.offset + 1)


def _beside(customer: str, number: int) -> str:
    """Another customer of the same partition."""
    partition = _partition(customer)
    names = (f"beside-{customer}-{number}-{other}" for other in range(1_000))
    return next(name for name in names if _partition(name) == partition)


def _partition(customer: str) -> int:
    return (murmur2(customer.encode()) & 0x7FFF_FFFF) % PARTITIONS


IS_BOUGHT_SQL: Final = "SELECT EXISTS (SELECT FROM purchase WHERE customer_id = $1)"


async def _neighbor(scene: Scene, producer: AIOKafkaProducer, name: str) -> float | None:
    """Seconds from a customer's purchase to its points; None when they take too long."""
    began = time.monotonic()
    data = {"customer_id": name, "order_id": "1", "currency": "USD", "total": "12.00"}
    await _publish(scene, producer, name, [("shop.purchase.completed.v1", datetime.now(UTC), data)])

    async def is_bought() -> bool:
        return await scene.stage.pools["points"].fetchval(IS_BOUGHT_SQL, name)

    return time.monotonic() - began if await until(is_bought, _NEIGHBOR_WAITS) else None


async def hostile_callers(scene: Scene) -> Strike:
    """Attack the APIs with every kind of hostile call, while balances are read and writes go on."""
    [api] = scene.stage.fleet.of("api") or [None]
    if api is None:
        return Strike("api", None)
    process = psutil.Process(api.pid)
    before = process.memory_info().rss
    port = urlsplit(scene.stage.api_url).port
    assert port is not None
    headers = {"Authorization": f"Bearer {scene.stage.token}"}
    async with httpx.AsyncClient(base_url=scene.stage.api_url, headers=headers, timeout=30.0) as client:
        await client.get("/v1/customers/somebody/points")
        attacking = asyncio.create_task(hostile.attack(Target(port, seconds=_ATTACK_SECONDS, connections=90)))
        waits = [await _balance(client)]
        while not attacking.done():
            waits.append(await _balance(client))
            await asyncio.sleep(LOOK)
    calls = sum(sum(answers.values()) for answers in (await attacking).values())
    ended = asyncio.get_running_loop().time()
    gained = process.memory_info().rss - before if process.is_running() else 0
    recovery = await scene.api_answers(ended)
    seen = f"{calls} calls; a balance took {max(waits):.2f} s at most, {max(gained, 0) / 2**20:.0f} MB were gained"
    suffered = max(waits) > _READER_WAITS or gained > _SWELLS
    return Strike("api", seen if calls else None, None if suffered else recovery)


async def _balance(client: httpx.AsyncClient) -> float:
    began = time.monotonic()
    try:
        answer = await client.get("/v1/customers/somebody/points")
    except httpx.TransportError:
        return float("inf")
    return time.monotonic() - began if answer.is_success else float("inf")
