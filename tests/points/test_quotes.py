"""Quotes over HTTP: what a cart would earn.

Planted and caught here: limits that are used up, but not in a quote; every customer quoted as a new one; a quote
for another customer.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.points.rules.program.values import WEEKDAYS
from shared.contracts.shop import Line, PurchaseCompleted
from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from tests.points.asking import BASE, at, enact, of, pointers, refusal
from tests.points.books import balances, deliver, transactions
from tests.points.conftest import Headers, Key, customer, get
from tests.points.shop import NOON, event, hour, purchase, tier
from tests.points.written import limit, weekdays

QUOTES = "/v1/points/quotes"
CART: Any = {"currency": "USD", "total": "100.00"}


def besides(name: str, points: int, **when: Any) -> dict[str, Any]:
    """A rule that gives points under one condition."""
    return {"id": name, "on": "purchase", "when": [when], "award": {"kind": "fixed", "points": points}}


COFFEE: Any = [
    BASE | {"limits": [{"points": 150, "per": "month", "scope": "customer"}]},
    besides("coffee", 1, kind="category_in", values=["coffee"]) | {"award": {"kind": "multiplier", "factor": "2.5"}},
    besides("third", 300, kind="every_nth_purchase", n=3),
    besides("web", 7, kind="channel_in", values=["web"]),
    besides("store", 8, kind="store_in", values=["17"]),
]


async def quote(client: httpx.AsyncClient, headers: Headers, cart: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(QUOTES, json=cart, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_cart_of_a_new_customer(client: httpx.AsyncClient, points_pool: Pool, reader: Headers):
    assert await quote(client, reader, CART) == {
        "points": 100,
        "receipt": {
            "rules_version": 1,
            "engine": 3,
            "rules": [{"rule": "base", "matched": True, "requested": 100, "awarded": 100}],
            "tier": {"multiplier": "1", "extra": 0},
        },
    }
    await enact(points_pool, BASE, BASE | {"id": "welcome", "when": [{"kind": "first_purchase"}]})
    assert (await quote(client, reader, CART))["points"] == 200


async def test_a_cart_of_a_customer(client: httpx.AsyncClient, points_pool: Pool, reader: Headers):
    await enact(points_pool, BASE, BASE | {"id": "welcome", "when": [{"kind": "first_purchase"}]})
    await deliver(points_pool, purchase("1", "10.00"), tier([(hour(1), "1.25")]))
    quoted = await quote(client, reader, CART | {"customer_id": "ann"})
    assert (quoted["points"], quoted["receipt"]["tier"]) == (125, {"multiplier": "1.25", "extra": 25})
    why = {line["rule"]: line.get("why") for line in quoted["receipt"]["rules"]}
    assert (why["base"], why["welcome"] is None) == (None, False)
    # A customer without a record is a new one.
    quoted = await quote(client, reader, CART | {"customer_id": "bob"})
    assert (quoted["points"], quoted["receipt"]["tier"]["multiplier"]) == (200, "1")


async def test_a_currency_without_a_rate_earns_nothing(client: httpx.AsyncClient, points_pool: Pool, reader: Headers):
    quoted = await quote(client, reader, CART | {"currency": "SAR"})
    assert (quoted["points"], quoted["receipt"]["rules"][0]["why"]) == (0, "no_rate")
    await enact(points_pool, rates={"SAR": "0.2667"})
    assert (await quote(client, reader, CART | {"currency": "SAR"}))["points"] == 26


async def test_a_quote_of_an_instant(client: httpx.AsyncClient, points_pool: Pool, reader: Headers):
    await enact(points_pool, BASE | {"award": {"kind": "fixed", "points": 5}}, since=NOON)
    await deliver(points_pool, tier([(hour(2), "2"), (hour(4), "3")]))
    for moment, points in {
        NOON - timedelta(days=3650): 100,
        NOON - timedelta.resolution: 100,
        NOON: 5,
        NOON + timedelta(days=36500): 5,
    }.items():
        assert (await quote(client, reader, CART | {"at": format_instant(moment)}))["points"] == points
    for moment, multiplier in {hour(2): "1", hour(2.1): "2", hour(4): "2", hour(9): "3"}.items():
        quoted = await quote(client, reader, CART | {"customer_id": "ann", "at": format_instant(moment)})
        assert quoted["receipt"]["tier"]["multiplier"] == multiplier
    with at(NOON - timedelta.resolution):
        assert (await quote(client, reader, CART))["points"] == 100
    with at(NOON):
        assert (await quote(client, reader, CART))["points"] == 5


async def test_days_are_those_of_the_programs_time_zone(client: httpx.AsyncClient, points_pool: Pool, reader: Headers):
    await enact(
        points_pool,
        *(BASE | {"id": name, "when": [{"kind": "weekday_in", "days": [name]}]} for name in WEEKDAYS),
        time_zone="Asia/Riyadh",
    )
    for moment, day in {"2026-03-05T20:59:59Z": "thu", "2026-03-05T21:00:00Z": "fri"}.items():
        quoted = await quote(client, reader, CART | {"at": moment})
        assert [line["rule"] for line in quoted["receipt"]["rules"] if line["awarded"]] == [day]


@pytest.mark.parametrize("ordinal", [1, 2, 3])
async def test_the_purchase_earns_what_was_quoted(
    client: httpx.AsyncClient, points_pool: Pool, reader: Headers, ordinal: int
):
    await enact(points_pool, *COFFEE)
    await deliver(points_pool, tier([(hour(-1), "1.25")]))
    await deliver(points_pool, *(purchase(str(number), "40.00") for number in range(1, ordinal)))
    lines: Any = [
        {"line_id": "a", "sku": "beans", "quantity": "1.5", "amount": "60.50", "category": "coffee"},
        {"line_id": "b", "sku": "cup", "quantity": 1, "amount": "39.50"},
    ]
    more = {"lines": lines, "channel": "web", "store_id": "17", "coupon_codes": ["SPRING"]}
    before = await transactions(points_pool)
    quoted = await quote(client, reader, CART | more | {"customer_id": "ann", "at": format_instant(hour(1))})
    # Nothing was written, so a second quote is the same.
    assert await transactions(points_pool) == before
    assert await quote(client, reader, CART | more | {"customer_id": "ann", "at": format_instant(hour(1))}) == quoted
    parts = [
        Line(line["line_id"], line["sku"], line["quantity"], line["amount"], line.get("category")) for line in lines
    ]
    bought = PurchaseCompleted(
        **CART | more | {"lines": tuple(parts), "coupon_codes": ("SPRING",)}, customer_id="ann", order_id="9"
    )
    await deliver(points_pool, event("shop.purchase.completed.v1", hour(1), bought))
    [line] = (await get(client, of("ann", "points/transactions"), reader, order_id="9"))["data"]
    assert quoted["points"] == line["points"] > 100
    made = await get(client, f"/v1/points/transactions/{line['id']}", reader)
    assert made["receipt"] == quoted["receipt"]
    limited = {line["rule"]: line for line in quoted["receipt"]["rules"]}["base"]
    assert (limited["awarded"], "limit" in limited) == ((100, False) if ordinal < 3 else (70, True))


async def test_a_quote_writes_nothing(client: httpx.AsyncClient, points_pool: Pool, reader: Headers):
    await enact(points_pool, *COFFEE)
    for headers in (reader, reader | {"Idempotency-Key": "once"}, customer("ann")):
        await quote(client, headers, CART | {"customer_id": "ann"})
    for table in ("account", "transaction", "limit_use", "purchase", "outbox", "idempotency_key"):
        assert await points_pool.fetchval(f"SELECT count(*) FROM {table}") == 0
    assert await balances(points_pool) == await balances(points_pool, "nobody")


async def test_who_may_ask_for_a_quote(client: httpx.AsyncClient, points_pool: Pool, key: Key):
    await deliver(points_pool, tier([(hour(0), "2")]), tier([(hour(0), "3")], customer_id="bob"))
    of_ann = CART | {"customer_id": "ann"}
    for headers, status in (
        ({}, 401),
        (customer("ann"), 200),
        (key("read"), 200),
        (key("admin"), 200),
        *((key(scope), 403) for scope in ("redeem", "support", "marketing")),
    ):
        assert (await client.post(QUOTES, json=of_ann, headers=headers)).status_code == status
    assert (await quote(client, customer("ann"), of_ann))["points"] == 200
    # The token names the customer.
    assert (await quote(client, customer("ann"), CART))["points"] == 200
    for other in ("bob", "nobody"):
        answer = await client.post(QUOTES, json=CART | {"customer_id": other}, headers=customer("ann"))
        assert refusal(answer) == (404, "not_found")


@pytest.mark.parametrize("zone", ["Asia/Riyadh", "America/New_York"])
async def test_a_quote_at_the_ends_of_the_calendar(
    client: httpx.AsyncClient, points_pool: Pool, reader: Headers, zone: str
):
    weekly = {"limits": [limit("week", points=150)], "when": [weekdays(*WEEKDAYS)]}
    await enact(points_pool, BASE | weekly, time_zone=zone)
    for moment in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        assert (await quote(client, reader, CART | {"at": moment}))["points"] == 100
    await deliver(points_pool, purchase("1", "100.00", datetime.min.replace(tzinfo=UTC)))
    assert (await balances(points_pool)).available == 100


async def test_an_invalid_idempotency_key_is_refused(client: httpx.AsyncClient, reader: Headers):
    answer = await client.post(QUOTES, json=CART, headers=reader | {"Idempotency-Key": "k" * 256})
    assert refusal(answer) == (400, "idempotency_key_invalid")


LINE: Any = {"line_id": "a", "sku": "s", "quantity": 1, "amount": "100.00"}


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"total": "100.00001"}, "/total"),
        ({"total": "-1.00"}, "/total"),
        ({"total": 100}, "/total"),
        ({"total": None}, "/total"),
        ({"currency": "usd"}, "/currency"),
        ({"customer_id": ""}, "/customer_id"),
        ({"customer_id": "/"}, "/customer_id"),
        ({"at": "tomorrow"}, "/at"),
        ({"at": "2026-03-01T00:00:00"}, "/at"),
        ({"lines": [LINE | {"amount": "99.99"}]}, "/lines"),
        ({"lines": [LINE, LINE | {"amount": "0.00"}]}, "/lines"),
        ({"lines": [LINE | {"quantity": {}}]}, "/lines/0/quantity"),
        ({"lines": [LINE | {"amount": 100}]}, "/lines/0/amount"),
        ({"lines": [{"line_id": "a", "sku": "s", "quantity": 1}]}, "/lines/0/amount"),
    ],
)
async def test_a_bad_cart_is_refused_where_it_is_wrong(
    client: httpx.AsyncClient, reader: Headers, fields: dict[str, Any], pointer: str
):
    assert pointers(await client.post(QUOTES, json=CART | fields, headers=reader))[0] == pointer
