"""Rewards of the catalogue, redeemed over HTTP.

Planted and caught here: a cancellation that keeps the stock; a reward that two read at once; a limit that counts
cancelled redemptions.
"""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from tests.points.asking import TEA, at, done, enact, of, post, refusal, stock
from tests.points.books import balances, check_books, deliver, published
from tests.points.conftest import Headers, Key
from tests.points.shop import hour, purchase, tier


async def test_a_reward_is_redeemed(client: httpx.AsyncClient, points_pool: Pool, shop: Headers, marketing: Headers):
    await done(client, "/v1/rewards", marketing, TEA | {"stock": 5})
    await deliver(points_pool, purchase("1", "100.00"))
    made = await done(client, of("ann", "redemptions"), shop, {"reward_id": "tea", "quantity": 2})
    assert (made["points"], made["reward_id"], made["quantity"], "reference" in made) == (60, "tea", 2, False)
    assert (await done(client, of("ann", "redemptions"), shop, {"reward_id": "tea"}))["quantity"] == 1
    assert (await stock(points_pool), (await balances(points_pool)).available) == (2, 10)
    event = (await published(points_pool))[1]["data"]
    assert event["reason"] == {"kind": "redemption", "redemption_id": made["id"], "reward_id": "tea"}
    # A later price is for later redemptions: the points that were paid are restored.
    assert (await client.patch("/v1/rewards/tea", json={"points": 1}, headers=marketing)).status_code == 200
    assert (await done(client, f"/v1/redemptions/{made['id']}/cancel", shop))["points"] == 60
    assert (await stock(points_pool), (await balances(points_pool)).available) == (4, 70)
    await check_books(points_pool)


@pytest.mark.parametrize(
    ("stocks", "left"),
    [
        # Stock at the redemption, stock set before the cancellation, and stock after it.
        ((None, 5), 5),
        ((3, 5), 7),
        ((3, None), None),
        ((None, None), None),
    ],
)
async def test_a_cancellation_restores_the_stock_that_its_redemption_took(
    client: httpx.AsyncClient, points_pool: Pool, shop: Headers, marketing: Headers, *,
    stocks: tuple[int | None, int | None], left: int | None,
):  # fmt: skip
    first, then = stocks
    await done(client, "/v1/rewards", marketing, TEA | {"stock": first})
    await deliver(points_pool, purchase("1", "100.00"))
    made = await done(client, of("ann", "redemptions"), shop, {"reward_id": "tea", "quantity": 2})
    assert (await client.patch("/v1/rewards/tea", json={"stock": then}, headers=marketing)).status_code == 200
    await done(client, f"/v1/redemptions/{made['id']}/cancel", shop)
    assert await stock(points_pool) == left


@pytest.mark.parametrize(
    ("fields", "quantity", "code"),
    [
        ({"stock": 1}, 2, "out_of_stock"),
        ({"stock": 0}, 1, "out_of_stock"),
        ({"limit_per_customer": 1}, 2, "limit_reached"),
        ({"minimum_tier": "silver"}, 1, "tier_too_low"),
        ({"from": format_instant(hour(1) + timedelta.resolution)}, 1, "not_in_window"),
        ({"to": format_instant(hour(1))}, 1, "not_in_window"),
    ],
)
async def test_a_redemption_that_the_catalog_does_not_allow_is_refused(
    client: httpx.AsyncClient, points_pool: Pool, shop: Headers, marketing: Headers, *,
    fields: dict[str, Any], quantity: int, code: str,
):  # fmt: skip
    await deliver(points_pool, purchase("1", "100.00"))
    with at(hour(1)):
        await done(client, "/v1/rewards", marketing, TEA | fields)
        answer = await post(client, of("ann", "redemptions"), shop, {"reward_id": "tea", "quantity": quantity})
    assert refusal(answer) == (409, code)
    assert (await balances(points_pool)).available == 100
    assert await points_pool.fetchval("SELECT count(*) FROM redemption") == 0


async def test_a_window_includes_its_start(client: httpx.AsyncClient, points_pool: Pool, shop: Headers, key: Key):
    await deliver(points_pool, purchase("1", "100.00"))
    window = {"from": format_instant(hour(1)), "to": format_instant(hour(2))}
    await done(client, "/v1/rewards", key("marketing"), TEA | window)
    for moment, status in {hour(1): 201, hour(2) - timedelta.resolution: 201, hour(2): 409}.items():
        with at(moment):
            answer = await post(client, of("ann", "redemptions"), shop, {"reward_id": "tea"})
        assert answer.status_code == status


async def test_a_reward_with_a_minimum_tier(client: httpx.AsyncClient, points_pool: Pool, shop: Headers, key: Key):
    await enact(points_pool, tiers=["x1", "x1.25", "x2"])
    await done(client, "/v1/rewards", key("marketing"), TEA | {"minimum_tier": "x1.25"})
    await deliver(points_pool, purchase("1", "100.00", hour(-9)), tier([(hour(0), "1.25"), (hour(2), "1")]))
    for moment, status in {
        hour(0) - timedelta.resolution: 409,
        hour(0): 201,
        hour(2) - timedelta.resolution: 201,
        hour(2): 409,
    }.items():
        with at(moment):
            answer = await post(client, of("ann", "redemptions"), shop, {"reward_id": "tea"})
        assert answer.status_code == status, moment
    await deliver(points_pool, tier([(hour(3), "2")]))
    assert (await post(client, of("ann", "redemptions"), shop, {"reward_id": "tea"})).status_code == 201


async def test_a_limit_per_customer_does_not_count_cancelled_redemptions(
    client: httpx.AsyncClient, points_pool: Pool, shop: Headers, key: Key
):
    await done(client, "/v1/rewards", key("marketing"), TEA | {"limit_per_customer": 2})
    await deliver(points_pool, purchase("1", "900.00"), purchase("2", "900.00", customer_id="bob"))
    body = {"reward_id": "tea", "quantity": 2}
    first = await done(client, of("ann", "redemptions"), shop, body)
    assert refusal(await post(client, of("ann", "redemptions"), shop, {"reward_id": "tea"})) == (409, "limit_reached")
    await done(client, of("bob", "redemptions"), shop, body)
    await done(client, f"/v1/redemptions/{first['id']}/cancel", shop)
    assert (await post(client, of("ann", "redemptions"), shop, body)).status_code == 201


async def test_an_unknown_reward_is_404(client: httpx.AsyncClient, points_pool: Pool, shop: Headers):
    assert refusal(await post(client, of("ann", "redemptions"), shop, {"reward_id": "tea"})) == (404, "not_found")
    assert refusal(await post(client, f"/v1/redemptions/{uuid4()}/cancel", shop)) == (404, "not_found")
    assert await points_pool.fetchval("SELECT count(*) FROM account") == 0


async def test_stock_and_points_change_together_or_not_at_all(
    client: httpx.AsyncClient, points_pool: Pool, shop: Headers, key: Key
):
    await done(client, "/v1/rewards", key("marketing"), TEA | {"stock": 3})
    names = [f"customer-{number}" for number in range(8)]
    await deliver(points_pool, *(purchase(name, "100.00", customer_id=name) for name in names))
    answers = await asyncio.gather(
        *(post(client, of(name, "redemptions"), shop, {"reward_id": "tea"}) for name in names)
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 5
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"out_of_stock"}
    for name, answer in zip(names, answers, strict=True):
        assert (await balances(points_pool, name)).available == (70 if answer.status_code == 201 else 100)
    assert await stock(points_pool) == 0
    # One piece is restored, and two customers want it.
    [first, *_] = [answer.json() for answer in answers if answer.status_code == 201]
    await done(client, f"/v1/redemptions/{first['id']}/cancel", shop)
    answers = await asyncio.gather(
        *(post(client, of(name, "redemptions"), shop, {"reward_id": "tea"}) for name in names[:2])
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    assert await stock(points_pool) == 0
    await check_books(points_pool)
