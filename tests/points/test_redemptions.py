"""Redemptions over HTTP: by reward or by points, and their cancellation.

Planted and caught here: a reference that is spent for other points; a cancellation that gives twice; points whose
date has passed, and that come back with it.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from shared.contracts.values import format_instant
from shared.http import idempotency
from shared.postgres import answers
from shared.postgres.pool import Pool
from tests.points.asking import BASE, TEA, at, done, enact, lots, of, post, refusal, stock
from tests.points.books import Balances, balances, check_books, deliver, published, transactions
from tests.points.conftest import Headers, Key, customer, get
from tests.points.shop import hour, purchase, refund

APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MONTH = BASE | {"expire": {"kind": "after_days", "days": 30}}
"""Points of a purchase on 1 March expire at the end of 31 March."""


async def test_points_are_redeemed_by_reference(client: httpx.AsyncClient, points_pool: Pool, shop: Headers):
    await deliver(points_pool, purchase("1", "100.00"))
    headers = shop | {"X-Request-Id": "request-1"}
    with at(hour(1)):
        answer = await post(client, of("ann", "redemptions"), headers, {"points": 70, "reference": "cart-1"})
    assert answer.status_code == 201
    [earned, redeemed] = await transactions(points_pool)
    assert answer.json() == {
        "id": answer.json()["id"],
        "customer_id": "ann",
        "state": "redeemed",
        "points": 70,
        "reference": "cart-1",
        "transaction_id": str(redeemed["id"]),
        "created_at": format_instant(hour(1)),
    }
    shown = await get(client, of("ann", "points"), customer("ann"))
    assert (shown["available"], shown["lifetime_earned"], shown["lifetime_redeemed"]) == (30, 100, 70)
    [_, event] = await published(points_pool)
    assert (event["type"], event["correlationid"]) == ("loyalty.points.redeemed.v1", "request-1")
    assert (event["data"]["points"], event["data"]["qualifying_points"]) == (70, 0)
    assert event["data"]["reason"] == {"kind": "redemption", "redemption_id": answer.json()["id"]}
    assert earned["available_after"] - redeemed["available_after"] == 70
    await check_books(points_pool)


async def test_redeeming_more_than_is_available_is_refused(
    client: httpx.AsyncClient, points_pool: Pool, shop: Headers, marketing: Headers
):
    await deliver(points_pool, purchase("1", "20.00"))
    await done(client, "/v1/rewards", marketing, TEA | {"stock": 5})
    for body, missing in (({"points": 21, "reference": "r"}, 1), ({"reward_id": "tea", "quantity": 2}, 40)):
        answer = await post(client, of("ann", "redemptions"), shop, body)
        assert (*refusal(answer), answer.json()["missing"]) == (409, "insufficient_points", missing)
    assert (await stock(points_pool), (await balances(points_pool)).available) == (5, 20)
    # A refusal creates no account.
    assert refusal(await post(client, of("bob", "redemptions"), shop, {"points": 1, "reference": "r"}))[0] == 409
    assert await points_pool.fetchval("SELECT count(*) FROM account") == 1
    # The reference of a refused redemption is free.
    await done(client, of("ann", "redemptions"), shop, {"points": 20, "reference": "r"})


async def test_a_reference_is_redeemed_once(client: httpx.AsyncClient, points_pool: Pool, shop: Headers, key: Key):
    await deliver(points_pool, purchase("1", "100.00"), purchase("2", "100.00", customer_id="bob"))
    body = {"points": 60, "reference": "سلة-١"}
    answers = await asyncio.gather(*(post(client, of("ann", "redemptions"), shop, body) for _ in range(4)))
    again = await post(client, of("ann", "redemptions"), key("redeem"), body)
    assert {answer.status_code for answer in (*answers, again)} == {201}
    assert len({answer.text for answer in (*answers, again)}) == 1
    for points in (59, 61, 10**6):
        answer = await post(client, of("ann", "redemptions"), shop, body | {"points": points})
        assert refusal(answer) == (409, "reference_conflict")
    await done(client, of("bob", "redemptions"), shop, body | {"points": 61})
    await check_books(points_pool)


@pytest.mark.parametrize("points", [60, 61])
async def test_the_reference_of_a_cancelled_redemption_is_refused(
    client: httpx.AsyncClient, points_pool: Pool, shop: Headers, points: int
):
    await deliver(points_pool, purchase("1", "100.00"))
    made = await done(client, of("ann", "redemptions"), shop, {"points": 60, "reference": "cart-1"})
    cancelled = await done(client, f"/v1/redemptions/{made['id']}/cancel", shop)
    answer = await post(client, of("ann", "redemptions"), shop, {"points": points, "reference": "cart-1"})
    assert refusal(answer) == (409, "reference_used")
    assert answer.json()["redemption"] == cancelled
    assert (await balances(points_pool)).available == 100
    # References of holds are separate.
    hold = {"points": 60, "reference": "cart-1", "expires_in_seconds": 60}
    assert (await post(client, of("ann", "holds"), shop, hold)).status_code == 201
    await check_books(points_pool)


async def test_lots_are_spent_soonest_expiry_first_and_restored_with_their_dates(
    client: httpx.AsyncClient, points_pool: Pool, shop: Headers
):
    await deliver(points_pool, purchase("never", "10.00", hour(-1)))
    await enact(points_pool, MONTH)
    await deliver(points_pool, purchase("late", "20.00", hour(24)), purchase("soon", "30.00", hour(0)), now=hour(24))
    before = await lots(points_pool)
    assert before == [
        ("order/soon", 30, APRIL),
        ("order/late", 20, APRIL + timedelta(days=1)),
        ("order/never", 10, None),
    ]
    with at(hour(48)):
        made = await done(client, of("ann", "redemptions"), shop, {"points": 55, "reference": "r"})
        assert await lots(points_pool) == [("order/never", 5, None)]
        cancelled = await done(client, f"/v1/redemptions/{made['id']}/cancel", shop)
        assert cancelled == made | {"state": "cancelled", "cancelled_at": format_instant(hour(48))}
        assert await lots(points_pool) == before
        shown = await get(client, of("ann", "points"), customer("ann"))
    assert (shown["available"], shown["lifetime_redeemed"], shown["lifetime_earned"]) == (60, 0, 60)
    assert shown["next_expiry"] == {"points": 30, "at": format_instant(APRIL)}
    event = (await published(points_pool))[-1]
    assert (event["type"], event["data"]["points"]) == ("loyalty.points.restored.v1", 55)
    assert event["data"]["reason"] == {"kind": "cancellation", "redemption_id": made["id"]}
    assert (event["data"]["qualifying_points"], event["data"]["expires_at"]) == (0, format_instant(APRIL))
    await check_books(points_pool)


async def test_a_cancellation_takes_effect_once(client: httpx.AsyncClient, points_pool: Pool, shop: Headers, key: Key):
    await done(client, "/v1/rewards", key("marketing"), TEA | {"stock": 1})
    await deliver(points_pool, purchase("1", "100.00"))
    made = await done(client, of("ann", "redemptions"), shop, {"reward_id": "tea"})
    path = f"/v1/redemptions/{made['id']}/cancel"
    answers = await asyncio.gather(*(post(client, path, shop) for _ in range(4)))
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, answers[0].text)}
    assert (await done(client, path, shop)) == answers[0].json()
    assert (await stock(points_pool), (await balances(points_pool)).available) == (1, 100)
    assert [row["kind"] for row in await transactions(points_pool)] == ["earned", "redeemed", "restored"]
    await check_books(points_pool)


async def test_restored_points_past_their_expiry_stay_for_30_days(
    client: httpx.AsyncClient, points_pool: Pool, shop: Headers
):
    await enact(points_pool, MONTH, time_zone="Asia/Riyadh")
    await deliver(points_pool, purchase("1", "40.00", hour(0)), purchase("2", "10.00", hour(240)), now=hour(240))
    with at(hour(241)):
        made = await done(client, of("ann", "redemptions"), shop, {"points": 45, "reference": "r"})
    # 22:30 in UTC is the next day in Riyadh.
    with at(datetime(2026, 4, 5, 22, 30, tzinfo=UTC)):
        await done(client, f"/v1/redemptions/{made['id']}/cancel", shop)
    end = datetime(2026, 5, 6, 21, tzinfo=UTC)
    assert await lots(points_pool) == [("order/2", 10, datetime(2026, 4, 10, 21, tzinfo=UTC)), ("order/1", 40, end)]
    assert (await balances(points_pool, now=end - timedelta.resolution)).available == 40
    assert (await balances(points_pool, now=end)).available == 0
    await check_books(points_pool)


async def test_restored_points_pay_debt_first(client: httpx.AsyncClient, points_pool: Pool, shop: Headers):
    await deliver(points_pool, purchase("1", "100.00"))
    made = await done(client, of("ann", "redemptions"), shop, {"points": 80, "reference": "r"})
    await deliver(points_pool, refund("1", "q", "70.00"))
    assert await balances(points_pool) == Balances(debt=50, lifetime_earned=30, lifetime_redeemed=80)
    await done(client, f"/v1/redemptions/{made['id']}/cancel", shop)
    assert await balances(points_pool) == Balances(available=30, lifetime_earned=30)
    await check_books(points_pool)


async def test_concurrent_redemptions_never_overspend(client: httpx.AsyncClient, points_pool: Pool, shop: Headers):
    for name in (f"customer-{number}" for number in range(10)):
        await deliver(points_pool, purchase(name, "50.00", customer_id=name))
        answers = await asyncio.gather(
            *(
                post(client, of(name, what), shop, {"points": 1, "reference": str(number)} | fields)
                for number in range(50)
                for what, fields in (("redemptions", {}), ("holds", {"expires_in_seconds": 60}))
            )
        )
        assert sorted(answer.status_code for answer in answers) == [201] * 50 + [409] * 50
        shown = await balances(points_pool, name, now=hour(0))
        assert (shown.available, shown.held + shown.lifetime_redeemed) == (0, 50)
    await check_books(points_pool)


async def test_a_redemption_needs_an_idempotency_key_and_counts_once(
    client: httpx.AsyncClient, points_pool: Pool, shop: Headers, key: Key
):
    await done(client, "/v1/rewards", key("marketing"), TEA)
    await deliver(points_pool, purchase("1", "100.00"))
    path, body = of("ann", "redemptions"), {"reward_id": "tea"}
    assert refusal(await client.post(path, json=body, headers=shop)) == (400, "idempotency_key_required")
    first = await post(client, path, shop, body, name="once")
    again = await post(client, path, shop, body, name="once")
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert (again.json(), (await balances(points_pool)).available) == (first.json(), 70)
    assert refusal(await post(client, path, shop, body | {"quantity": 2}, name="once"))[0] == 422
    assert refusal(await post(client, path, shop, body, name="x" * 256))[0] == 400
    cancel = f"/v1/redemptions/{first.json()['id']}/cancel"
    assert refusal(await client.post(cancel, headers=shop)) == (400, "idempotency_key_required")
    await post(client, cancel, shop, name="back")
    assert (await post(client, cancel, shop, name="back")).headers["Idempotency-Replayed"] == "true"
    # A refusal is not stored under its key.
    assert refusal(await post(client, path, shop, body | {"quantity": 4}, name="many"))[0] == 409
    await deliver(points_pool, purchase("2", "20.00"))
    assert (await post(client, path, shop, body | {"quantity": 4}, name="many")).status_code == 201


@pytest.mark.parametrize("body", [{"points": 30, "reference": "r"}, {"reward_id": "tea"}])
async def test_a_response_is_stored_by_the_statement_of_its_effect(
    client: httpx.AsyncClient,
    points_pool: Pool,
    shop: Headers,
    marketing: Headers,
    monkeypatch: pytest.MonkeyPatch,
    *,
    body: dict[str, object],
):
    await deliver(points_pool, purchase("1", "100.00"))
    await done(client, "/v1/rewards", marketing, TEA)
    monkeypatch.delattr(answers, "store")
    path = of("ann", "redemptions")
    first = await post(client, path, shop, body, name="k")
    again = await post(client, path, shop, body, name="k")
    assert (first.status_code, again.content, again.headers["Idempotency-Replayed"]) == (201, first.content, "true")
    assert (await balances(points_pool)).available == 70


async def test_a_response_that_was_stored_meanwhile_undoes_the_redemption(
    client: httpx.AsyncClient, points_pool: Pool, shop: Headers, marketing: Headers, monkeypatch: pytest.MonkeyPatch
):
    await deliver(points_pool, purchase("1", "100.00"))
    await done(client, "/v1/rewards", marketing, TEA | {"stock": 5})
    path, body = of("ann", "redemptions"), {"reward_id": "tea"}
    first = await post(client, path, shop, body, name="k")
    before = await balances(points_pool)

    async def too_early(*_: object) -> None:
        """The statement began before the first request had ended, and got the lock after it."""

    monkeypatch.setattr(idempotency, "_claim", too_early)
    again = await post(client, path, shop, body, name="k")
    assert (again.status_code, again.content, again.headers["Idempotency-Replayed"]) == (201, first.content, "true")
    assert await balances(points_pool) == before
    await check_books(points_pool)


async def test_an_expired_key_redeems_again(client: httpx.AsyncClient, points_pool: Pool, shop: Headers):
    await deliver(points_pool, purchase("1", "100.00"))
    path = of("ann", "redemptions")
    await post(client, path, shop, {"points": 10, "reference": "first"}, name="k")
    await points_pool.execute("UPDATE idempotency_key SET created_at = now() - $1::interval", timedelta(days=8))
    second = await post(client, path, shop, {"points": 20, "reference": "second"}, name="k")
    again = await post(client, path, shop, {"points": 20, "reference": "second"}, name="k")
    assert (second.status_code, again.content, again.headers["Idempotency-Replayed"]) == (201, second.content, "true")
    assert (await balances(points_pool)).available == 70


async def test_who_may_redeem_and_cancel(client: httpx.AsyncClient, points_pool: Pool, key: Key):
    await deliver(points_pool, purchase("1", "100.00"))
    who = {
        "nobody": ({}, 401, 401),
        "ann": (customer("ann"), 201, 403),
        "bob": (customer("bob"), 404, 403),
        **{scope: (key(scope), 403, 403) for scope in ("read", "support", "marketing")},
        **{scope: (key(scope), 201, 200) for scope in ("redeem", "admin")},
    }
    made = ""
    for name, (headers, redeems, _) in who.items():
        answer = await post(client, of("ann", "redemptions"), headers, {"points": 5, "reference": name})
        assert answer.status_code == redeems, name
        made = answer.json().get("id", made)
    for name, (headers, _, cancels) in who.items():
        assert (await post(client, f"/v1/redemptions/{made}/cancel", headers)).status_code == cancels, name
    assert await balances(points_pool) == Balances(available=90, lifetime_earned=100, lifetime_redeemed=10)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"points": 5},
        {"reference": "r"},
        {"points": 0, "reference": "r"},
        {"points": -5, "reference": "r"},
        {"points": 1.5, "reference": "r"},
        {"points": True, "reference": "r"},
        {"points": 10**12, "reference": "r"},
        {"points": 5, "reference": ""},
        {"points": 5, "reference": "a/b"},
        {"points": 5, "reference": "r", "reward_id": "tea"},
        {"reward_id": "tea", "quantity": 0},
        {"reward_id": "tea", "quantity": None},
        {"reward_id": "tea", "reference": "r"},
    ],
)
async def test_a_bad_redemption_is_422(client: httpx.AsyncClient, points_pool: Pool, shop: Headers, body: Any):
    answer = await post(client, of("ann", "redemptions"), shop, body)
    assert refusal(answer) == (422, "invalid_request")
    fields = set(body) | {"points", "reference", "reward_id"}
    assert {error["pointer"] for error in answer.json()["errors"]} <= {"", *(f"/{name}" for name in fields)}
    assert await points_pool.fetchval("SELECT count(*) FROM account") == 0


async def test_the_statement_of_a_redemption(client: httpx.AsyncClient, points_pool: Pool, shop: Headers):
    await deliver(points_pool, purchase("1", "100.00"))
    made = await done(client, of("ann", "redemptions"), shop, {"points": 70, "reference": "r"})
    await done(client, f"/v1/redemptions/{made['id']}/cancel", shop)
    lines = (await get(client, of("ann", "points/transactions"), customer("ann")))["data"]
    assert [(line["kind"], line["points"], line["available_after"]) for line in lines] == [
        ("restored", 70, 100),
        ("redeemed", -70, 30),
        ("earned", 100, 100),
    ]
    shown = await get(client, f"/v1/points/transactions/{made['transaction_id']}", customer("ann"))
    [posting] = shown["postings"]
    assert (posting["source"], posting["target"], posting["points"]) == ("available", "redeemed", 70)
    assert UUID(posting["lot_id"])
    assert (shown["receipt_verified"], shown["receipt"]["rules"]) == (True, [])
