"""What is refused goes to the dead letters whole, with its reason, and a replay has its full effect."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.journeys.shop import STRUCTURED, Shop, name
from tests.journeys.test_purchases import BALANCE_SQL, INBOX_SQL
from tests.support.stack import Stack

LETTERS_SQL = "SELECT id, reason FROM dead_letter WHERE key = $1 ORDER BY id"


async def reasons(stack: Stack, service: str, customer: str) -> list[str]:
    return [row["reason"] for row in await stack.fetch(service, LETTERS_SQL, customer.encode())]


def bought(customer: str, order: str, **changes: object) -> dict:
    return {"customer_id": customer, "order_id": order, "currency": "USD", "total": "30.00", **changes}


async def test_every_reason_of_the_closed_list_comes_through_kafka(stack: Stack, shop: Shop):
    customer, order = name("customer"), name("order")
    completed, line = "shop.purchase.completed.v1", {"line_id": "1", "sku": "A", "quantity": 1, "amount": "30.00"}
    shop.send("shop.purchases", customer, b"{not json")
    shop.send("shop.purchases", customer, b"[]")
    shop.publish(completed, {"customer_id": customer, "order_id": name("order"), "total": "1.00"})
    shop.publish(completed, bought(customer, name("order"), total=30.0))
    ahead = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    shop.publish(completed, bought(customer, name("order")), time=ahead)
    shop.publish(completed, bought(customer, name("order"), total="31.00", lines=[line]))
    event = shop.event(completed, bought("somebody else", name("order")))
    shop.send("shop.purchases", customer, json.dumps(event).encode())
    shop.publish(completed, bought(customer, order, lines=[line]))
    shop.publish(completed, bought(customer, order, lines=[line]), source="/shop/other")
    shop.refund(customer, order, "1.00", currency="EUR")
    refund = {"customer_id": customer, "order_id": order, "refund_id": name("refund"), "currency": "USD"}
    refund |= {"amount": "1.00", "lines": [{"line_id": "9", "quantity": 1, "amount": "1.00"}]}
    shop.publish("shop.purchase.refunded.v1", refund)
    await stack.drain()
    of_points = await reasons(stack, "points", customer)
    assert sorted(of_points) == sorted(
        [
            *("not_json", "not_a_cloudevent", "missing_field", "bad_field", "time_in_future"),
            *("lines_do_not_add_up", "key_mismatch", "order_conflict", "currency_mismatch", "unknown_line"),
        ]
    )
    for service in ("tiers", "referrals"):  # all who read a topic judge alike
        assert sorted(await reasons(stack, service, customer)) == sorted(of_points)
    assert await stack.value("points", BALANCE_SQL, customer) == 30


@pytest.mark.deep
async def test_a_dead_letter_is_listed_and_shown_as_received(stack: Stack, shop: Shop):
    customer = name("customer")
    shop.send("shop.purchases", customer, b"\xff\xfe\x00", [("x-odd", b"\xff"), *STRUCTURED])
    await stack.drain()
    listed = stack.run("points", "dead-letters", "list", "--json", "--reason", "not_json")
    (letter,) = [line for line in map(json.loads, listed.stdout.splitlines()) if line["key"] == customer]
    shown = json.loads(stack.run("points", "dead-letters", "show", str(letter["id"]), "--json").stdout)
    assert shown["value"] == "\\xff\\xfe\x00"
    assert shown["headers"]["x-odd"] == "\\xff"
    assert (shown["topic"], shown["reason"], shown["type"]) == ("shop.purchases", "not_json", None)


@pytest.mark.deep
async def test_a_failed_event_is_replayed_after_the_cause_is_fixed(stack: Stack, shop: Shop):
    customer, poison = name("customer"), name("order")
    await stack.fetch("points", f"ALTER TABLE purchase ADD CONSTRAINT broken CHECK (order_id <> '{poison}') NOT VALID")
    for order in (name("order"), poison, name("order")):
        shop.purchase(customer, order, "10.00")
    await stack.drain()
    assert await reasons(stack, "points", customer) == ["handler_refused"]
    assert await stack.value("points", BALANCE_SQL, customer) == 20
    ((number, _),) = await stack.fetch("points", LETTERS_SQL, customer.encode())
    again = stack.run("points", "dead-letters", "replay", str(number))
    assert (again.returncode, again.stdout) == (1, "0 handled, 1 refused again\n")
    await stack.fetch("points", "ALTER TABLE purchase DROP CONSTRAINT broken")
    ((number, _),) = await stack.fetch("points", LETTERS_SQL, customer.encode())
    again = stack.run("points", "dead-letters", "replay", str(number))
    assert (again.returncode, again.stdout) == (0, "1 handled, 0 refused again\n")
    await stack.drain()
    assert await stack.value("points", BALANCE_SQL, customer) == 30
    messages = await stack.fetch("notifications", INBOX_SQL, customer)
    assert len(messages) == 3, "the replayed purchase went all the way"


async def test_a_sign_up_with_an_unknown_code_is_replayed_when_the_code_is_there(stack: Stack, shop: Shop):
    advocate, friend = name("advocate"), name("friend")
    shop.publish("shop.referral.signed_up.v1", {"customer_id": friend, "code": "23456789"})
    await stack.drain()
    assert await reasons(stack, "referrals", friend) == ["unknown_code"]
    await stack.fetch("referrals", "INSERT INTO referral_code VALUES ($1, '23456789', now())", advocate)
    ((number, _),) = await stack.fetch("referrals", LETTERS_SQL, friend.encode())
    again = stack.run("referrals", "dead-letters", "replay", str(number))
    assert (again.returncode, again.stdout) == (0, "1 handled, 0 refused again\n")
    shop.purchase(friend, name("order"), "25.00", time="2026-03-05T12:00:00Z")
    await stack.drain()
    assert await stack.value("points", BALANCE_SQL, advocate) == 500
    assert await stack.value("points", BALANCE_SQL, friend) == 200 + 25
