"""A second worker joins and leaves under load: nothing is lost or duplicated, and each customer's order is kept."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Producer

from deploy.local.kafka import ApacheKafka
from deploy.local.postgres import Postgres
from tests.journeys.shop import STRUCTURED, Shop
from tests.kafka import books
from tests.kafka.faults import Lag, has_worked
from tests.support.fleet import until
from tests.support.stack import Stack

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

ORDERS = 12_000
CUSTOMERS = 300


class Load:
    """Publishes orders of 1.00 to 9.00 for all customers in turn, and computes the expected balances."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._shop = Shop(producer)
        self.balances: Counter[str] = Counter()
        self.orders: dict[str, list[str]] = {}

    async def run(self, count: int, pace: float) -> None:
        """Publish `count` orders, `pace` per second."""
        for number in range(count):
            customer, points = f"c{number % CUSTOMERS}", number % 9 + 1
            self.balances[customer] += points
            self.orders.setdefault(customer, []).append(f"o{number}")
            data = {"customer_id": customer, "order_id": f"o{number}", "currency": "USD", "total": f"{points}.00"}
            event = self._shop.event("shop.purchase.completed.v1", data)
            self._producer.produce("shop.purchases", json.dumps(event).encode(), key=customer, headers=STRUCTURED)
            if number % 50 == 0:
                self._producer.poll(0)
                await asyncio.sleep(50 / pace)
        assert self._producer.flush(30) == 0


async def test_a_second_worker_joins_and_leaves_under_load(kafka: ApacheKafka, durable: Postgres, folder: Path):
    stack = await Stack.make(kafka, durable.url(), folder, ["points"])
    stack.env["WAFA_POINTS_BATCH_SIZE"] = "50"
    load = Load(stack.producer())
    try:
        first = stack.worker("points")
        await stack.ready(first)
        async with Lag.of(stack) as lag:
            publishing = asyncio.create_task(load.run(ORDERS, pace=400))
            await lag.works("points")
            for _ in range(2):
                second = stack.worker("points")
                await stack.ready(second)
                await until(
                    lambda worker=second: has_worked(worker), 20, "the second worker to have a share of the work"
                )
                assert not publishing.done(), "it joined under load"
                assert second.terminate() == 0
                await lag.works("points")
            assert not publishing.done(), "it left under load"
            await publishing
        await stack.drain(seconds=60)
        assert first.terminate() == 0
    finally:
        stack.stop()
    balances = await stack.fetch("points", "SELECT customer_id, available FROM account")
    assert dict(balances) == load.balances
    orders = "SELECT customer_id, array_agg(order_id ORDER BY ordinal) FROM purchase GROUP BY customer_id"
    assert dict(await stack.fetch("points", orders)) == load.orders
    assert await books.check_every_transaction_is_published(stack) >= 0
    await books.check_nothing_was_refused(stack)
    await books.check_the_ledger(stack)
