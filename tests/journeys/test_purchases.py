"""A purchase becomes points, a tier and a message; whatever comes twice, late or unknown does no harm."""

import json

import pytest
from aiokafka import AIOKafkaConsumer

from tests.journeys.shop import Shop, name
from tests.support.stack import Stack

BALANCE_SQL = "SELECT coalesce(sum(available), 0)::int FROM account WHERE customer_id = $1"
KINDS_SQL = "SELECT kind, points::int FROM transaction WHERE customer_id = $1 ORDER BY sequence"
INBOX_SQL = "SELECT trigger FROM message WHERE customer_id = $1 AND channel = 'in_app' ORDER BY number"


async def published(stack: Stack, topic: str, customer: str) -> list[dict]:
    """Every event of a customer on a topic, in order, from the beginning to a marker."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=stack.broker.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        found = []
        while batches := await consumer.getmany(timeout_ms=1500):
            records = [record for batch in batches.values() for record in batch]
            found += [json.loads(record.value) for record in records if record.key == customer.encode()]
        return found
    finally:
        await consumer.stop()


@pytest.mark.parametrize("binary", [False, True], ids=["structured", "binary"])
async def test_a_purchase_becomes_points_and_a_message(stack: Stack, shop: Shop, *, binary: bool):
    customer, order = name("customer"), name("order")
    root = shop.purchase(customer, order, "129.90", binary=binary)
    await stack.drain()
    assert await stack.value("points", BALANCE_SQL, customer) == 129
    assert await stack.fetch("notifications", INBOX_SQL, customer) == [("points_earned",)]
    (event,) = await published(stack, "loyalty.points", customer)
    assert event["type"] == "loyalty.points.earned.v1"
    assert event["time"] == "2026-03-01T12:00:00Z"
    assert (event["correlationid"], event["causationid"]) == (root, root)
    assert event["data"]["points"] == 129
    assert event["data"]["reason"] == {"kind": "purchase", "order_id": order}


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
async def test_producers_may_compress(stack: Stack, compression: str):
    shop, customers = Shop(stack.producer(compression)), [name("customer") for _ in range(4)]
    for customer in customers:
        shop.purchase(customer, name("o" * 100), "10.00")
    await stack.drain()
    for customer in customers:
        assert await stack.value("points", BALANCE_SQL, customer) == 10


async def test_a_tier_is_reached_and_pays_from_the_next_order_on(stack: Stack, shop: Shop):
    customer = name("customer")
    shop.purchase(customer, name("order"), "600.00")
    await stack.drain()
    shop.purchase(customer, name("order"), "100.00", time="2026-03-02T12:00:00Z")
    await stack.drain()
    assert await stack.value("points", BALANCE_SQL, customer) == 600 + 125
    (event,) = await published(stack, "loyalty.tiers", customer)
    assert (event["type"], event["data"]["to"]) == ("loyalty.tier.promoted.v1", "silver")
    assert ("tier_reached",) in await stack.fetch("notifications", INBOX_SQL, customer)


async def test_an_order_judged_before_its_tier_arrived_is_settled_again(stack: Stack, shop: Shop):
    customer = name("customer")
    shop.purchase(customer, name("order"), "100.00", time="2026-03-02T12:00:00Z")
    await stack.drain()
    shop.purchase(customer, name("order"), "600.00", time="2026-03-01T12:00:00Z")
    await stack.drain()
    assert await stack.value("points", BALANCE_SQL, customer) == 600 + 125


async def test_a_repeated_id_has_no_effect(stack: Stack, shop: Shop):
    customer, order, id_ = name("customer"), name("order"), name("event")
    for binary in (False, True, False):
        shop.purchase(customer, order, "10.00", id=id_, binary=binary)
    await stack.drain()
    shop.purchase(customer, order, "10.00", id=id_)
    await stack.drain()
    assert await stack.value("points", BALANCE_SQL, customer) == 10
    assert len(await published(stack, "loyalty.points", customer)) == 1


async def test_a_repeated_order_under_another_id_has_no_effect(stack: Stack, shop: Shop):
    customer, order = name("customer"), name("order")
    for _ in range(2):
        shop.purchase(customer, order, "10.00")
        shop.purchase(customer, order, "10.00")
        await stack.drain()
    assert await stack.fetch("points", KINDS_SQL, customer) == [("earned", 10)]


async def test_a_refund_may_come_before_its_purchase(stack: Stack, shop: Shop):
    early, late = name("customer"), name("customer")
    for customer in (early, late):
        order = name("order")
        if customer == late:
            shop.purchase(customer, order, "50.00")
        shop.refund(customer, order, "20.50", time="2026-03-03T12:00:00Z")
        await stack.drain()
        if customer == early:
            assert await stack.value("points", BALANCE_SQL, customer) == 0
            shop.purchase(customer, order, "50.00")
            await stack.drain()
        assert await stack.fetch("points", KINDS_SQL, customer) == [("earned", 50), ("reversed", -21)]
        assert await stack.value("points", BALANCE_SQL, customer) == 29


async def test_a_review_is_worth_points_until_it_is_withdrawn(stack: Stack, shop: Shop):
    customer, review = name("customer"), name("review")
    data = {"customer_id": customer, "review_id": review}
    shop.publish("shop.review.published.v1", data | {"sku": "A", "rating": 5, "verified_purchase": True})
    await stack.drain()
    assert await stack.value("points", BALANCE_SQL, customer) == 50
    shop.publish("shop.review.withdrawn.v1", data, time="2026-03-02T12:00:00Z")
    await stack.drain()
    assert await stack.fetch("points", KINDS_SQL, customer) == [("earned", 50), ("reversed", -50)]


async def test_an_unknown_type_is_counted_and_skipped(stack: Stack, shop: Shop):
    (worker,) = [worker for worker in stack.workers if worker.service == "points" and worker.runs]
    await stack.drain()
    before = worker.metric("wafa_skipped_total", topic="shop.purchases")
    letters = await stack.value("points", "SELECT count(*) FROM dead_letter")
    customer = name("customer")
    for number in range(3):
        shop.publish("shop.purchase.dreamt.v7", {"customer_id": customer, "number": number})
    shop.purchase(customer, name("order"), "10.00")
    await stack.drain()
    # Markers of the drain are of an unknown type too.
    assert worker.metric("wafa_skipped_total", topic="shop.purchases") >= before + 3
    assert await stack.value("points", "SELECT count(*) FROM dead_letter") == letters
    assert await stack.value("points", BALANCE_SQL, customer) == 10
