"""What falls due by time: waits, dates and inactivity, for customers whom nothing else touches."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.notifications.handlers.desk import Desk
from services.notifications.handlers.journeying import Batch, decide, triggered_by
from services.notifications.handlers.moving import Mover
from services.notifications.handlers.sweeping import LEFT, sweep
from services.notifications.handlers.taking import Triggered, take
from services.notifications.handlers.timing import set_timers
from services.notifications.rules import profile
from services.notifications.rules.journey.conditions import Standing
from services.notifications.rules.journey.timing import Timer
from services.notifications.rules.profile import Profile
from services.notifications.rules.trigger import Request
from services.notifications.store import customers, forgetting, timers
from shared.contracts.envelope import Cause, Event, Publication
from shared.messaging.erasure import Erasure
from shared.postgres.pool import Connection, Pool
from shared.programs import store
from shared.programs.kind import Key
from shared.programs.store import Publication as Publishing
from tests.notifications.journeys.machinery import PURCHASE, send
from tests.notifications.journeys.test_moving import DAY, HOUR, WAIT, T, bought, no_arms, told
from tests.notifications.world import event, registered, updated

ORDER = {"order_id": "o-1", "currency": "USD", "total": "20.00"}
CAUSE = Cause("root", "cause")


class Office:
    """A desk whose messages are collected; customers of `broken` make it fail."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.broken = set[str]()
        self.desk = Desk(ZoneInfo("UTC"), self._make)

    async def _make(
        self, _connection: Connection, requests: Sequence[Request], profiles: Mapping[str, Profile], _now: datetime
    ) -> Sequence[Publication]:
        assert profiles.keys() >= {request.trigger.customer_id for request in requests}
        if any(request.trigger.customer_id in self.broken for request in requests):
            raise ZeroDivisionError
        self.requests += requests
        return ()

    async def handle(self, pool: Pool, now: datetime, *events: Event) -> None:
        """Handle events as a worker does, but for the messages."""
        async with pool.acquire() as connection, connection.transaction():
            in_force = await self.desk.journeys.at(connection, now)
            triggered = triggered_by(in_force, (), events)
            touched = {event.customer_id for event in events} | {each.trigger.customer_id for each in triggered}
            before = await customers.lock(connection, touched)
            after = dict(before)
            for event in events:
                after[event.customer_id] = profile.learn(after[event.customer_id], event)
            await customers.save(connection, [own for id_, own in after.items() if own is not before[id_]])
            requests = await decide(connection, self.desk, Batch(events, triggered, (), before, after, now))
            await self._make(connection, requests, after, now)

    async def happen(self, pool: Pool, now: datetime, *triggered: Triggered) -> None:
        async with pool.acquire() as connection, connection.transaction():
            ids = {each.trigger.customer_id for each in triggered}
            await customers.lock(connection, ids)
            live = await self.desk.journeys.at(connection, now)
            taken = await take(connection, live, triggered)
            standings = {id_: Standing(id_, ZoneInfo("UTC")) for id_ in ids}
            outcome = await Mover(live, no_arms, now).move(connection, standings, taken.incoming)
            self.requests += outcome.requests

    def told(self) -> list[tuple[str, str, str, datetime]]:
        return sorted(told(self.requests))


@pytest.fixture
def office() -> Office:
    return Office()


async def ship(pool: Pool, **documents: dict[str, Any]) -> None:
    """Let these be the only journeys, as version 1 of each."""
    await pool.execute("DELETE FROM document_version WHERE kind = 'journey'")
    base = {"name": {"en": "Test"}, "trigger": {"on": "event", "type": PURCHASE}}
    async with pool.acquire() as connection:
        await store.seed(connection, "journey", {id_: base | own for id_, own in documents.items()})


async def test_every_wait_that_is_over_is_swept(pool: Pool, office: Office):
    await ship(pool, later={"steps": [WAIT, send("later")]})
    ids = [f"customer-{number}" for number in range(30)]
    await office.happen(pool, T, *(bought(id_, T, "1") for id_ in ids))
    assert await sweep(pool, T + 3 * DAY - timedelta(microseconds=1), office.desk) == {}
    counts = await sweep(pool, T + 3 * DAY, office.desk)
    assert counts["runs moved"] == 30
    assert office.told() == sorted((id_, "order/1", "later", T + 3 * DAY) for id_ in ids)
    assert await pool.fetchval("SELECT array_agg(DISTINCT state) FROM run") == ["done"]
    assert await sweep(pool, T + 9 * DAY, office.desk) == {}


async def test_two_sweeps_at_once_move_each_run_once(pool: Pool, office: Office):
    await ship(pool, later={"steps": [WAIT, send("later"), WAIT, send("again")]})
    ids = [f"customer-{number}" for number in range(50)]
    await office.happen(pool, T, *(bought(id_, T, "1") for id_ in ids))
    await asyncio.gather(*(sweep(pool, T + 3 * DAY, office.desk) for _ in range(4)))
    assert len(office.requests) == 50
    await asyncio.gather(*(sweep(pool, T + 30 * DAY, office.desk) for _ in range(4)))
    assert len(office.requests) == 100


async def test_a_customer_who_cannot_be_moved_delays_nobody(pool: Pool, office: Office):
    await ship(pool, later={"steps": [WAIT, send("later")]})
    ids = [f"customer-{number}" for number in range(20)]
    await office.happen(pool, T, *(bought(id_, T, "1") for id_ in ids))
    office.broken = {"customer-7"}
    counts = await sweep(pool, T + 3 * DAY, office.desk)
    assert counts[LEFT] == 1
    assert len(office.requests) == 19
    # It rests for a while, and is moved when that is possible again.
    assert await sweep(pool, T + 3 * DAY + timedelta(minutes=4), office.desk) == {}
    office.broken = set()
    await sweep(pool, T + 3 * DAY + timedelta(minutes=5), office.desk)
    assert len(office.requests) == 20
    assert office.told()[0][3] == T + 3 * DAY


INACTIVE: dict[str, Any] = {"trigger": {"on": "inactivity", "of": PURCHASE, "days": 60}, "steps": [send("win_back")]}


async def test_a_stretch_of_inactivity_starts_one_run(pool: Pool, office: Office):
    await ship(pool, win_back=INACTIVE)
    await office.happen(pool, T, bought("mona", T, "1"), bought("ben", T, "1"))
    await office.happen(pool, T + DAY, bought("ben", T + DAY, "2"))
    await sweep(pool, T + 60 * DAY, office.desk)
    assert office.told() == [("mona", "inactivity/2026-03-01T12:00:00Z", "win_back", T + 60 * DAY)]
    # An older purchase that arrives late begins no stretch of its own.
    await office.happen(pool, T + 61 * DAY, bought("mona", T - 5 * DAY, "0"))
    await sweep(pool, T + 70 * DAY, office.desk)
    assert [who for who, *_ in office.told()] == ["ben", "mona"]
    await office.happen(pool, T + 80 * DAY, bought("mona", T + 80 * DAY, "3"))
    await sweep(pool, T + 140 * DAY, office.desk)
    assert [who for who, *_ in office.told()] == ["ben", "mona", "mona"]


BIRTHDAY: dict[str, Any] = {
    "trigger": {"on": "date", "field": "birth_date", "days": 0, "at": "09:00"},
    "steps": [send("birthday")],
}


async def set_timer(pool: Pool, due_at: datetime) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await customers.lock(connection, ["mona"])
        await timers.put(connection, [Timer("mona", "birthday", None, due_at, CAUSE)])


async def test_a_birthday_comes_every_year_and_is_made_up_within_a_day(pool: Pool, office: Office):
    await ship(pool, birthday=BIRTHDAY)
    await office.handle(pool, T, registered("mona", T, birth_date="1990-03-05", time_zone="Asia/Riyadh"))
    first = datetime(2026, 3, 5, 6, tzinfo=UTC)
    assert await due_timers(pool) == [("mona", first)]
    await sweep(pool, first + 23 * HOUR, office.desk)
    assert office.told() == [("mona", "birth_date/2026", "birthday", first)]
    await sweep(pool, first + 300 * DAY, office.desk)
    following = datetime(2027, 3, 5, 6, tzinfo=UTC)
    await sweep(pool, following + 25 * HOUR, office.desk)
    assert len(office.requests) == 1
    assert await pool.fetchval("SELECT due_at FROM timer") == datetime(2028, 3, 5, 6, tzinfo=UTC)


async def test_a_timer_goes_by_what_is_known_when_it_comes(pool: Pool, office: Office):
    await ship(pool, birthday=BIRTHDAY)
    await office.handle(pool, T, registered("mona", T, birth_date="1990-06-01"))
    await set_timer(pool, T)
    await sweep(pool, T, office.desk)
    assert office.requests == []
    assert await pool.fetchval("SELECT due_at FROM timer") == datetime(2026, 6, 1, 9, tzinfo=UTC)


async def test_a_timer_of_a_journey_that_is_disabled_ends(pool: Pool, office: Office):
    await ship(pool, birthday=BIRTHDAY | {"enabled": False})
    await set_timer(pool, T)
    await sweep(pool, T, office.desk)
    assert office.requests == []
    assert await pool.fetchval("SELECT due_at FROM timer") is None


async def due_timers(pool: Pool) -> list[tuple[str, datetime | None]]:
    rows = await pool.fetch("SELECT customer_id, due_at FROM timer ORDER BY customer_id")
    return [(row["customer_id"], row["due_at"]) for row in rows]


async def publish(pool: Pool, id_: str, document: dict[str, Any], effective_at: datetime) -> None:
    async with pool.acquire() as connection, connection.transaction():
        base = {"name": {"en": "Test"}, "trigger": {"on": "event", "type": PURCHASE}}
        version = await store.insert(connection, Key("journey", id_), base | document, T, "key:test")
        publication = Publishing(effective_at, effective_at, "key:test")
        await store.publish(connection, Key("journey", id_), version.version, publication)


async def test_a_publication_sets_the_timers_of_everybody(pool: Pool, office: Office):
    await ship(pool, birthday=BIRTHDAY | {"enabled": False})
    ids = [f"customer-{number:02}" for number in range(25)]
    await office.handle(pool, T, *(registered(id_, T, birth_date=f"1990-03-{2 + n:02}") for n, id_ in enumerate(ids)))
    await set_timers(pool, T, office.desk)
    assert await due_timers(pool) == []
    await publish(pool, "birthday", BIRTHDAY, T)
    await set_timers(pool, T, office.desk)
    assert await due_timers(pool) == [(id_, datetime(2026, 3, 2 + n, 9, tzinfo=UTC)) for n, id_ in enumerate(ids)]
    await publish(pool, "birthday", {**BIRTHDAY, "trigger": BIRTHDAY["trigger"] | {"days": 1}}, T + DAY)
    await set_timers(pool, T + DAY, office.desk)
    assert (await due_timers(pool))[5] == (ids[5], datetime(2026, 3, 8, 9, tzinfo=UTC))


async def test_inactivity_that_is_switched_on_starts_with_those_who_reach_the_days_later(pool: Pool, office: Office):
    await ship(pool, win_back=INACTIVE | {"enabled": False})
    await office.happen(pool, T, bought("gone", T - 400 * DAY, "1"), bought("mona", T - 10 * DAY, "1"))
    await publish(pool, "win_back", INACTIVE, T)
    await set_timers(pool, T, office.desk)
    assert await due_timers(pool) == [("gone", None), ("mona", T + 50 * DAY)]
    await sweep(pool, T + 50 * DAY, office.desk)
    assert [who for who, *_ in office.told()] == ["mona"]


async def test_what_journeys_know_of_an_erased_customer_goes(pool: Pool, office: Office):
    await ship(pool, later={"steps": [WAIT, send("later")]}, win_back=INACTIVE)
    await office.happen(pool, T, bought("mona", T, "1"), bought("ben", T, "1"))
    async with pool.acquire() as connection, connection.transaction():
        await customers.lock(connection, ["mona"])
        assert await forgetting.erase(connection, [Erasure("mona", T + DAY, T + DAY, T + DAY)], 10) == 3
    for table in ("run", "timer", "happened"):
        assert [row["customer_id"] for row in await pool.fetch(f"SELECT customer_id FROM {table}")] == ["ben"]


async def test_waits_and_dates_go_by_the_zone_that_the_customer_prefers(pool: Pool, office: Office):
    local = {"kind": "wait", "days": 1, "at": "10:00"}
    await ship(pool, later={"steps": [local, send("later")]}, birthday=BIRTHDAY)
    await office.handle(pool, T, registered("mona", T, time_zone="Europe/Paris"))
    await pool.execute(
        "INSERT INTO preference (customer_id, time_zone, off, topics_off, updated_at) "
        "VALUES ('mona', 'Asia/Tokyo', '{}', '{}', now())"
    )
    await office.handle(
        pool, T, updated("mona", T, birth_date="1990-03-05"), event(PURCHASE, {**ORDER, "customer_id": "mona"}, T)
    )
    assert await pool.fetchval("SELECT due_at FROM run") == datetime(2026, 3, 3, 1, tzinfo=UTC)
    assert await due_timers(pool) == [("mona", datetime(2026, 3, 5, 0, tzinfo=UTC))]
