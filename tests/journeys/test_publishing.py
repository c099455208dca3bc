"""The relay's producer on a real broker: what is sent in one go is one request, whatever partitions it is for."""

import asyncio
import time
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.protocol.produce import ProduceRequest

from deploy.local.broker import EmbeddedBroker
from shared.messaging import kafka
from tests.support.stack import Broker

TOPIC = "portions"
PARTITIONS = 4


async def test_a_chunk_leaves_in_one_request(broker: Broker, monkeypatch: pytest.MonkeyPatch):
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])
    await admin.close()
    producer = kafka.Broker(broker.bootstrap, "wafa-test", idempotent=not isinstance(broker, EmbeddedBroker)).producer()
    await producer.start()
    try:
        # Each partition of a new topic has a leader first: a request that finds none is sent again.
        for partition in range(PARTITIONS):
            await producer.send_and_wait(TOPIC, b"{}", partition=partition)
        requests: list[Any] = []
        send = producer.client.send

        async def noted(node: int, request: Any, **others: Any) -> Any:
            if isinstance(request, ProduceRequest):
                requests.append(request)
            return await send(node, request, **others)

        monkeypatch.setattr(producer.client, "send", noted)
        acknowledgements = []
        for partition in range(PARTITIONS):
            time.sleep(0.003)  # noqa: ASYNC251 as sending many in one go takes
            acknowledgements.append(await producer.send(TOPIC, b"{}", partition=partition))
        await asyncio.gather(*acknowledgements)
    finally:
        await producer.stop()
    assert len(requests) == 1
