"""Plays a history on the product: its handlers and jobs on a real database, with instants as now."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.notifications.handlers import events
from services.notifications.handlers.desk import Desk
from services.notifications.handlers.experimenting import Experiments
from services.notifications.handlers.sweeping import sweep
from services.notifications.handlers.timing import set_timers
from services.notifications.rules.experiment.arms import Arm, Experiment, Goal
from services.notifications.rules.profile import Profile
from services.notifications.rules.trigger import Request
from services.notifications.store import experiments
from shared.contracts.envelope import Event, Record, decode
from shared.contracts.envelope import Publication as Announced
from shared.contracts.registry import TYPES
from shared.contracts.values import format_instant
from shared.postgres.pool import Connection, Pool
from shared.programs import store
from shared.programs.kind import Key
from shared.programs.store import Publication as Published
from tests.notifications.oracles.happening import Arrival, Happening, History, Json, Publication, Sweep
from tests.notifications.oracles.model import Sent

TABLES = (
    "customer, happened, run, timer, timer_setting, experiment, exposure, erasure, document_version, message, consent"
)


class Product:
    """The product on an empty database."""

    def __init__(self, pool: Pool, key: bytes) -> None:
        self._pool = pool
        self._requests: list[Request] = []
        self._desk = Desk(ZoneInfo("UTC"), self._make, arms=Experiments(key).arms)

    async def play(self, history: History) -> None:
        """Let a history happen."""
        await self._pool.execute(f"TRUNCATE {TABLES} CASCADE")
        async with self._pool.acquire() as connection:
            for declared in history.experiments:
                await experiments.declare(connection, _experiment(declared), history.happenings[0].now)
        for happening in history.happenings:
            await self._happen(happening)

    def sent(self) -> list[Sent]:
        """The messages that runs asked for."""
        return [
            Sent(
                each.trigger.customer_id,
                each.journey,
                each.trigger.key,
                each.step,
                each.template,
                each.trigger.at,
                _count(each),
            )
            for each in self._requests
        ]

    async def results(self) -> Counter[tuple[str, str | None, bool]]:
        """Numbers of exposures by experiment and arm, and whether they converted."""
        rows = await self._pool.fetch("SELECT experiment, arm, converted_at IS NOT NULL AS converted FROM exposure")
        return Counter((row["experiment"], row["arm"], row["converted"]) for row in rows)

    async def _happen(self, happening: Happening) -> None:
        match happening:
            case Publication(now, journey, document):
                await self._publish(now, journey, document)
            case Sweep(now):
                await set_timers(self._pool, now, self._desk)
                assert "customers left as they are" not in await sweep(self._pool, now, self._desk)
            case Arrival():
                await self._handle(_event(happening), happening.now)

    async def _publish(self, now: datetime, journey: str, document: Json) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            key = Key("journey", journey)
            draft = await store.insert(connection, key, document, now, "key:test")
            await store.publish(connection, key, draft.version, Published(now, now, "key:test"))
        await set_timers(self._pool, now, self._desk)

    async def _handle(self, event: Event, now: datetime) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            assert await events.handle(self._desk, connection, [event], now) == []

    async def _make(
        self, _connection: Connection, requests: Sequence[Request], _profiles: Mapping[str, Profile], _now: datetime
    ) -> Sequence[Announced]:
        self._requests += requests
        return []


def _experiment(declared: Json) -> Experiment:
    goal = declared.get("goal")
    arms = tuple(Arm(arm["id"], arm.get("weight", 1)) for arm in declared["arms"])
    return Experiment(declared["id"], arms, declared.get("holdout", 0.0), goal and Goal(goal["type"], goal["days"]))


def _event(arrival: Arrival) -> Event:
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(arrival.number),
        "source": "event",
        "type": arrival.type,
        "time": format_instant(arrival.at),
        "correlationid": "root",
        "data": arrival.data,
    }
    record = Record(
        TYPES[arrival.type].topic,
        0,
        arrival.number,
        arrival.customer_id.encode(),
        json.dumps(envelope).encode(),
        (),
        arrival.now,
    )
    event = decode(record, frozenset(TYPES))
    assert event is not None
    return event


def _count(request: Request) -> int:
    count = request.trigger.facts.get("count", 1)
    assert isinstance(count, int)
    return count
