"""Warnings of tiers at risk = the model, however sweeps ahead mix with events and requests of now."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import pytest
from pydantic_core import from_json

from services.tiers.handlers import day
from services.tiers.handlers.applying import SETTLED, apply_versions
from services.tiers.handlers.assigning import Given, assign
from services.tiers.handlers.opening import Call
from services.tiers.handlers.rejudging import rejudge
from services.tiers.store import programs, publications
from shared.contracts import topics
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.prove import tiered, tiering
from tests.prove.checks.tiers import warnings
from tests.prove.replay import counted, tiers
from tests.prove.replay.tiers import History
from tests.prove.tiered import Quiet
from tests.tiers import given, shop
from tests.tiers.applied import apply
from tests.tiers.oracles.at_risk import Moment

BEGIN: Final = datetime(2026, 3, 10, 12, 0, 0, 123_456, tzinfo=UTC)
END: Final = datetime(2026, 3, 15, 21, tzinfo=UTC)
"""The end of the fifth day after the first one's, in Riyadh."""
CUSTOMERS: Final = tuple(f"c{number}" for number in range(25))
STEPS: Final = 50


@dataclass
class Office:
    """A shop and an office: what happens by the clock, the sweeps ahead of it, and what the model knows of it."""

    pool: Pool
    random: Random
    clock: datetime = BEGIN
    version: int = 1
    count: int = 0
    log: dict[str, dict[str, list[Event]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    async def publish(self, document: Mapping[str, Any], *, soon: bool = False) -> None:
        at = self.clock + timedelta(seconds=3 if soon else 0)
        self.version += 1
        await given.publish(self.pool, (at, document))
        async with self.pool.acquire() as connection:
            await publications.add(connection, self.version, at, self.clock)

    async def handle(self, *events: Event) -> None:
        for event in events:
            self.log[event.customer_id][event.record.topic].append(event)
        await apply(self.pool, *events, now=self.clock)

    async def buy(self, customer: str, total: str) -> None:
        self.count += 1
        await self.handle(shop.purchase(f"o{self.count}", total, self.clock, customer_id=customer))

    async def give(self, customer: str, rank: int, until: datetime | None, *, locked: bool) -> None:
        self.count += 1
        async with self.pool.acquire() as connection, connection.transaction():
            versions = await programs.load_all(connection)
            tier = versions.in_force(self.clock).tiers[rank].id
            call = Call(customer, f"r{self.count}", "proof", self.clock)
            await assign(connection, versions, call, Given(tier, until, locked, "note"))

    async def settle(self) -> None:
        """Apply all versions, and judge who is marked."""
        while await tiered.unfinished(self.pool):
            self.clock += SETTLED
            await apply_versions(self.pool, self.clock)
            await rejudge(self.pool, self.clock)

    async def look(self, days: int) -> tuple[Quiet, list[str]]:
        """Sweep so many days ahead while nothing else happens; returns what differs from the model."""
        at = self.clock + timedelta(days=days)
        quiet = await tiered.watch(self.pool, at, day.run(self.pool, at))
        return quiet, list(warnings(quiet, await self._expected(at), await self._events()))

    async def _expected(self, at: datetime) -> dict[str, list[Moment]]:
        stored = await tiered.read(self.pool)
        histories = [
            History(name, counted.replay(own).changes, stored.assignments.get(name, ()), at)
            for name, own in self.log.items()
        ]
        return tiers.warnings(stored.versions, histories, at)

    async def _events(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        by_customer: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for row in await self.pool.fetch("SELECT value FROM outbox ORDER BY id"):
            event = from_json(row["value"])
            by_customer[event["data"]["customer_id"]].append(event)
        return by_customer

    # At random.

    async def act(self) -> None:
        """One step: events, a tier by hand, a sweep of now, or one days ahead."""
        draw = self.random
        self.clock += timedelta(seconds=draw.uniform(0.2, 4))
        match draw.choices(("events", "by hand", "sweep", "ahead", "wait"), (50, 20, 10, 10, 10)):
            case ["events"]:
                await self.handle(*(self._draw(draw.choice(CUSTOMERS)) for _ in range(draw.randint(1, 15))))
            case ["by hand"]:
                seconds = draw.choice((None, 15, 40, 86_400, 3 * 86_400))
                until = None if seconds is None else self.clock + timedelta(seconds=seconds)
                locked = until is not None and draw.random() < 0.5
                await self.give(draw.choice(CUSTOMERS), draw.randrange(3), until, locked=locked)
            case ["sweep"]:
                await day.sweep_up(self.pool, self.clock)
            case ["ahead"]:
                await day.run(self.pool, self.clock + timedelta(days=draw.randint(1, 9)))
            case _:
                pass
        if draw.random() < 0.4:
            await rejudge(self.pool, self.clock)
        if draw.random() < 0.5:
            await apply_versions(self.pool, self.clock, may_finish=False)

    def _draw(self, customer: str) -> Event:
        """An event of about now, or days late, or dated days ahead."""
        draw, self.count = self.random, self.count + 1
        shift = draw.choices((0.0, -draw.uniform(1, 9), draw.uniform(0, 8)), (90, 5, 5))[0]
        at = self.clock - timedelta(seconds=draw.uniform(0, 3)) + timedelta(days=shift)
        bought = [event for event in self.log[customer][topics.PURCHASES] if event.type.endswith("completed.v1")]
        match draw.choices(("purchase", "refund", "review", "activity"), (70, 15, 8, 7)):
            case ["refund"] if bought:
                order: Any = draw.choice(bought).data
                return shop.refund(order.order_id, f"r{self.count}", "15.00", at, customer_id=customer)
            case ["review"]:
                return shop.review(f"v{self.count}", at, customer_id=customer)
            case ["activity"]:
                return shop.activity(f"a{self.count}", at, customer_id=customer)
            case _:
                total = draw.choice(("20.00", "70.00", "130.00", "240.00", "460.00"))
                return shop.purchase(f"o{self.count}", total, at, customer_id=customer)


async def test_an_end_that_a_sweep_has_passed_is_not_warned_of_by_one_that_looks_back(tiers_pool: Pool):
    office = Office(tiers_pool, Random(0))
    await office.publish(tiering.STEPWISE)
    for customer in ("ann", "bob", "eve"):
        await office.buy(customer, "200.00")
    await day.run(tiers_pool, END + timedelta(days=3))  # all of them have lost their tiers by then
    await office.buy("bob", "1.00")  # judged again by now, bob has his tier
    quiet, wrong = await office.look(3)
    assert quiet.passed == {"ann", "eve"}
    assert quiet.after == {("bob", END, 3): True}
    assert wrong == []


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_sweeps_ahead_between_events_and_requests_tell_what_the_model_tells(tiers_pool: Pool, seed: int):
    draw = Random(seed)
    office = Office(tiers_pool, draw, BEGIN.replace(hour=draw.choice((3, 12, 20, 21))))
    await office.publish(tiering.STEPWISE)
    others = draw.sample(tiering.DOCUMENTS, seed % 3)
    moments = dict(zip(sorted(draw.sample(range(5, STEPS), len(others) + 1)), (*others, tiering.STEPWISE), strict=True))
    for step in range(STEPS):
        if (document := moments.get(step)) is not None:
            await office.publish(document, soon=draw.random() < 0.5)
        await office.act()
    await office.settle()
    quiet, wrong = await office.look(draw.choice((3, 4, 6)))
    assert wrong == []
    assert any(customer not in quiet.passed for customer, _, _ in quiet.after.keys() - quiet.before.keys())
