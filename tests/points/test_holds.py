"""Holds over HTTP: points are reserved, then taken in whole or in part, or given back.

Planted and caught here: a hold that never expires, or that has no due date; the rest of a capture that is
lost; a capture of more than is held.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from services.points.handlers import day
from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from tests.points.asking import BASE, at, done, enact, lots, of, post, refusal
from tests.points.books import Balances, balances, check_books, deliver, published, transactions
from tests.points.conftest import Headers, Key, customer, get
from tests.points.shop import hour, purchase, refund

APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MONTH = BASE | {"expire": {"kind": "after_days", "days": 30}}
"""Points of a purchase on 1 March expire at the end of 31 March."""


async def hold(client: httpx.AsyncClient, shop: Headers, points: int, seconds: int = 3600) -> dict[str, Any]:
    """A new hold of ann's."""
    body = {"points": points, "reference": str(uuid4()), "expires_in_seconds": seconds}
    return await done(client, of("ann", "holds"), shop, body)


async def test_points_are_reserved(client: httpx.AsyncClient, points_pool: Pool, shop: Headers):
    await deliver(points_pool, purchase("1", "100.00"))
    body = {"points": 70, "reference": "cart-1", "expires_in_seconds": 900}
    with at(hour(1)):
        answer = await post(client, of("ann", "holds"), shop, body)
        assert (answer.status_code, answer.json()) == (
            201,
            {
                "id": answer.json()["id"],
                "customer_id": "ann",
                "reference": "cart-1",
                "state": "held",
                "points": 70,
                "captured": 0,
                "expires_at": format_instant(hour(1.25)),
                "created_at": format_instant(hour(1)),
            },
        )
        shown = await get(client, of("ann", "points"), customer("ann"))
        assert (shown["available"], shown["held"], shown["lifetime_redeemed"]) == (30, 70, 0)
        # Held points cannot be redeemed.
        for what, fields in (("holds", {"expires_in_seconds": 1}), ("redemptions", {})):
            answer = await post(client, of("ann", what), shop, {"points": 31, "reference": "r"} | fields)
            assert (*refusal(answer), answer.json()["missing"]) == (409, "insufficient_points", 1)
    await check_books(points_pool)


async def test_a_hold_is_captured(client: httpx.AsyncClient, points_pool: Pool, shop: Headers):
    await deliver(points_pool, purchase("1", "100.00"))
    held = await hold(client, shop, 70)
    taken = await done(client, f"/v1/holds/{held['id']}/capture", shop)
    assert taken == held | {"state": "captured", "captured": 70, "redemption_id": taken["redemption_id"]}
    assert await balances(points_pool) == Balances(available=30, lifetime_earned=100, lifetime_redeemed=70)
    event = (await published(points_pool))[-1]
    assert (event["type"], event["data"]["points"]) == ("loyalty.points.redeemed.v1", 70)
    assert event["data"]["reason"] == {
        "kind": "hold",
        "hold_id": held["id"],
        "redemption_id": taken["redemption_id"],
    }
    assert event["data"]["qualifying_points"] == 0
    # From then on it is a redemption.
    cancelled = await done(client, f"/v1/redemptions/{taken['redemption_id']}/cancel", shop)
    assert (cancelled["hold_id"], cancelled["points"], cancelled["state"]) == (held["id"], 70, "cancelled")
    assert await balances(points_pool) == Balances(available=100, lifetime_earned=100)
    await check_books(points_pool)


async def test_a_part_is_captured_and_the_rest_released(client: httpx.AsyncClient, points_pool: Pool, shop: Headers):
    await enact(points_pool, MONTH)
    await deliver(points_pool, purchase("1", "40.00", hour(0)), purchase("2", "40.00", hour(24)), now=hour(24))
    with at(hour(25)):
        held = await hold(client, shop, 70)
        assert await lots(points_pool) == [("order/2", 10, APRIL + timedelta(days=1))]
        taken = await done(client, f"/v1/holds/{held['id']}/capture", shop, {"points": 25})
        assert (taken["state"], taken["captured"], taken["points"]) == ("captured", 25, 70)
        # The points that expire soonest are taken; the rest keeps its dates.
        assert await lots(points_pool) == [("order/1", 15, APRIL), ("order/2", 40, APRIL + timedelta(days=1))]
    assert await balances(points_pool, now=hour(25)) == Balances(available=55, lifetime_earned=80, lifetime_redeemed=25)
    assert [(row["kind"], row["points"]) for row in await transactions(points_pool)][2:] == [
        ("held", -70),
        ("redeemed", -25),
        ("released", 45),
    ]
    await check_books(points_pool)


async def test_a_hold_is_released(client: httpx.AsyncClient, points_pool: Pool, shop: Headers):
    await deliver(points_pool, purchase("1", "100.00"))
    held = await hold(client, shop, 70)
    for _ in range(2):
        assert await done(client, f"/v1/holds/{held['id']}/release", shop) == held | {"state": "released"}
    assert await balances(points_pool) == Balances(available=100, lifetime_earned=100)
    assert [row["kind"] for row in await transactions(points_pool)] == ["earned", "held", "released"]
    # Nothing is published: to the other services, held points are the customer's.
    assert len(await published(points_pool)) == 1
    await check_books(points_pool)


async def test_a_closed_hold_stays_closed(client: httpx.AsyncClient, points_pool: Pool, shop: Headers):
    await deliver(points_pool, purchase("1", "100.00"))
    with at(hour(0)):
        [captured, released, expired] = [await hold(client, shop, 10) for _ in range(3)]
        await done(client, f"/v1/holds/{captured['id']}/capture", shop, {"points": 1})
        await done(client, f"/v1/holds/{released['id']}/release", shop)
    with at(hour(2)):
        for made, state in ((captured, "captured"), (released, "released"), (expired, "expired")):
            answer = await post(client, f"/v1/holds/{made['id']}/capture", shop)
            assert (*refusal(answer), answer.json()["state"]) == (409, "hold_not_open", state)
        answer = await post(client, f"/v1/holds/{captured['id']}/release", shop)
        assert refusal(answer) == (409, "hold_not_open")
        for made, state in ((released, "released"), (expired, "expired")):
            assert (await done(client, f"/v1/holds/{made['id']}/release", shop))["state"] == state
        assert (await balances(points_pool, now=hour(2))).available == 99
    await check_books(points_pool)


async def test_capturing_more_than_is_held_is_refused(client: httpx.AsyncClient, points_pool: Pool, shop: Headers):
    await deliver(points_pool, purchase("1", "100.00"))
    path = f"/v1/holds/{(await hold(client, shop, 10))['id']}/capture"
    assert refusal(await post(client, path, shop, {"points": 11})) == (409, "exceeds_hold")
    for body in ({"points": 0}, {"points": -1}, {"points": "5"}, {"point": 5}, [], "all"):
        assert refusal(await post(client, path, shop, body)) == (422, "invalid_request")
    assert (await balances(points_pool)).held == 10
    assert (await done(client, path, shop, {"points": None}))["captured"] == 10
    for action in ("capture", "release"):
        assert refusal(await post(client, f"/v1/holds/{uuid4()}/{action}", shop)) == (404, "not_found")
        assert refusal(await post(client, f"/v1/holds/nonsense/{action}", shop)) == (422, "invalid_request")


async def test_a_hold_expires_to_the_second(client: httpx.AsyncClient, points_pool: Pool, shop: Headers):
    await deliver(points_pool, purchase("1", "100.00"), now=hour(0))
    with at(hour(0)):
        held = await hold(client, shop, 70, 1)
        await hold(client, shop, 5, 2)
    end = hour(0) + timedelta(seconds=1)
    before = Balances(available=25, held=75, lifetime_earned=100)
    after = Balances(available=95, held=5, lifetime_earned=100)
    assert await balances(points_pool, now=end - timedelta.resolution) == before
    assert await balances(points_pool, now=end) == after
    # A read writes nothing; the next write releases them, as of their second.
    assert [row["kind"] for row in await transactions(points_pool)] == ["earned", "held", "held"]
    with at(end):
        assert refusal(await post(client, f"/v1/holds/{held['id']}/capture", shop)) == (409, "hold_not_open")
        await done(client, of("ann", "redemptions"), shop, {"points": 95, "reference": "r"})
    [*_, released, redeemed] = await transactions(points_pool)
    assert (released["kind"], released["occurred_at"], released["recorded_at"]) == ("released", end, end)
    assert (redeemed["kind"], redeemed["available_after"], redeemed["held_after"]) == ("redeemed", 0, 5)
    await check_books(points_pool)


async def test_the_sweep_releases_expired_holds(client: httpx.AsyncClient, points_pool: Pool, shop: Headers):
    await deliver(points_pool, purchase("1", "100.00"), now=hour(0))
    with at(hour(0)):
        held = await hold(client, shop, 70, 1)
    await day.sweep(points_pool, hour(5))
    await day.sweep(points_pool, hour(5))
    [*_, released] = await transactions(points_pool)
    assert (released["kind"], released["recorded_at"]) == ("released", hour(0) + timedelta(seconds=1))
    assert await points_pool.fetchval("SELECT state FROM hold") == "expired"
    with at(hour(5)):
        assert refusal(await post(client, f"/v1/holds/{held['id']}/capture", shop))[1] == "hold_not_open"
    await check_books(points_pool)


async def test_a_reference_of_a_hold_is_used_once(client: httpx.AsyncClient, points_pool: Pool, shop: Headers):
    await deliver(points_pool, purchase("1", "100.00"), purchase("2", "100.00", customer_id="bob"))
    body = {"points": 60, "reference": "cart-1", "expires_in_seconds": 60}
    with at(hour(0)):
        answers = await asyncio.gather(*(post(client, of("ann", "holds"), shop, body) for _ in range(4)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.text for answer in answers}) == 1
        answer = await post(client, of("ann", "holds"), shop, body | {"points": 61})
        assert refusal(answer) == (409, "reference_conflict")
        # Separate from references of redemptions and of other customers.
        await done(client, of("ann", "redemptions"), shop, {"points": 30, "reference": "cart-1"})
        await done(client, of("bob", "holds"), shop, body | {"points": 61})
    assert await balances(points_pool, now=hour(0)) == Balances(
        available=10, held=60, lifetime_earned=100, lifetime_redeemed=30
    )
    # The hold expired: its reference is used up.
    with at(hour(1)):
        answer = await post(client, of("ann", "holds"), shop, body)
        assert refusal(answer) == (409, "reference_used")
        assert answer.json()["hold"] == answers[0].json() | {"state": "expired"}
    assert (await balances(points_pool, now=hour(1))).held == 0
    await check_books(points_pool)


@pytest.mark.parametrize("points", [60, 61])
async def test_the_reference_of_a_released_hold_is_refused(
    client: httpx.AsyncClient, points_pool: Pool, shop: Headers, points: int
):
    await deliver(points_pool, purchase("1", "100.00"))
    body = {"points": 60, "reference": "cart-1", "expires_in_seconds": 10**6}
    made = await done(client, of("ann", "holds"), shop, body)
    released = await done(client, f"/v1/holds/{made['id']}/release", shop)
    answer = await post(client, of("ann", "holds"), shop, body | {"points": points})
    assert refusal(answer) == (409, "reference_used")
    assert answer.json()["hold"] == released
    assert (await balances(points_pool)).held == 0


async def test_the_reference_of_a_captured_hold_stands_until_its_redemption_is_cancelled(
    client: httpx.AsyncClient, points_pool: Pool, shop: Headers
):
    await deliver(points_pool, purchase("1", "100.00"))
    body = {"points": 60, "reference": "cart-1", "expires_in_seconds": 10**6}
    made = await done(client, of("ann", "holds"), shop, body)
    captured = await done(client, f"/v1/holds/{made['id']}/capture", shop)
    assert await done(client, of("ann", "holds"), shop, body) == captured
    await done(client, f"/v1/redemptions/{captured['redemption_id']}/cancel", shop)
    answer = await post(client, of("ann", "holds"), shop, body)
    assert (refusal(answer), answer.json()["hold"]) == ((409, "reference_used"), captured)
    assert await balances(points_pool) == Balances(available=100, lifetime_earned=100)


async def test_a_refund_while_points_are_held_makes_debt_that_the_release_pays(
    client: httpx.AsyncClient, points_pool: Pool, shop: Headers
):
    await deliver(points_pool, purchase("1", "100.00"))
    held = await hold(client, shop, 90, 10**6)
    await deliver(points_pool, refund("1", "r", "60.00"))
    assert await balances(points_pool) == Balances(held=90, debt=50, lifetime_earned=40)
    # The captured points were promised; only the rest pays.
    other = await done(client, f"/v1/holds/{held['id']}/capture", shop, {"points": 30})
    assert other["captured"] == 30
    assert await balances(points_pool) == Balances(available=10, lifetime_earned=40, lifetime_redeemed=30)
    await check_books(points_pool)


async def test_a_release_pays_a_part_of_the_debt(client: httpx.AsyncClient, points_pool: Pool, shop: Headers):
    await deliver(points_pool, purchase("1", "100.00"))
    await done(client, of("ann", "redemptions"), shop, {"points": 50, "reference": "r"})
    held = await hold(client, shop, 50, 10**6)
    await deliver(points_pool, refund("1", "r", "80.00"))
    assert await balances(points_pool) == Balances(held=50, debt=80, lifetime_earned=20, lifetime_redeemed=50)
    await done(client, f"/v1/holds/{held['id']}/release", shop)
    assert await balances(points_pool) == Balances(debt=30, lifetime_earned=20, lifetime_redeemed=50)
    await check_books(points_pool)


@pytest.mark.parametrize("how", ["release", "capture", "time"])
async def test_held_points_do_not_expire_until_they_are_released(
    client: httpx.AsyncClient, points_pool: Pool, shop: Headers, how: str
):
    await enact(points_pool, MONTH)
    await deliver(points_pool, purchase("1", "40.00", hour(0)), now=hour(0))
    late = APRIL + timedelta(days=5)
    with at(hour(0)):
        held = await hold(client, shop, 30, int((late - hour(0)).total_seconds()) + (how != "time"))
    assert await balances(points_pool, now=APRIL - timedelta.resolution) == Balances(
        available=10, held=30, lifetime_earned=40
    )
    assert await balances(points_pool, now=APRIL) == Balances(held=30, lifetime_earned=40)
    await day.sweep(points_pool, APRIL)
    with at(late):
        body = {"points": 20} if how == "capture" else None
        if how != "time":
            await done(client, f"/v1/holds/{held['id']}/{how}", shop, body)
        shown = await get(client, of("ann", "points"), customer("ann"))
    taken = 20 if how == "capture" else 0
    assert (shown["available"], shown["held"], shown["lifetime_redeemed"]) == (0, 0, taken)
    await day.sweep(points_pool, late)
    rows = await transactions(points_pool)
    expired = [(row["points"], row["occurred_at"], row["recorded_at"]) for row in rows if row["kind"] == "expired"]
    assert expired == [(-10, APRIL, APRIL), (taken - 30, late, late)]
    await check_books(points_pool)


async def test_a_hold_needs_an_idempotency_key_and_counts_once(
    client: httpx.AsyncClient, points_pool: Pool, shop: Headers
):
    await deliver(points_pool, purchase("1", "100.00"))
    path, body = of("ann", "holds"), {"points": 60, "reference": "r", "expires_in_seconds": 10**6}
    assert refusal(await client.post(path, json=body, headers=shop)) == (400, "idempotency_key_required")
    made = await post(client, path, shop, body, name="once")
    assert (await post(client, path, shop, body, name="once")).headers["Idempotency-Replayed"] == "true"
    for action in ("capture", "release"):
        path = f"/v1/holds/{made.json()['id']}/{action}"
        assert refusal(await client.post(path, headers=shop)) == (400, "idempotency_key_required")
    path = f"/v1/holds/{made.json()['id']}/capture"
    first = await post(client, path, shop, {"points": 10}, name="take")
    again = await post(client, path, shop, {"points": 10}, name="take")
    assert (again.status_code, again.text, again.headers["Idempotency-Replayed"]) == (200, first.text, "true")
    assert refusal(await post(client, path, shop, {"points": 11}, name="take")) == (422, "idempotency_key_reused")
    assert (await balances(points_pool)).available == 90


async def test_concurrent_requests_close_a_hold_once(client: httpx.AsyncClient, points_pool: Pool, shop: Headers):
    await deliver(points_pool, purchase("1", "100.00"))
    held = await hold(client, shop, 60)
    answers = await asyncio.gather(
        *(post(client, f"/v1/holds/{held['id']}/{action}", shop) for action in ("capture", "release") * 4)
    )
    shown = await balances(points_pool)
    if shown.lifetime_redeemed:
        assert [answer.status_code for answer in answers].count(200) == 1
        assert shown == Balances(available=40, lifetime_earned=100, lifetime_redeemed=60)
    else:
        assert [answer.status_code for answer in answers].count(200) == 4
        assert shown == Balances(available=100, lifetime_earned=100)
    await check_books(points_pool)


async def test_who_may_hold(client: httpx.AsyncClient, points_pool: Pool, key: Key):
    await deliver(points_pool, purchase("1", "100.00"))
    who = {
        "nobody": ({}, 401, 401),
        "ann": (customer("ann"), 403, 403),
        "bob": (customer("bob"), 404, 403),
        **{scope: (key(scope), 403, 403) for scope in ("read", "support", "marketing")},
        **{scope: (key(scope), 201, 200) for scope in ("redeem", "admin")},
    }
    held = await hold(client, key("redeem"), 5)
    for name, (headers, holds, closes) in who.items():
        body = {"points": 5, "reference": name, "expires_in_seconds": 60}
        assert (await post(client, of("ann", "holds"), headers, body)).status_code == holds, name
        assert (await post(client, f"/v1/holds/{held['id']}/release", headers)).status_code == closes, name


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"points": 0}, "/points"),
        ({"points": 1.5}, "/points"),
        ({"points": None}, "/points"),
        ({"reference": ""}, "/reference"),
        ({"reference": "x" * 129}, "/reference"),
        ({"expires_in_seconds": 0}, "/expires_in_seconds"),
        ({"expires_in_seconds": "60"}, "/expires_in_seconds"),
        ({"expires_in_seconds": 10**9}, "/expires_in_seconds"),
    ],
)
async def test_a_bad_hold_is_422(
    client: httpx.AsyncClient, points_pool: Pool, shop: Headers, fields: dict[str, Any], pointer: str
):
    body = {"points": 5, "reference": "r", "expires_in_seconds": 60} | fields
    answer = await post(client, of("ann", "holds"), shop, body)
    assert refusal(answer) == (422, "invalid_request")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert await points_pool.fetchval("SELECT count(*) FROM account") == 0
