"""Reading balances, statements and receipts over HTTP.

Planted and caught here: another customer's transaction shown; `as_of` by the business time.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from tests.points.books import NOW, adjust, deliver
from tests.points.conftest import Headers, Key, customer, get
from tests.points.shop import hour, purchase, referral, refund, review, tier, withdrawal


async def test_a_balance_is_current(client: httpx.AsyncClient, points_pool: Pool, reader: Headers):
    await deliver(points_pool, tier([(hour(-1), "1.25")]), purchase("1", "100.00"), refund("1", "r", "20.00"))
    await adjust(points_pool, "ann", -30)
    shown = await get(client, "/v1/customers/ann/points", customer("ann"))
    assert datetime.now(UTC) - datetime.fromisoformat(shown.pop("as_of")) < timedelta(minutes=1)
    assert shown == {
        "customer_id": "ann",
        "available": 70,
        "pending": 0,
        "held": 0,
        "debt": 0,
        "lifetime_earned": 100,
        "lifetime_redeemed": 0,
    }
    await deliver(points_pool, refund("1", "s", "80.00"))
    shown = await get(client, "/v1/customers/ann/points", reader)
    assert (shown["available"], shown["debt"], shown["lifetime_earned"]) == (0, 30, 0)


async def test_a_balance_as_of_the_past_is_what_was_recorded_by_then(
    client: httpx.AsyncClient, points_pool: Pool, reader: Headers
):
    await deliver(points_pool, purchase("1", "100.00", hour(0)), now=NOW)
    await deliver(points_pool, purchase("2", "50.00", hour(-5)), now=NOW + timedelta(days=2))
    for moment, available in {
        hour(1): 0,
        NOW - timedelta(microseconds=1): 0,
        NOW: 100,
        NOW + timedelta(days=1): 100,
        NOW + timedelta(days=2): 150,
    }.items():
        shown = await get(client, "/v1/customers/ann/points", reader, as_of=moment.isoformat())
        assert (shown["available"], shown["lifetime_earned"]) == (available, available)
        assert shown["as_of"] == format_instant(moment)


@pytest.mark.parametrize("moment", ["yesterday", "2026-01-01T00:00:00", "2026-02-30T00:00:00Z", "1767225600", ""])
async def test_an_instant_must_be_of_rfc_3339(client: httpx.AsyncClient, reader: Headers, moment: str):
    answer = await client.get("/v1/customers/ann/points", params={"as_of": moment}, headers=reader)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/query/as_of")


@pytest.mark.parametrize("query", [{}, {"as_of": "2026-01-01T00:00:00Z"}])
async def test_an_unknown_customer_has_zeros(client: httpx.AsyncClient, reader: Headers, query: dict[str, str]):
    shown = await get(client, "/v1/customers/nobody/points", reader, **query)
    assert {value for name, value in shown.items() if name not in {"customer_id", "as_of"}} == {0}
    assert await get(client, "/v1/customers/nobody/points/transactions", reader) == {"data": [], "next": None}


@pytest.mark.parametrize("name", ["عميل ١", "a b?c#d&e", "100%", "%2F", "zoë", "...", "😀" * 128])
async def test_an_id_of_any_script_works_percent_encoded(client: httpx.AsyncClient, points_pool: Pool, name: str):
    await deliver(points_pool, purchase(name, "12.00", customer_id=name))
    path = f"/v1/customers/{quote(name, safe='')}/points"
    assert (await get(client, path, customer(name)))["customer_id"] == name
    [line] = (await get(client, f"{path}/transactions", customer(name), order_id=name))["data"]
    assert (line["points"], line["reason"]["order_id"]) == (12, name)


async def test_a_statement_lists_transactions_newest_first(
    client: httpx.AsyncClient, points_pool: Pool, reader: Headers
):
    await deliver(points_pool, refund("1", "r", "30.00", hour(2)), purchase("1", "100.00", hour(1)))
    await adjust(points_pool, "ann", -5)
    shown = await get(client, "/v1/customers/ann/points/transactions", reader)
    assert shown["next"] is None
    assert [(line["kind"], line["points"], line["available_after"]) for line in shown["data"]] == [
        ("adjusted", -5, 65),
        ("reversed", -30, 70),
        ("earned", 100, 100),
    ]
    assert shown["data"][1] | {"id": ""} == {
        "id": "",
        "kind": "reversed",
        "points": -30,
        "available_after": 70,
        "occurred_at": format_instant(hour(2)),
        "recorded_at": format_instant(NOW),
        "reason": {"kind": "refund", "order_id": "1", "refund_id": "r"},
    }


async def test_a_statement_comes_in_pages(client: httpx.AsyncClient, points_pool: Pool, reader: Headers):
    await deliver(points_pool, *(purchase(str(number), f"{number}.00") for number in range(1, 8)))
    seen: list[int] = []
    query: dict[str, Any] = {"limit": 3}
    for size in (3, 3, 1):
        shown = await get(client, "/v1/customers/ann/points/transactions", reader, **query)
        assert len(shown["data"]) == size
        seen += [line["points"] for line in shown["data"]]
        # New lines do not shift the pages.
        await deliver(points_pool, purchase(f"new-{size}-{len(seen)}", "1000.00"))
        query["after"] = shown["next"]
    assert (seen, shown["next"]) == ([7, 6, 5, 4, 3, 2, 1], None)


async def test_a_statement_is_filtered_by_order_and_kind(client: httpx.AsyncClient, points_pool: Pool, reader: Headers):
    await deliver(
        points_pool, *(purchase(name, "100.00", hour(1)) for name in "123"), purchase("1", "7", customer_id="bob")
    )
    await deliver(points_pool, refund("2", "r", "10.00"), review("v", "s"), tier([(hour(0), "2")]))

    async def lines(**query: Any) -> list[tuple[str, int]]:
        shown = await get(client, "/v1/customers/ann/points/transactions", reader, **query)
        return [(line["reason"].get("order_id", ""), line["points"]) for line in shown["data"]]

    assert await lines(order_id="2") == [("2", 90), ("2", -10), ("2", 100)]
    assert await lines(order_id="1") == [("1", 100), ("1", 100)]
    assert await lines(order_id="2", kind="reversed") == [("2", -10)]
    assert await lines(order_id="2", limit=1) == [("2", 90)]
    assert await lines(kind="reversed") == [("2", -10)]
    assert await lines(order_id="unknown") == await lines(kind="expired") == []
    assert len(await lines(kind="earned")) == 7
    for query in ({"kind": "stolen"}, {"order_id": "a/b"}, {"limit": 0}, {"limit": 201}, {"after": "x"}):
        answer = await client.get("/v1/customers/ann/points/transactions", params=query, headers=reader)
        assert answer.status_code in {400, 422}


async def test_a_transaction_shows_its_postings_and_a_verified_receipt(
    client: httpx.AsyncClient, points_pool: Pool, reader: Headers
):
    await deliver(points_pool, tier([(hour(-1), "1.25")]), purchase("1", "100.00"), refund("1", "r", "30.50"))
    newest, oldest = (await get(client, "/v1/customers/ann/points/transactions", reader))["data"]
    shown = await get(client, f"/v1/points/transactions/{newest['id']}", reader)
    assert {name: shown[name] for name in newest} == newest
    assert shown["customer_id"] == "ann"
    assert shown["receipt"] == {
        "rules_version": 1,
        "engine": 3,
        "rules": [{"rule": "base", "matched": True, "requested": 69, "awarded": 69}],
        "tier": {"multiplier": "1.25", "extra": 17},
        "refund": {"asked": "30.50", "taken": "30.50"},
    }
    assert [(posting["source"], posting["target"], posting["points"]) for posting in shown["postings"]] == [
        ("available", "reversed", 31),
        ("available", "reversed", 8),
    ]
    shown = await get(client, f"/v1/points/transactions/{oldest['id']}", customer("ann"))
    assert sum(posting["points"] for posting in shown["postings"]) == 125
    assert "refund" not in shown["receipt"]


async def test_every_receipt_is_verified(client: httpx.AsyncClient, points_pool: Pool, reader: Headers):
    facts = [purchase("1", "100.00", hour(1)), refund("1", "r", "1.50"), purchase("2", "5.00", currency="EUR")]
    rest = [review("v", "s"), review("w", "s"), withdrawal("v"), referral("approved", "f"), referral("voided", "f")]
    for event in (*facts, *rest, tier([(hour(0), "1.5")]), refund("1", "q", "2.50")):
        await deliver(points_pool, event)
    await adjust(points_pool, "ann", 9)
    lines = (await get(client, "/v1/customers/ann/points/transactions", reader))["data"]
    assert {line["reason"]["kind"] for line in lines} == {
        *("purchase", "refund", "tier", "review", "review_withdrawn", "referral", "referral_voided", "adjustment")
    }
    for line in lines:
        shown = await get(client, f"/v1/points/transactions/{line['id']}", reader)
        assert shown["receipt_verified"], line
        assert len(shown["receipt_digest"]) == 64
    await points_pool.execute("UPDATE refund SET amount = '50.00' WHERE refund_id = 'r'")
    [tampered] = [line for line in lines if line["reason"].get("refund_id") == "r"]
    assert not (await get(client, f"/v1/points/transactions/{tampered['id']}", reader))["receipt_verified"]


async def test_the_trial_balance_is_0(client: httpx.AsyncClient, points_pool: Pool, reader: Headers):
    assert (await get(client, "/v1/points/trial-balance", reader))["balanced"]
    await deliver(points_pool, purchase("1", "100.00"), refund("1", "r", "30.00"))
    await adjust(points_pool, "ann", -60)
    await deliver(points_pool, refund("1", "s", "30.00"))
    assert await get(client, "/v1/points/trial-balance", reader) == {
        "accounts": {
            "available": 0,
            "pending": 0,
            "held": 0,
            "debt": -20,
            "adjusted": 60,
            "issued": -100,
            "reversed": 60,
        },
        "balanced": True,
    }
    await points_pool.execute("UPDATE account SET debt = debt + 1")
    assert not (await get(client, "/v1/points/trial-balance", reader))["balanced"]


async def test_who_may_read(client: httpx.AsyncClient, points_pool: Pool, key: Key):
    await deliver(points_pool, purchase("1", "100.00"))
    [line] = (await get(client, "/v1/customers/ann/points/transactions", customer("ann")))["data"]
    own = ("/v1/customers/ann/points", "/v1/customers/ann/points/transactions", f"/v1/points/transactions/{line['id']}")
    for path in own:
        statuses = [
            (await client.get(path, headers=headers)).status_code
            for headers in ({}, customer("ann"), customer("bob"), key("support"), key("read"), key("admin"))
        ]
        assert statuses == [401, 200, 404, 403, 200, 200]
    hidden = await client.get(own[2], headers=customer("bob"))
    unknown = await client.get(f"/v1/points/transactions/{uuid4()}", headers=customer("bob"))
    assert {**hidden.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}
    for headers, status in ((customer("ann"), 403), (key("support"), 403), (key("read"), 200)):
        assert (await client.get("/v1/points/trial-balance", headers=headers)).status_code == status
