"""Points and tiers through several versions of the tier program: any order of arrival gives the same books."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

import asyncpg
import pytest

from tests.journeys.shop import Shop, name
from tests.support.stack import Stack

Event = tuple[str, str, dict[str, Any]]
"""The type, the time and the data of an event, without the customer."""

TIERS: Final[list[dict[str, Any]]] = [
    {"id": "member", "name": {"en": "Member"}},
    {
        "id": "silver",
        "name": {"en": "Silver"},
        "points_multiplier": "1.25",
        "enter": [
            [{"metric": "spend", "at_least": "500"}],
            [{"metric": "reviews", "at_least": 1}, {"metric": "points", "at_least": 150}],
        ],
        "keep": [[{"metric": "orders", "at_least": 1}]],
    },
    {
        "id": "gold",
        "name": {"en": "Gold"},
        "points_multiplier": "1.5",
        "enter": [[{"metric": "spend", "at_least": "1500"}], [{"metric": "activities", "at_least": 3}]],
    },
]
MONTHLY: Final = {
    "currency": "USD",
    "time_zone": "Asia/Riyadh",
    "period": {"kind": "rolling_days", "days": 30},
    "tiers": TIERS,
    "downgrade": {"to": "one_step", "grace_days": 5, "on_refund": "revoke"},
}
YEARLY: Final = {
    **MONTHLY,
    "period": {"kind": "calendar_year"},
    "tiers": [TIERS[0], {**TIERS[1], "points_multiplier": "2"}, TIERS[2]],
    "downgrade": {"to": "earned"},
    "on_publish": "full",
}
# In force long before the events of other journeys, which see version 1 again from 2013 on.
VERSIONS: Final = ((2, datetime(2010, 1, 1, tzinfo=UTC), MONTHLY), (3, datetime(2011, 1, 1, tzinfo=UTC), YEARLY))
LAST: Final = (4, datetime(2013, 1, 1, tzinfo=UTC))

HISTORY: Final[Sequence[Event]] = (
    ("shop.purchase.completed.v1", "2010-02-01T09:00:00Z", {"order_id": "a", "currency": "USD", "total": "600.00"}),
    ("shop.purchase.completed.v1", "2010-02-10T09:00:00Z", {"order_id": "b", "currency": "USD", "total": "950.00"}),
    (
        "shop.purchase.refunded.v1",
        "2010-02-14T09:00:00Z",
        {"order_id": "b", "refund_id": "r1", "currency": "USD", "amount": "100.00"},
    ),
    ("shop.purchase.completed.v1", "2010-03-20T09:00:00Z", {"order_id": "c", "currency": "USD", "total": "80.00"}),
    ("shop.review.published.v1", "2010-06-01T08:00:00Z", {"review_id": "v", "sku": "s", "rating": 5}),
    ("shop.purchase.completed.v1", "2010-06-02T08:00:00Z", {"order_id": "d", "currency": "USD", "total": "160.00"}),
    ("shop.review.withdrawn.v1", "2010-06-20T08:00:00Z", {"review_id": "v"}),
    ("shop.activity.performed.v1", "2010-08-01T08:00:00Z", {"activity_id": "1", "activity": "quiz"}),
    ("shop.activity.performed.v1", "2010-08-03T08:00:00Z", {"activity_id": "2", "activity": "visit"}),
    ("shop.activity.performed.v1", "2010-08-05T08:00:00Z", {"activity_id": "3", "activity": "quiz"}),
    ("shop.purchase.completed.v1", "2010-08-06T08:00:00Z", {"order_id": "e", "currency": "USD", "total": "40.00"}),
    ("shop.purchase.completed.v1", "2011-03-01T08:00:00Z", {"order_id": "f", "currency": "USD", "total": "700.00"}),
    (
        "shop.purchase.refunded.v1",
        "2011-05-01T08:00:00Z",
        {"order_id": "f", "refund_id": "r2", "currency": "USD", "amount": "650.00"},
    ),
    ("shop.purchase.completed.v1", "2011-06-01T08:00:00Z", {"order_id": "g", "currency": "USD", "total": "100.00"}),
)
ORDERS: Final = 6
PARTS: Final = 4

BOOKS_SQL = """
SELECT account.available::int, account.earned::int,
       (SELECT sum(points)::int FROM transaction WHERE customer_id = $1 AND kind IN ('earned', 'reversed')) AS awarded
FROM account
WHERE customer_id = $1
"""
TIMELINE_SQL = "SELECT effective_at, tier, points_multiplier FROM timeline WHERE customer_id = $1 ORDER BY effective_at"
TAKEN_SQL = "SELECT effective_at, tier, multiplier FROM tier_entry WHERE customer_id = $1 ORDER BY effective_at"


async def publish_programs(stack: Stack) -> None:
    """Publish versions that were in force in the past, which the API would refuse."""
    connection = await asyncpg.connect(stack.database_url("tiers"))
    try:
        first = await connection.fetchval("SELECT document FROM document_version WHERE kind = 'tier_program'")
        for number, effective_at, document in (*VERSIONS, (*LAST, json.loads(first))):
            await connection.execute(
                "INSERT INTO document_version (kind, id, version, document, created_at, published_at, effective_at)"
                " VALUES ('tier_program', '', $1, $2, now(), now(), $3) ON CONFLICT DO NOTHING",
                number,
                json.dumps(document),
                effective_at,
            )
    finally:
        await connection.close()


def arrange(number: int) -> list[Event]:
    """The history in an order of arrival: in order, backwards, or shuffled."""
    events = list(HISTORY)
    if number == 1:
        events.reverse()
    elif number > 1:
        Random(number).shuffle(events)
    return events


@pytest.mark.deep
@pytest.mark.timeout(180)
async def test_any_order_of_arrival_gives_the_same_books(stack: Stack, shop: Shop):
    await publish_programs(stack)
    customers = [name("customer") for _ in range(ORDERS)]
    arrivals = [arrange(number) for number in range(ORDERS)]
    size = -(-len(HISTORY) // PARTS)
    for start in range(0, len(HISTORY), size):
        for customer, events in zip(customers, arrivals, strict=True):
            for type_, time, data in events[start : start + size]:
                await asyncio.to_thread(shop.publish, type_, {"customer_id": customer, **data}, time=time)
        await stack.drain()
    books = [await stack.fetch("points", BOOKS_SQL, customer) for customer in customers]
    timelines = [await stack.fetch("tiers", TIMELINE_SQL, customer) for customer in customers]
    assert [entry["tier"] for entry in timelines[0]][:4] == ["silver", "gold", "silver", "silver"]
    assert {"member", "silver", "gold"} == {entry["tier"] for entry in timelines[0]}
    for number in range(1, ORDERS):
        assert timelines[number] == timelines[0], number
        assert books[number] == books[0], number
    # Points know the tiers that tiers announced, whatever came first.
    known = [steps(await stack.fetch("points", TAKEN_SQL, customer)) for customer in customers]
    assert all(own == known[0] for own in known)


def steps(entries: Sequence[asyncpg.Record]) -> list[tuple[Any, ...]]:
    """A timeline without entries that change nothing."""
    found: list[tuple[Any, ...]] = []
    for entry in map(tuple, entries):
        if not found or entry[1:] != found[-1][1:]:
            found.append(entry)
    return found
