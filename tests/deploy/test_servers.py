"""PostgreSQL and the embedded broker, as the stack and the other tests start them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from deploy import topics
from deploy.local.broker import EmbeddedBroker
from deploy.local.postgres import Postgres
from shared.contracts.topics import ALL
from shared.messaging.kafka import Broker


@pytest.fixture
def server() -> Iterator[Postgres]:
    with TemporaryDirectory(prefix="wafa-test-") as folder:  # see tests/conftest.py
        server = Postgres(Path(folder) / "data")
        server.start()
        yield server
        server.stop()


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker()
    broker.start()
    yield broker
    broker.stop()


@pytest.mark.parametrize("immediate", [False, True])
async def test_committed_data_survives_a_stop_and_a_crash(server: Postgres, immediate: bool):
    connection = await asyncpg.connect(server.url())
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    await connection.close()

    server.stop(immediate=immediate)
    server.start()

    connection = await asyncpg.connect(server.url())
    assert await connection.fetchval("SELECT number FROM kept") == 7
    assert await connection.fetchval("SHOW fsync") == "on"
    await connection.close()


async def test_a_wrong_password_is_refused(server: Postgres):
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.url().replace("wafa:", "wafa:not", 1))
    assert oct((server.data_dir / "password").stat().st_mode & 0o777) == "0o600"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a user")
def test_concurrent_starts_create_one_user():
    name = f"wafa_test_{os.getpid()}"
    code = f"""
import time
from deploy.local import postgres
postgres.SYSTEM_USER = {name!r}
time.sleep(max(0, {time.time() + 1.5} - time.time()))  # all at the same moment
print(postgres._system_user().pw_uid)
"""
    try:
        starters = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
        outputs = [starter.communicate()[0] for starter in starters]
        assert outputs[0].strip().isdigit()
        assert outputs == [outputs[0]] * 4
    finally:
        subprocess.run(["userdel", name], check=False)


def test_a_start_replaces_a_server_left_running(server: Postgres):
    again = Postgres(server.data_dir)
    again.start()
    assert again.is_ready()
    again.stop()


async def test_topics_are_created_once(broker: EmbeddedBroker):
    assert await topics.create(broker.bootstrap) == list(ALL)
    assert await topics.create(broker.bootstrap) == []
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap)
    await producer.start()
    assert await producer.partitions_for(ALL[0]) == set(range(topics.PARTITIONS))
    await producer.stop()


async def test_every_start_of_the_embedded_broker_is_a_new_cluster(broker: EmbeddedBroker):
    first = await Broker(broker.bootstrap, "test").cluster_id()
    broker.stop()
    broker.start()
    assert await Broker(broker.bootstrap, "test").cluster_id() != first


def test_creating_topics_on_an_unreachable_broker_is_a_one_line_error(capsys: pytest.CaptureFixture[str]):
    assert topics.main(["create", "--bootstrap", "127.0.0.1:1"]) == 1
    assert capsys.readouterr().err.startswith("deploy.topics: ")
