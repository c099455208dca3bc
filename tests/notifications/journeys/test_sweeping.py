"""What falls due by time: waits, dates and inactivity, for customers whom nothing else touches."""

import asyncio
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.notifications.handlers.desk import Desk, Journeys, People
from services.notifications.handlers.moving import Mover
from services.notifications.handlers.sweeping import LEFT, sweep
from services.notifications.handlers.taking import Triggered, take
from services.notifications.rules.journey.conditions import Standing
from services.notifications.rules.journey.fold import Outcome
from services.notifications.rules.journey.timing import Person, Timer
from services.notifications.rules.trigger import Request
from services.notifications.store import customers, timers
from shared.contracts.envelope import Cause
from shared.postgres.pool import Connection, Pool
from shared.programs import store
from tests.notifications.journeys.machinery import PURCHASE, send
from tests.notifications.journeys.test_moving import DAY, HOUR, WAIT, T, bought, no_arms, stored, told

CAUSE = Cause("root", "cause")


class Office:
    """A desk whose messages are collected; customers of `broken` make it fail."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.broken = set[str]()
        self.people: dict[str, Person] = {}
        self.desk = Desk(Journeys(), self._know, no_arms, self._make)

    async def _know(self, _connection: Connection, ids: Collection[str]) -> People:
        zone = ZoneInfo("UTC")
        nobody = {id_: Person(id_, zone, None, None, None) for id_ in ids}
        return People({id_: Standing(id_, zone) for id_ in ids}, nobody | self.people)

    async def _make(self, _connection: Connection, outcome: Outcome, _now: datetime) -> None:
        if any(request.trigger.customer_id in self.broken for request in outcome.requests):
            raise ZeroDivisionError
        self.requests += outcome.requests

    async def happen(self, pool: Pool, now: datetime, *triggered: Triggered) -> None:
        async with pool.acquire() as connection, connection.transaction():
            ids = {each.trigger.customer_id for each in triggered}
            await customers.lock(connection, ids)
            live = await self.desk.journeys.at(connection, now)
            taken = await take(connection, live, triggered)
            people = await self._know(connection, ids)
            outcome = await Mover(live, no_arms, now).move(connection, people.standings, taken.incoming)
            await self._make(connection, outcome, now)

    def told(self) -> list[tuple[str, str, str, datetime]]:
        return sorted(told(self.requests))


@pytest.fixture
def office() -> Office:
    return Office()


async def ship(pool: Pool, **documents: dict[str, Any]) -> None:
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
    assert {state for _, _, state, _ in await stored(pool)} == {"done"}
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
    office.people = {"mona": Person("mona", ZoneInfo("Asia/Riyadh"), date(1990, 3, 5), None, None)}
    first = datetime(2026, 3, 5, 6, tzinfo=UTC)
    await set_timer(pool, first)
    await sweep(pool, first + 23 * HOUR, office.desk)
    assert office.told() == [("mona", "birth_date/2026", "birthday", first)]
    await sweep(pool, first + 300 * DAY, office.desk)
    following = datetime(2027, 3, 5, 6, tzinfo=UTC)
    await sweep(pool, following + 25 * HOUR, office.desk)
    assert len(office.requests) == 1
    assert await pool.fetchval("SELECT due_at FROM timer") == datetime(2028, 3, 5, 6, tzinfo=UTC)


async def test_a_timer_goes_by_what_is_known_when_it_comes(pool: Pool, office: Office):
    await ship(pool, birthday=BIRTHDAY)
    office.people = {"mona": Person("mona", ZoneInfo("UTC"), date(1990, 6, 1), None, None)}
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
