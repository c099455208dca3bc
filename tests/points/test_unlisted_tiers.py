"""Tiers that events name and the earning rules in force do not list: counted, measured, shown and warned about.

Planted and caught here: a tier counted once for each entry; customers counted who left the tier, or who are in it
twice; warnings by the rules in force instead of the draft; a receipt that looks at the rules of now.
"""

from typing import Any

import httpx

from services.points import worker
from services.points.settings import Settings
from shared import telemetry
from shared.postgres.pool import Pool
from tests.points.asking import at, done, enact
from tests.points.books import deliver
from tests.points.conftest import Headers, get
from tests.points.drafting import DOUBLE, RULES, publish, put
from tests.points.shop import hour, purchase, timeline
from tests.points.states import apply, new_customers

VIP: Any = DOUBLE | {"tiers": ["member", "silver", "gold", "vip"]}


async def four_customers(pool: Pool) -> None:
    """Two in vip, one in plus, and one who left vip; one of vip will fall and return."""
    await deliver(
        pool,
        timeline((hour(1), "vip", "1"), (hour(2), "vip", "2")),
        timeline((hour(1), "vip", "1"), (hour(2), "gold", "2"), customer_id="bob"),
        timeline((hour(1), "plus", "1"), customer_id="zoë"),
        timeline((hour(1), "vip", "1"), (hour(99_998), "member", "1"), (hour(99_999), "vip", "1"), customer_id="far"),
    )


def test_each_unlisted_tier_of_an_event_is_counted_once():
    state = new_customers("ann")
    told = timeline((hour(1), "plus", "1"), (hour(2), "vip", "1"), (hour(3), "vip", "2"), (hour(4), "gold", "1"))
    assert apply(state, told).unlisted_tiers == 2
    assert apply(state, timeline((hour(3), "gold", "1"))).unlisted_tiers == 0


async def test_customers_of_unlisted_tiers_are_measured(points_pool: Pool):
    [job] = [job for job in worker.spec(Settings()).jobs if job.name == "count customers of unlisted tiers"]
    before = telemetry.UNLISTED_TIERS._value.get()
    await four_customers(points_pool)
    assert telemetry.UNLISTED_TIERS._value.get() - before == 4
    await job.run(points_pool, hour(3))
    assert measured() == {"vip": 2, "plus": 1}
    await enact(points_pool, since=hour(4), tiers=["member", "vip", "plus"])
    await job.run(points_pool, hour(3))
    assert measured() == {"vip": 2, "plus": 1}
    await job.run(points_pool, hour(4))
    assert measured() == {"gold": 1}


def measured() -> dict[str, float]:
    [metric] = telemetry.UNLISTED_TIER_CUSTOMERS.collect()
    return {sample.labels["tier"]: sample.value for sample in metric.samples}


async def test_a_draft_that_lacks_tiers_of_customers_is_warned_about(
    client: httpx.AsyncClient, points_pool: Pool, marketing: Headers
):
    await four_customers(points_pool)
    with at(hour(5)):
        made = await done(client, RULES, marketing, DOUBLE)
        assert [warning["pointer"] for warning in made["warnings"]] == ["/tiers", "/tiers"]
        vip, plus = (warning["message"] for warning in made["warnings"])
        assert vip.startswith("vip is missing, and 2 customers are in this tier: ")
        assert plus.startswith("plus is missing, and 1 customer is in this tier: ")
        rewritten = (await put(client, marketing, 2, VIP, made["etag"])).json()
        assert [warning["message"] for warning in rewritten["warnings"]] == [plus]
        published = (await publish(client, marketing, 2)).json()
        assert (published["status"], published["warnings"]) == ("published", rewritten["warnings"])
        # Who fell meanwhile is in vip no more.
        await deliver(points_pool, timeline((hour(3), "member", "1"), verb="demoted"))
        [again, _] = (await done(client, RULES, marketing, DOUBLE))["warnings"]
        assert " 1 customer is " in again["message"]


async def test_a_receipt_names_the_tier_that_its_rules_do_not_list(
    client: httpx.AsyncClient, points_pool: Pool, reader: Headers
):
    await enact(points_pool, since=hour(6), tiers=["member", "vip"])
    await deliver(points_pool, timeline((hour(1), "vip", "1.5")), purchase("1", "10.00", hour(2)))
    await deliver(points_pool, purchase("2", "10.00", hour(7)))
    shown: list[Any] = []
    for line in (await get(client, "/v1/customers/ann/points/transactions", reader))["data"]:
        transaction = await get(client, f"/v1/points/transactions/{line['id']}", reader)
        assert transaction["receipt_verified"]
        shown.append((transaction["reason"]["order_id"], transaction["points"], transaction.get("unlisted_tier")))
    assert shown == [("2", 15, None), ("1", 15, "vip")]
    cart = {"currency": "USD", "total": "10.00", "customer_id": "ann"}
    for moment, unlisted in ((hour(5), "vip"), (hour(7), None)):
        with at(moment):
            answer = (await client.post("/v1/points/quotes", json=cart, headers=reader)).json()
        assert (answer["points"], answer.get("unlisted_tier")) == (15, unlisted)
