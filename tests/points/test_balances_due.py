"""Matured points in balances and statements before the sweep.

Planted and caught here: a balance of yesterday without what fell due by then; pending points with an
expiry; an activation that the statement of its order leaves out.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.points.handlers import day
from shared.contracts.shop import PurchaseDelivered
from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from tests.points.asking import BASE, at, done, enact, of
from tests.points.books import check_books, deliver, transactions
from tests.points.conftest import Headers, Key, customer, get
from tests.points.shop import event, hour, purchase, refund

WAITING = BASE | {"activate": {"kind": "after_days", "days": 14}, "expire": {"kind": "after_days", "days": 10}}
"""What is bought on 1 March waits until the 15th, and ends with the 25th."""

ACTIVE = datetime(2026, 3, 15, tzinfo=UTC)
GONE = datetime(2026, 3, 26, tzinfo=UTC)
MOMENT = timedelta.resolution

NAMES = ("available", "pending", "held", "debt", "lifetime_earned", "lifetime_redeemed")


async def live(client: httpx.AsyncClient, moment: datetime) -> dict[str, Any]:
    """Ann's balance as it is read at an instant."""
    with at(moment):
        return await get(client, of("ann", "points"), customer("ann"))


async def later(client: httpx.AsyncClient, moment: datetime) -> dict[str, int]:
    """Ann's balance as of an instant, read much later."""
    with at(GONE + timedelta(days=900)):
        body = await get(client, of("ann", "points"), customer("ann"), as_of=format_instant(moment))
    assert body["as_of"] == format_instant(moment)
    return numbers(body)


def numbers(body: dict[str, Any]) -> dict[str, int]:
    return {name: body[name] for name in NAMES}


async def test_a_balance_has_the_next_activation_and_expiry(client: httpx.AsyncClient, points_pool: Pool):
    await enact(points_pool, WAITING)
    await deliver(points_pool, purchase("1", "100.00", hour(0)), purchase("2", "20.00", hour(24)), now=hour(24))
    next_day = timedelta(days=1)
    for moment, available, pending, activation, expiry in (
        (hour(25), 0, 120, (100, ACTIVE), None),
        (ACTIVE - MOMENT, 0, 120, (100, ACTIVE), None),
        (ACTIVE, 100, 20, (20, ACTIVE + next_day), (100, GONE)),
        (ACTIVE + next_day, 120, 0, None, (100, GONE)),
        (GONE - MOMENT, 120, 0, None, (100, GONE)),
        (GONE, 20, 0, None, (20, GONE + next_day)),
        (GONE + next_day, 0, 0, None, None),
    ):
        body = await live(client, moment)
        assert (body["available"], body["pending"]) == (available, pending), moment
        for name, due in (("next_activation", activation), ("next_expiry", expiry)):
            assert body.get(name) == (due and {"points": due[0], "at": format_instant(due[1])}), moment
        assert body["lifetime_earned"] == 120
    # Reading wrote nothing.
    assert [row["kind"] for row in await transactions(points_pool)] == ["earned", "earned"]
    await check_books(points_pool)


async def test_points_that_expire_at_one_instant_are_added_up(client: httpx.AsyncClient, points_pool: Pool, key: Key):
    await enact(points_pool, WAITING)
    await deliver(points_pool, *(purchase(name, "10.00", hour(0)) for name in "123"), now=hour(0))
    assert (await live(client, hour(1)))["next_activation"] == {"points": 30, "at": format_instant(ACTIVE)}
    with at(ACTIVE):
        body = {"points": 12, "reference": "r", "expires_in_seconds": 10**6}
        held = await done(client, of("ann", "holds"), key("redeem"), body)
    # Held points do not end; given back, they do.
    assert (await live(client, ACTIVE))["next_expiry"] == {"points": 18, "at": format_instant(GONE)}
    with at(ACTIVE):
        await done(client, f"/v1/holds/{held['id']}/release", key("redeem"))
    assert (await live(client, ACTIVE))["next_expiry"] == {"points": 30, "at": format_instant(GONE)}


async def _lived(client: httpx.AsyncClient, pool: Pool, shop: Headers) -> Sequence[datetime]:
    """A sequence of ann's requests and events, with the instants around each."""
    await enact(pool, WAITING)
    await deliver(pool, purchase("1", "100.00", hour(0)), now=hour(0))
    await deliver(pool, refund("1", "r", "30.00", hour(1)), now=hour(1))
    spent, held = ACTIVE + timedelta(hours=1), ACTIVE + timedelta(hours=2)
    with at(spent):
        await done(client, of("ann", "redemptions"), shop, {"points": 15, "reference": "r"})
    with at(held):
        body = {"points": 25, "reference": "r", "expires_in_seconds": 20 * 86_400}
        await done(client, of("ann", "holds"), shop, body)
    ends = (hour(0), hour(1), ACTIVE, spent, held, GONE, held + timedelta(days=20))
    return [moment + step for moment in ends for step in (-MOMENT, timedelta(), MOMENT)]


@pytest.mark.parametrize("swept", [False, True])
async def test_a_past_balance_equals_the_balance_read_at_that_time(
    client: httpx.AsyncClient, points_pool: Pool, key: Key, swept: bool
):
    moments = await _lived(client, points_pool, key("redeem"))
    # From the hold on nothing was written: later balances were computed.
    read = {moment: numbers(await live(client, moment)) for moment in moments[-8:]}
    if swept:
        await day.sweep(points_pool, moments[-1])
        assert "expired" in {row["kind"] for row in await transactions(points_pool)}
    for moment, expected in read.items():
        assert await later(client, moment) == expected, moment
    bodies = [await later(client, moment) for moment in moments]
    balances = [(body["available"], body["pending"], body["held"]) for body in bodies]
    before, bought, refunded = (0, 0, 0), (0, 100, 0), (0, 70, 0)
    active, spent, held, gone, end = (70, 0, 0), (55, 0, 0), (30, 0, 25), (0, 0, 25), (0, 0, 0)
    states = (before, bought, refunded, active, spent, held, gone, end)
    assert balances == [states[number + (step > 0)] for number in range(7) for step in range(3)]
    await check_books(points_pool)


async def test_a_statement_has_dates(client: httpx.AsyncClient, points_pool: Pool):
    await enact(points_pool, WAITING)
    await deliver(points_pool, purchase("1", "100.00", hour(0)), now=hour(0))
    await day.sweep(points_pool, GONE)
    expired, activated, earned = (await get(client, of("ann", "points/transactions"), customer("ann")))["data"]
    assert (earned["kind"], earned["points"], earned["available_after"]) == ("earned", 100, 0)
    assert (earned["activates_at"], earned["expires_at"]) == (format_instant(ACTIVE), format_instant(GONE))
    assert activated == {
        "id": activated["id"],
        "kind": "activated",
        "points": 100,
        "available_after": 100,
        "occurred_at": format_instant(ACTIVE),
        "recorded_at": format_instant(ACTIVE),
        "reason": {"kind": "purchase", "order_id": "1"},
        "expires_at": format_instant(GONE),
    }
    assert (expired["kind"], expired["points"], expired["occurred_at"]) == ("expired", -100, format_instant(GONE))
    assert expired["reason"] == {"kind": "expiry"}


async def test_the_statement_of_an_order_has_all_its_transactions(client: httpx.AsyncClient, points_pool: Pool):
    await enact(points_pool, WAITING, BASE | {"id": "late", "activate": {"kind": "on_delivery"}})
    await deliver(points_pool, *(purchase(name, "100.00", hour(0)) for name in "12"), now=hour(0))
    await deliver(points_pool, refund("1", "r", "10.00", hour(1)), now=hour(1))
    await deliver(points_pool, refund("1", "s", "20.00", hour(999)), now=ACTIVE + timedelta(hours=1))
    delivered = PurchaseDelivered(customer_id="ann", order_id="1")
    await deliver(points_pool, event("shop.purchase.delivered.v1", ACTIVE, delivered), now=ACTIVE + timedelta(hours=2))
    await day.sweep(points_pool, GONE)

    async def lines(**query: str) -> list[tuple[str, int]]:
        body = await get(client, of("ann", "points/transactions"), customer("ann"), **query)
        return [(line["kind"], line["points"]) for line in body["data"]]

    assert await lines(order_id="1") == [
        ("activated", 70),
        ("reversed", -40),
        ("activated", 90),
        ("reversed", -20),
        ("earned", 200),
    ]
    assert await lines(order_id="2") == [("activated", 100), ("earned", 200)]
    assert await lines(order_id="1", kind="activated") == [("activated", 70), ("activated", 90)]
    await check_books(points_pool)


async def test_every_transaction_is_explained(client: httpx.AsyncClient, points_pool: Pool, key: Key):
    await _lived(client, points_pool, key("redeem"))
    await day.sweep(points_pool, GONE + timedelta(days=99))
    lines = (await get(client, of("ann", "points/transactions"), customer("ann")))["data"]
    kinds = {line["kind"] for line in lines}
    assert kinds == {"earned", "reversed", "activated", "redeemed", "held", "released", "expired"}
    for line in lines:
        body = await get(client, f"/v1/points/transactions/{line['id']}", customer("ann"))
        assert body["receipt_verified"], line
        assert {name: body[name] for name in line} == line
        assert sum(posting["points"] for posting in body["postings"]) == abs(line["points"])
        assert body["receipt"]["engine"] == 3
        decided = line["kind"] in {"earned", "reversed"}
        assert body["receipt"]["rules_version"] == (2 if decided else None)
