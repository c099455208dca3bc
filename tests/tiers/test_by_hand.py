"""Tiers given by hand, and the benefits of tiers, through the API on a real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import time_machine

from services.tiers.handlers.judging import MOST_INLINE
from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from tests.tiers.applied import apply, published
from tests.tiers.asking import asking, customer, get
from tests.tiers.given import replace_first
from tests.tiers.oracles.written import MEMBER, program, spend, tier
from tests.tiers.shop import day, purchase

GIFT = {"id": "gift", "kind": "gift", "name": {"en": "Gift", "ar": "هدية"}, "uses": {"count": 2, "per": "year"}}
SHIPPING = {"id": "shipping", "kind": "free_shipping", "name": {"en": "Free shipping"}}
OVER = {"id": "over", "kind": "other", "name": {"en": "Over"}, "to": "2026-03-05"}
SOON = {"id": "soon", "kind": "other", "name": {"en": "Soon"}, "from": "2026-12-01", "to": "2026-12-24T12:00:00+03:00"}
PROGRAM = program(
    MEMBER,
    tier("silver", spend("100"), points_multiplier="1.25", benefits=[SHIPPING, GIFT, OVER, SOON]),
    tier("gold", spend("300"), points_multiplier="1.5", benefits=[{**GIFT, "uses": {"count": 3, "per": "ever"}}]),
    period={"kind": "rolling_days", "days": 365},
    grace_days=30,
)
TODAY = day(10)
TIER = "/v1/customers/ann/tier"
USES = "/v1/customers/ann/benefits/gift/uses"


@pytest.fixture
async def client(tiers_pool: Pool, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A key that may read, give tiers and use benefits; the clock stands still."""
    await replace_first(tiers_pool, PROGRAM)
    with time_machine.travel(TODAY, tick=False):
        async with asking(tiers_pool, tmp_path, "read", "support", "redeem") as opened:
            yield opened


async def put(client: httpx.AsyncClient, status: int = 200, key: str | None = None, **body: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    response = await client.put(TIER, json=body, headers=headers)
    assert response.status_code == status, response.text
    return response.json()


async def told(pool: Pool) -> list[tuple[Any, ...]]:
    return [
        (event["type"].split(".")[2], event["data"]["from"], event["data"]["to"], event["data"]["reason"])
        for event in await published(pool)
        if event["type"] != "loyalty.tier.benefit_used.v1"
    ]


async def test_a_tier_given_by_hand_is_announced_now(client: httpx.AsyncClient, tiers_pool: Pool):
    answer = await client.put(TIER, json={"tier": "gold", "note": "goodwill"}, headers={"X-Request-Id": "call-1"})
    assert answer.status_code == 200
    assert answer.json() == await get(client, TIER)
    seen = answer.json()
    assert (seen["tier"], seen["since"], seen["valid_until"]) == ("gold", format_instant(TODAY), "2027-03-12T00:00:00Z")
    [event] = await published(tiers_pool)
    assert event["time"] == format_instant(TODAY)
    assert (event["causationid"], event["correlationid"]) == ("call-1", "call-1")
    assert event["data"]["timeline"] == [
        {"effective_at": format_instant(TODAY), "tier": "gold", "points_multiplier": "1.5"}
    ]
    assert await told(tiers_pool) == [("promoted", "member", "gold", "assigned")]


async def test_support_sees_who_gave_it_and_why_and_the_customer_does_not(client: httpx.AsyncClient):
    await put(client, tier="silver", note="a letter")
    [change] = (await get(client, f"{TIER}/history"))["data"]
    assert change["actor"].startswith("key:")
    assert (change["note"], change["reason"], change["valid_until"]) == ("a letter", "assigned", "2027-03-12T00:00:00Z")
    assert change["metrics"]["spend"] == "0.00"
    [own] = (await get(client, f"{TIER}/history", **customer("ann")))["data"]
    assert own == {name: value for name, value in change.items() if name not in {"actor", "note"}}


async def test_the_same_key_gives_it_once(client: httpx.AsyncClient, tiers_pool: Pool):
    first = await put(client, key="k", tier="gold", note="n")
    assert await put(client, key="k", tier="gold", note="n") == first
    await put(client, 422, key="k", tier="silver", note="n")
    assert len(await told(tiers_pool)) == 1
    with time_machine.travel(TODAY + timedelta(hours=1), tick=False):
        await put(client, tier="gold", note="n")
    assert [change[0] for change in await told(tiers_pool)] == ["promoted", "retained"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"tier": "platinum", "note": "n"}, "/tier"),
        ({"note": "n"}, "/tier"),
        ({"tier": "gold"}, "/note"),
        ({"tier": "gold", "note": "  "}, "/note"),
        ({"tier": "gold", "note": "n", "until": format_instant(TODAY)}, "/until"),
        ({"tier": "gold", "note": "n", "until": "2027-01-01"}, "/until"),
        ({"tier": "gold", "note": "n", "locked": True}, "/until"),
        ({"tier": "gold", "note": "n", "locked": True}, "/locked"),
        ({"tier": "gold", "note": "n", "ends": "2027-01-01T00:00:00Z"}, "/ends"),
    ],
)
async def test_a_wrong_request_is_refused_with_its_pointer(
    client: httpx.AsyncClient, tiers_pool: Pool, body: Any, pointer: str
):
    refused = await put(client, 422, **body)
    assert pointer in [error["pointer"] for error in refused["errors"]]
    assert await tiers_pool.fetchval("SELECT count(*) FROM customer") == 0


async def test_a_lock_holds_until_its_end(client: httpx.AsyncClient, tiers_pool: Pool):
    until = TODAY + timedelta(days=20)
    seen = await put(client, tier="silver", note="n", until=format_instant(until), locked=True)
    assert (seen["locked_until"], seen["valid_until"]) == (format_instant(until), format_instant(until))
    assert (seen["to_keep"]["by"], seen["to_keep"]["holds"]) == (format_instant(until), False)
    await apply(tiers_pool, purchase("1", "500.00", TODAY + timedelta(days=1)), now=TODAY + timedelta(days=1))
    with time_machine.travel(TODAY + timedelta(days=2), tick=False):
        assert (await get(client, TIER))["tier"] == "silver"
    with time_machine.travel(until, tick=False):
        assert (await get(client, TIER))["tier"] == "gold"


async def test_what_fell_due_is_told_before(client: httpx.AsyncClient, tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "150.00", day(0)), now=day(0))
    with time_machine.travel(day(400), tick=False):
        await put(client, tier="silver", note="n")
    assert await told(tiers_pool) == [
        ("promoted", "member", "silver", "spend"),
        ("demoted", "silver", "member", "grace_end"),
        ("promoted", "member", "silver", "assigned"),
    ]


async def test_before_something_dated_ahead_it_is_late(client: httpx.AsyncClient, tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "150.00", TODAY + timedelta(hours=5)), now=TODAY)
    seen = await put(client, tier="gold", note="n")
    assert (seen["tier"], seen["metrics"]["spend"]) == ("gold", "0.00")
    assert (await get(client, TIER))["tier"] == "gold"


async def test_a_customer_who_is_marked_is_judged_first(client: httpx.AsyncClient, tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "150.00", day(1)), now=day(1))
    await apply(tiers_pool, purchase("2", "200.00", day(3)), now=day(3))
    await tiers_pool.execute("UPDATE customer SET rejudge_from = '2026-03-01Z'")
    assert (await get(client, TIER))["tier"] == "gold"
    seen = await put(client, tier="silver", note="n")
    assert (seen["tier"], seen["metrics"]["spend"]) == ("silver", "350.00")
    assert await tiers_pool.fetchval("SELECT rejudge_from FROM customer") is None
    assert MOST_INLINE > 2


async def test_names_are_in_the_language_that_is_preferred(client: httpx.AsyncClient):
    await put(client, tier="silver", note="n")
    seen = await get(client, TIER, **{"Accept-Language": "ar-SA, en;q=0.5"})
    assert [own["name"] for own in seen["benefits"]] == ["Free shipping", "هدية"]
    listed = await get(client, "/v1/customers/ann/benefits", **{"Accept-Language": "ar;q=0.1"})
    assert listed == {"data": seen["benefits"]}


async def test_benefits_are_those_of_the_tier_in_their_windows(client: httpx.AsyncClient):
    assert await get(client, "/v1/customers/ann/benefits") == {"data": []}
    await put(client, tier="silver", note="n")
    gift = {"id": "gift", "kind": "gift", "name": "Gift", "left": 2}
    shipping = {"id": "shipping", "kind": "free_shipping", "name": "Free shipping"}
    assert await get(client, "/v1/customers/ann/benefits") == {"data": [shipping, gift]}
    with time_machine.travel("2026-12-01", tick=False):
        *_, soon = (await get(client, "/v1/customers/ann/benefits"))["data"]
    assert (soon["from"], soon["to"]) == ("2026-12-01T00:00:00Z", "2026-12-24T09:00:00Z")


async def use(client: httpx.AsyncClient, reference: str, path: str = USES) -> httpx.Response:
    return await client.post(path, json={"reference": reference})


async def test_a_benefit_is_used_as_often_as_it_can_be(client: httpx.AsyncClient, tiers_pool: Pool):
    await put(client, tier="silver", note="n")
    first = await use(client, "a")
    assert (first.status_code, first.json()) == (
        201,
        {"benefit": "gift", "reference": "a", "used_at": format_instant(TODAY), "left": 1},
    )
    assert (await use(client, "b")).json()["left"] == 0
    refused = await use(client, "c")
    assert (refused.status_code, refused.json()["code"]) == (409, "used_up")
    again = await use(client, "a")
    assert (again.status_code, again.json()) == (201, first.json())
    used = [event for event in await published(tiers_pool) if event["type"] == "loyalty.tier.benefit_used.v1"]
    assert [(event["data"]["reference"], event["data"]["left"]) for event in used] == [("a", 1), ("b", 0)]
    assert used[0]["time"] == format_instant(TODAY)
    with time_machine.travel("2027-01-01", tick=False):
        assert (await use(client, "c")).json()["left"] == 1


async def test_one_id_is_one_benefit_wherever_it_is_listed(client: httpx.AsyncClient):
    await put(client, tier="silver", note="n")
    await use(client, "a")
    await put(client, tier="gold", note="n")
    [gift] = (await get(client, "/v1/customers/ann/benefits"))["data"]
    assert gift["left"] == 2


@pytest.mark.parametrize("benefit", ["gift", "over", "nothing"])
async def test_who_does_not_have_a_benefit_cannot_use_it(client: httpx.AsyncClient, tiers_pool: Pool, benefit: str):
    if benefit != "gift":
        await put(client, tier="silver", note="n")
    refused = await use(client, "a", f"/v1/customers/ann/benefits/{benefit}/uses")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_entitled")
    assert await tiers_pool.fetchval("SELECT count(*) FROM benefit_use") == 0


async def test_the_first_answer_stays_when_the_tier_is_gone(client: httpx.AsyncClient):
    await put(client, tier="silver", note="n")
    first = (await use(client, "a")).json()
    await put(client, tier="member", note="n")
    assert (await use(client, "a")).json() == first
    assert (await use(client, "b")).json()["code"] == "not_entitled"


async def test_in_grace_benefits_go_on_and_what_falls_due_is_told(client: httpx.AsyncClient, tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "150.00", day(0)), now=day(0))
    with time_machine.travel(day(380), tick=False):
        assert (await use(client, "a")).status_code == 201
    with time_machine.travel(day(400), tick=False):
        assert (await use(client, "b")).json()["code"] == "not_entitled"
    assert await tiers_pool.fetchval("SELECT grace_until FROM customer") is not None


async def test_many_at_once_never_use_more_than_there_is(client: httpx.AsyncClient, tiers_pool: Pool):
    await put(client, tier="gold", note="n")
    answers = await asyncio.gather(*(use(client, f"r{number}") for number in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 5
    assert sorted(answer.json()["left"] for answer in answers if answer.is_success) == [0, 1, 2]
    assert await tiers_pool.fetchval("SELECT count(*) FROM benefit_use") == 3


async def test_the_summary_counts_customers_and_changes(client: httpx.AsyncClient, tiers_pool: Pool):
    bought = [("ann", "150.00"), ("bob", "350.00"), ("cy", "1.00")]
    for name, total in bought:
        await apply(tiers_pool, purchase(f"{name}-1", total, day(9), customer_id=name), now=day(9))
    await apply(tiers_pool, purchase("old", "150.00", day(-40), customer_id="dee"), now=day(-40))
    await put(client, tier="silver", note="n")
    assert await get(client, "/v1/tiers/summary") == {
        "tiers": [
            {"tier": "member", "customers": 1},
            {"tier": "silver", "customers": 2},
            {"tier": "gold", "customers": 1},
        ],
        "changes": {"promoted": 2, "demoted": 0, "retained": 1, "corrected": 0},
    }
    await tiers_pool.execute("UPDATE customer SET tier = 'tin' WHERE customer_id = 'bob'")
    assert {"tier": "tin", "customers": 1} in (await get(client, "/v1/tiers/summary"))["tiers"]
