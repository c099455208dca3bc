"""Apache Kafka and a durable PostgreSQL, both restartable on their ports."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.kafka import ApacheKafka
from deploy.local.ports import free_port
from deploy.local.postgres import Postgres


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """A broker for one test module."""
    broker = ApacheKafka(tmp_path_factory.mktemp("kafka"))
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@pytest.fixture(scope="module")
def durable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server for one test module, with fsync and synchronous commits."""
    server = Postgres(tmp_path_factory.mktemp("durable") / "postgres", port=free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop(immediate=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the workers' logs."""
    return tmp_path
