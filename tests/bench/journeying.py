"""Journeys: how fast a worker decides with 20 of them in force, and how fast waits that are over are moved."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, Final
from zoneinfo import ZoneInfo

from services.notifications.handlers import events
from services.notifications.handlers.desk import Desk
from services.notifications.handlers.judging import Judge
from services.notifications.handlers.library import Library
from services.notifications.handlers.making import Maker, make
from services.notifications.handlers.sweeping import sweep
from services.notifications.settings import Settings
from shared.contracts.envelope import Event, Record, decode
from shared.contracts.registry import TYPES
from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from shared.programs import store
from tests.bench.figures import Figure
from tests.bench.plan import Plan
from tests.bench.rounds import WrongEffectError

EVENTS: Final = 20_000
WAITS: Final = 100_000
CUSTOMERS: Final = 20_000
BATCH: Final = 500

_PURCHASE: Final = "shop.purchase.completed.v1"
_numbers: Final = count()

_SEND: Final = {"kind": "send", "template": "welcome", "channels": ["in_app"], "mode": "first"}
# None of them sends anything, so that what is measured is deciding: each looks at the event, the customer or the past.
_WHEN: Final[Sequence[dict[str, Any]]] = (
    {"kind": "country_in", "values": ["XK"]},
    {"kind": "tier_in", "values": ["none"]},
    {"kind": "points_at_least", "points": 10**12},
    {"kind": "purchases_at_least", "count": 1_000, "days": 30},
)
DECIDING: Final = {
    f"journey-{number}": {
        "name": {"en": "Bench"},
        "trigger": {"on": "event", "type": _PURCHASE, "where": [{"path": "total", "op": "gte", "value": str(number)}]},
        "when": [_WHEN[number % len(_WHEN)]],
        "steps": [_SEND],
    }
    for number in range(20)
}
WAITING: Final = {
    "waiting": {
        "name": {"en": "Bench"},
        "trigger": {"on": "event", "type": _PURCHASE},
        "steps": [
            {"kind": "wait", "days": 1},
            {"kind": "stop_if", "when": [{"kind": "happened", "type": "shop.review.published.v1"}]},
            _SEND,
        ],
    }
}


def _desk() -> Desk:
    settings = Settings()
    judge = Judge(settings.gate_limits(), settings.keys())
    return Desk(ZoneInfo("UTC"), partial(make, Maker(Library.of(settings), judge)))


def _purchase(customer_id: str, now: datetime) -> Event:
    number = next(_numbers)
    data = {"customer_id": customer_id, "order_id": f"o-{number}", "currency": "USD", "total": "50.00"}
    envelope = f'{{"specversion":"1.0","id":"e-{number}","source":"/bench","type":"{_PURCHASE}",'
    envelope += f'"time":"{format_instant(now)}","data":{str(data).replace(chr(39), chr(34))}}}'
    record = Record("shop.purchases", 0, number, customer_id.encode(), envelope.encode(), (), now)
    event = decode(record, frozenset(TYPES))
    assert event is not None, "purchases are wanted"
    return event


async def _ship(pool: Pool, documents: dict[str, dict[str, Any]]) -> None:
    await pool.execute("DELETE FROM document_version WHERE kind = 'journey'")
    async with pool.acquire() as connection:
        await store.seed(connection, "journey", documents)


async def _handle(pool: Pool, desk: Desk, bought: Sequence[Event], now: datetime) -> float:
    """The seconds of handling purchases, a batch in a transaction."""
    began = time.perf_counter()
    for first in range(0, len(bought), BATCH):
        async with pool.acquire() as connection, connection.transaction():
            await events.handle(desk, connection, bought[first : first + BATCH], now)
    return time.perf_counter() - began


async def measure(plan: Plan) -> list[Figure]:
    """Deciding on purchases, and moving waits that are over."""
    now = datetime.now(UTC)
    number, waits = plan.events(EVENTS), plan.events(WAITS)
    async with plan.bed.database("notifications") as (_, pool):
        await _ship(pool, DECIDING)
        desk, rates = _desk(), list[float]()
        for turn in range(plan.rounds + 1):
            bought = [_purchase(f"c-{next(_numbers) % CUSTOMERS}", now) for _ in range(number)]
            seconds = await _handle(pool, desk, bought, now)
            if turn:  # the first round warms up
                rates.append(number / seconds)
                plan.say(f"round {turn} of {plan.rounds}: decided on {rates[-1]:,.0f} events/s")
        await _ship(pool, WAITING)
        desk, sweeps = _desk(), list[float]()
        for turn in range(plan.rounds):
            start = now + timedelta(days=10 * turn)
            await _handle(pool, desk, [_purchase(f"w-{place}", start) for place in range(waits)], start)
            await pool.execute("ANALYZE")
            began = time.perf_counter()
            counts = await sweep(pool, start + timedelta(days=1), desk)
            sweeps.append(time.perf_counter() - began)
            if counts["runs moved"] != waits:
                raise WrongEffectError(f"{waits} waits were over, {counts} moved")
            plan.say(f"round {turn + 1} of {plan.rounds}: moved {waits:,} waits in {sweeps[-1]:.1f} s")
    return [
        Figure("journeys: deciding, 20 in force", rates, "events/s", at_least=5_000),
        Figure(f"journeys: {waits:,} waits that are over", sweeps, "s", at_most=20 * waits / WAITS),
    ]
