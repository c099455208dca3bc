from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy import topics
from deploy.local.kafka import ApacheKafka
from shared.contracts.topics import PURCHASES
from shared.messaging.kafka import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[ApacheKafka]:
    server = ApacheKafka(tmp_path / "kafka")
    server.start()
    yield server
    server.stop()


async def test_records_and_the_cluster_id_survive_a_kill(kafka: ApacheKafka):
    await topics.create(kafka.bootstrap)
    cluster = await Broker(kafka.bootstrap, "test").cluster_id()
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    await producer.send_and_wait(PURCHASES, b"kept", partition=0, timestamp_ms=1_000)
    await producer.stop()

    kafka.kill()
    kafka.start()

    assert await Broker(kafka.bootstrap, "test").cluster_id() == cluster
    assert await topics.create(kafka.bootstrap) == []
    record = await _first(kafka.bootstrap)
    assert record.value == b"kept"
    arrived = datetime.fromtimestamp(record.timestamp / 1000, UTC)
    assert datetime.now(UTC) - arrived < timedelta(minutes=3), "the broker stamps the time of arrival"


async def _first(bootstrap: str):
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    partition = TopicPartition(PURCHASES, 0)
    consumer.assign([partition])
    await consumer.seek_to_beginning(partition)
    record = await consumer.getone()
    await consumer.stop()
    return record
