"""A stored position outside the log stops the worker: a person decides, with the command that it names."""

import json

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from services import SERVICES
from shared.messaging.worker import EXIT_DECIDE
from tests.journeys.shop import Shop, name
from tests.journeys.test_purchases import BALANCE_SQL
from tests.support.stack import Stack

# The embedded broker answers a fetch beyond its log with nothing, and deletes no records.
pytestmark = [pytest.mark.kafka, pytest.mark.parametrize("broker", ["apache"], indirect=True, scope="session")]

TOPIC = "shop.purchases"


async def test_a_position_beyond_the_log_stops_the_worker_until_it_is_set(stack: Stack, shop: Shop):
    await stack.drain()
    (worker,) = [worker for worker in stack.workers if worker.service == "points" and worker.runs]
    assert worker.terminate() == 0
    stored = {
        line["partition"]: line["next_offset"]
        for line in map(json.loads, stack.run("points", "positions", "list", "--json").stdout.splitlines())
        if line["topic"] == TOPIC
    }
    beyond = stack.run("points", "positions", "set", TOPIC, "1", str(stored[1] + 1_000_000))
    assert beyond.returncode == 0
    await _must_decide(stack)
    back = stack.run("points", "positions", "set", TOPIC, "1", str(stored[1]))
    assert back.stdout == f"{TOPIC} 1: wafa-points goes on at {stored[1]}\n"
    await stack.ready(stack.worker("points"))
    customer = name("customer")
    shop.purchase(customer, name("order"), "10.00")
    await stack.drain()
    assert await stack.value("points", BALANCE_SQL, customer) == 10


async def test_deleted_records_stop_the_worker_until_the_position_is_set(stack: Stack, shop: Shop):
    await stack.drain()
    (worker,) = [worker for worker in stack.workers if worker.service == "tiers" and worker.runs]
    assert worker.terminate() == 0
    for _ in range(20):
        customer = name("customer")
        shop.purchase(customer, name("order"), "10.00")
    await stack.drain(services=set(SERVICES) - {"tiers"})  # what the others have not read yet would stop them as well
    ends = await _delete_all(stack.broker.bootstrap)
    await _must_decide(stack, "tiers")
    for partition, end in ends.items():
        assert stack.run("tiers", "positions", "set", TOPIC, str(partition), str(end)).returncode == 0
    await stack.ready(stack.worker("tiers"))
    await stack.drain()


async def _must_decide(stack: Stack, service: str = "points") -> None:
    worker = stack.worker(service)
    assert worker.wait(40) == EXIT_DECIDE
    last = worker.lines()[-1]
    assert last["event"] == "worker_needs_a_decision"
    assert f"positions set {TOPIC} " in str(last["decision"])
    assert "outside the log" in str(last["decision"])


async def _delete_all(bootstrap: str) -> dict[int, int]:
    """Delete every record of the topic, as retention does; answers the offsets where the log begins now."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        partitions = [TopicPartition(TOPIC, number) for number in range(4)]
        deleted = await admin.delete_records({partition: RecordsToDelete(before_offset=-1) for partition in partitions})
    finally:
        await admin.close()
    return {item.partition: end for item, end in deleted.items()}
