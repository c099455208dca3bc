"""Runs on a real database: stored, moved and ended under the locks of their customers."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.notifications.handlers.moving import Mover
from services.notifications.handlers.taking import Triggered, take
from services.notifications.rules.journey.asking import ArmAnswer, AskArm
from services.notifications.rules.journey.compiled import Journey
from services.notifications.rules.journey.conditions import Standing
from services.notifications.rules.journey.document import JourneyDocument
from services.notifications.rules.journey.live import InForce, Published, in_force
from services.notifications.rules.trigger import Request, TriggerEvent
from services.notifications.store import customers
from shared.contracts.envelope import Cause
from shared.postgres.pool import Connection, Pool
from tests.notifications.journeys.machinery import PURCHASE, REVIEW, send

T = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
EVER = datetime.min.replace(tzinfo=UTC)
WAIT = {"kind": "wait", "days": 3}


def journeys(*versions: tuple[str, dict[str, Any]], since: datetime = EVER) -> InForce:
    """Published journeys by id: the same id again is its next version."""
    documents: dict[str, list[Published]] = {}
    for id_, changes in versions:
        base = {"name": {"en": id_}, "trigger": {"on": "event", "type": PURCHASE}, "steps": [send(id_)]}
        own = documents.setdefault(id_, [])
        compiled = Journey.of(len(own) + 1, JourneyDocument.model_validate(base | changes))
        own.append(Published(since + len(own) * timedelta(seconds=1), compiled))
    return in_force(documents, T + 1_000 * DAY)


def bought(customer_id: str, at: datetime, order: str, **data: Any) -> Triggered:
    facts = {"order_id": order, **data}
    return Triggered(TriggerEvent(PURCHASE, customer_id, f"order/{order}", facts, at, Cause("root", "cause")), facts)


def reviewed(customer_id: str, at: datetime, review: str = "r") -> Triggered:
    return Triggered(TriggerEvent(REVIEW, customer_id, f"review/{review}", {}, at, Cause("root", "cause")), {})


async def no_arms(_connection: Connection, asks: Sequence[AskArm]) -> Sequence[ArmAnswer]:
    return [ArmAnswer(ask.arms[0]) for ask in asks]


async def happen(
    pool: Pool, live: InForce, now: datetime, *triggered: Triggered, ids: Sequence[str] = ()
) -> list[Request]:
    """Handle what happened in one transaction, and move what is due of further customers."""
    async with pool.acquire() as connection, connection.transaction():
        touched = {*ids, *(each.trigger.customer_id for each in triggered)}
        await customers.lock(connection, touched)
        taken = await take(connection, live, triggered)
        standings = {id_: Standing(id_, ZoneInfo("UTC")) for id_ in touched}
        outcome = await Mover(live, no_arms, now).move(connection, standings, taken.incoming)
        return outcome.requests


def told(requests: Sequence[Request]) -> list[tuple[str, str, str, datetime]]:
    return [(each.trigger.customer_id, each.trigger.key, each.template, each.trigger.at) for each in requests]


async def stored(pool: Pool) -> list[tuple[str, str, str, str]]:
    rows = await pool.fetch("SELECT customer_id, key, state, step FROM run ORDER BY customer_id, started_at, key")
    return [tuple(row) for row in rows]


async def test_a_run_without_waits_has_no_row(pool: Pool):
    live = journeys(("thanks", {}))
    requests = await happen(pool, live, T, bought("mona", T, "1"), bought("mona", T, "2"), bought("ben", T, "1"))
    assert told(requests) == [
        ("mona", "order/1", "thanks", T),
        ("mona", "order/2", "thanks", T),
        ("ben", "order/1", "thanks", T),
    ]
    assert await stored(pool) == []
    assert [request.trigger.facts["purchase_number"] for request in requests] == [1, 2, 1]


async def test_a_run_waits_as_a_row_and_goes_on_when_it_is_due(pool: Pool):
    live = journeys(("later", {"steps": [WAIT, send("later")]}))
    assert await happen(pool, live, T, bought("mona", T, "1")) == []
    assert await stored(pool) == [("mona", "order/1", "waiting", "0")]
    assert await happen(pool, live, T + 2 * DAY, ids=["mona"]) == []
    requests = await happen(pool, live, T + 5 * DAY, ids=["mona"])
    assert told(requests) == [("mona", "order/1", "later", T + 3 * DAY)]
    assert await stored(pool) == [("mona", "order/1", "done", "1")]
    assert await happen(pool, live, T + 9 * DAY, ids=["mona"]) == []


async def test_a_repeat_starts_nothing_however_late(pool: Pool):
    live = journeys(("later", {"steps": [WAIT, send("later")]}), ("once", {"again": {"kind": "never"}}))
    assert len(await happen(pool, live, T, bought("mona", T, "1"), bought("mona", T, "1"))) == 1
    assert await happen(pool, live, T, bought("mona", T, "1")) == []
    await pool.execute("DELETE FROM happened")  # after 400 days
    assert await happen(pool, live, T, bought("mona", T, "1")) == []
    assert len(await stored(pool)) == 2


@pytest.mark.parametrize(
    "again, days, starts",
    [
        ({"kind": "always"}, 1, 2),
        ({"kind": "never"}, 5_000, 1),
        ({"kind": "after_days", "days": 30}, 29, 1),
        ({"kind": "after_days", "days": 30}, 30, 2),
    ],
)
async def test_again_counts_from_the_start_of_the_last_run(pool: Pool, again: dict[str, Any], days: int, starts: int):
    live = journeys(("a", {"again": again, "steps": [WAIT, send("a")]}))
    await happen(pool, live, T, bought("mona", T, "1"))
    await happen(pool, live, T + days * DAY, bought("mona", T + days * DAY, "2"))
    assert len(await stored(pool)) == starts


async def test_two_triggers_of_one_batch_obey_again(pool: Pool):
    live = journeys(("a", {"again": {"kind": "never"}, "steps": [WAIT, send("a")]}))
    await happen(pool, live, T, bought("mona", T, "1"), bought("mona", T + HOUR, "2"))
    assert await stored(pool) == [("mona", "order/1", "waiting", "0")]


async def test_an_event_wakes_the_run_that_waits_for_it(pool: Pool):
    wait = {"kind": "wait_for", "type": REVIEW, "within_days": 7, "then": [send("thanks")], "else": [send("please")]}
    live = journeys(("ask", {"steps": [wait]}))
    await happen(pool, live, T, bought("mona", T, "1"), bought("ben", T, "1"))
    requests = await happen(pool, live, T + DAY, reviewed("mona", T + HOUR))
    assert told(requests) == [("mona", "order/1", "thanks", T + HOUR)]
    # A review that is known late, and was in time, counts when it is known by then.
    assert await happen(pool, live, T + DAY, reviewed("ben", T - HOUR, "old")) == []
    requests = await happen(pool, live, T + 8 * DAY, ids=["ben"])
    assert told(requests) == [("ben", "order/1", "please", T + 7 * DAY)]


async def test_the_order_within_a_batch_counts_and_not_the_batch(pool: Pool):
    live = journeys(
        ("first", {"steps": [{"kind": "stop_if", "when": [{"kind": "happened", "type": REVIEW}]}, send("first")]}),
        ("second", {"when": [{"kind": "purchases_at_least", "count": 2, "days": 30}]}),
    )
    events = [bought("mona", T, "1"), reviewed("mona", T + HOUR), bought("mona", T + 2 * HOUR, "2")]
    together = await happen(pool, live, T + DAY, *events)
    apart = [
        request
        for _, each in enumerate(events)
        for request in await happen(
            pool,
            live,
            T + DAY,
            Triggered(
                TriggerEvent(
                    each.trigger.type, "ben", each.trigger.key, each.trigger.facts, each.trigger.at, each.trigger.cause
                ),
                each.data,
            ),
        )
    ]
    assert [told([each])[0][1:] for each in together] == [told([each])[0][1:] for each in apart]
    assert [request.template for request in together] == ["first", "first", "second"]


async def test_a_digest_collects_in_one_run_and_uses_its_triggers_up(pool: Pool):
    live = journeys(("digest", {"steps": [{"kind": "digest", "hours": 24}, send("digest")]}))
    await happen(pool, live, T, bought("mona", T, "1", total="1"))
    await happen(pool, live, T, bought("mona", T + HOUR, "2", total="2"), bought("mona", T + 2 * HOUR, "3", total="3"))
    assert await happen(pool, live, T + HOUR, bought("mona", T + HOUR, "2")) == []
    await pool.execute("DELETE FROM happened")
    assert await happen(pool, live, T + HOUR, bought("mona", T + HOUR, "2")) == []
    [request] = await happen(pool, live, T + 2 * DAY, bought("mona", T + 26 * HOUR, "4"))
    assert [item["total"] for item in request.trigger.facts["items"]] == ["1", "2", "3"]
    assert request.trigger.facts["count"] == 3
    assert await stored(pool) == [
        ("mona", "order/1", "done", "1"),
        ("mona", "order/2", "joined", "0"),
        ("mona", "order/3", "joined", "0"),
        ("mona", "order/4", "waiting", "0"),
    ]


async def test_a_run_keeps_the_version_it_began_with_and_ends_when_the_journey_is_disabled(pool: Pool):
    first = ("a", {"steps": [WAIT, send("one")]})
    second = ("a", {"steps": [WAIT, send("two")]})
    await happen(pool, journeys(first), T, bought("mona", T, "1"), bought("ben", T, "1"))
    requests = await happen(pool, journeys(first, second), T + 3 * DAY, ids=["mona"])
    assert [request.template for request in requests] == ["one"]
    disabled = ("a", {"enabled": False, "steps": [WAIT, send("three")]})
    assert await happen(pool, journeys(first, second, disabled), T + 3 * DAY, ids=["ben"]) == []
    [row] = await pool.fetch("SELECT state, reason FROM run WHERE customer_id = 'ben'")
    assert tuple(row) == ("stopped", "journey_stopped")


async def test_two_workers_start_and_move_a_run_once(pool: Pool):
    live = journeys(("later", {"steps": [WAIT, send("later")]}))
    ids = [f"customer-{number}" for number in range(20)]
    events = [bought(id_, T, "1") for id_ in ids]
    await asyncio.gather(*(happen(pool, live, T, *(events if number % 2 else events[::-1])) for number in range(6)))
    assert len(await stored(pool)) == 20
    moved = await asyncio.gather(*(happen(pool, live, T + 3 * DAY, ids=ids) for _ in range(6)))
    assert sorted(request.trigger.customer_id for requests in moved for request in requests) == sorted(ids)


async def test_a_rolled_back_transaction_leaves_nothing(pool: Pool):
    live = journeys(("later", {"steps": [WAIT, send("later")]}))
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await customers.lock(connection, ["mona"])
        taken = await take(connection, live, [bought("mona", T, "1")])
        await Mover(live, no_arms, T).move(connection, {"mona": Standing("mona", ZoneInfo("UTC"))}, taken.incoming)
        await transaction.rollback()
    assert await stored(pool) == []
    assert await pool.fetchval("SELECT count(*) FROM happened") == 0
    await happen(pool, live, T, bought("mona", T, "1"))
    assert len(await stored(pool)) == 1
