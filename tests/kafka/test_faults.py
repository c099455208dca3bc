"""20,000 events, ten kills, a broker restart and a crash of PostgreSQL: the results equal those of a quiet run."""

import asyncio
import importlib
from collections import Counter
from collections.abc import Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from random import Random

import pytest

from deploy.local.kafka import ApacheKafka
from deploy.local.postgres import Postgres
from deploy.sample.cloudevent import CloudEvent
from deploy.sample.grocer import Year, end_of_sample
from deploy.sample.made_up import MadeUp, referrals
from deploy.sample.publisher import connect
from services.points.handlers.resettling import resettle
from shared.messaging.worker import EXIT_RESTART, WorkerSpec
from shared.postgres.pool import Pool, open_pool
from tests.kafka import books
from tests.kafka.faults import Faults, Lag
from tests.support import postgres, wire
from tests.support.fleet import Fleet
from tests.support.stack import Stack

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

EVENTS = 20_000
KILLS = 10
PARTS = 20
MOST_PARTS = 200
"""Maximum number of publications of a part until all faults have taken effect."""
WORKERS = ("points", "points", "tiers", "referrals", "notifications")
ALPHABET = "23456789"

STANDING_SQL = "SELECT customer_id, available, pending, held, debt, earned FROM account ORDER BY customer_id"
TIMELINES_SQL = "SELECT customer_id, effective_at, tier FROM timeline ORDER BY customer_id, effective_at"
REFERRALS_SQL = "SELECT advocate_id, friend_id, state, order_id FROM referral ORDER BY friend_id, state"


class Stream:
    """The first 20,000 events of the sample with their invented related events, and the codes that they use."""

    def __init__(self) -> None:
        today = datetime.now(UTC).date()
        sample = Year.read(today).of_baskets(EVENTS)
        made_up = MadeUp(1, end_of_sample(today))
        visits = sample.first_visits()
        pairs = referrals(sample.households)
        advocates = sorted({pair.advocate for pair in pairs})
        self.codes = {advocate: _code(number) for number, advocate in enumerate(advocates)}
        prepared = [made_up.registration(household, visits[household]) for household in sample.households]
        prepared += [made_up.sign_up(pair, self.codes[pair.advocate], visits[pair.friend]) for pair in pairs]
        self.events = list(islice(made_up.along(sample.baskets(), prepared), EVENTS))

    def parts(self) -> list[list[CloudEvent]]:
        """The events in parts."""
        size = -(-len(self.events) // PARTS)
        return [self.events[start : start + size] for start in range(0, len(self.events), size)]

    async def give_codes(self, url: str) -> None:
        """Create the advocates' codes."""
        async with await open_pool(url, application="wafa-test", max_size=1) as pool:
            rows = [(str(advocate), code) for advocate, code in self.codes.items()]
            await pool.executemany("INSERT INTO referral_code VALUES ($1, $2, now())", rows)


def _code(number: int) -> str:
    return "".join(ALPHABET[number // 8**place % 8] for place in range(8))


@pytest.fixture(scope="module")
def stream() -> Stream:
    return Stream()


def spec(service: str) -> WorkerSpec:
    settings = importlib.import_module(f"services.{service}.settings").Settings()
    return importlib.import_module(f"services.{service}.worker").spec(settings)


async def quiet_run(stream: Stream, server_url: str) -> list[list[tuple]]:
    """Balances, timelines and referrals of the same events on the handlers, without a broker or a fault."""
    urls = {service: await postgres.make_database(server_url, service) for service in ("points", "tiers", "referrals")}
    await stream.give_codes(urls["referrals"])
    events = list(wire.events(stream.events))
    types = []
    for service in ("tiers", "referrals"):
        async with await open_pool(urls[service], application="wafa-test") as pool:
            await _apply(pool, service, events)
            types += await wire.announced(pool, tuple(spec("points").wanted))
    async with await open_pool(urls["points"], application="wafa-test") as pool:
        await _apply(pool, "points", events + types)
        await resettle(pool, datetime.now(UTC))
    return await standings(urls)


async def _apply(pool: Pool, service: str, events: list) -> None:
    worker_spec = spec(service)
    await wire.deliver(pool, worker_spec.handle, (event for event in events if event.type in worker_spec.wanted))


async def standings(urls: dict[str, str]) -> list[list[tuple]]:
    rows = []
    for service, query in (("points", STANDING_SQL), ("tiers", TIMELINES_SQL), ("referrals", REFERRALS_SQL)):
        async with await open_pool(urls[service], application="wafa-test", max_size=1) as pool:
            rows.append([tuple(row) for row in await pool.fetch(query)])
    return rows


@asynccontextmanager
async def supervised(fleet: Fleet):
    """Restart workers that end, as a production supervisor does."""
    keeping = asyncio.create_task(fleet.keep())
    try:
        yield
        assert not keeping.done(), keeping.exception()
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def publish(bootstrap: str, events: Sequence[CloudEvent]) -> None:
    async with connect(bootstrap, idempotent=True) as publisher:
        await publisher.publish(events, lambda _: None)


async def publish_through_faults(stack: Stack, stream: Stream, server: Postgres) -> tuple[Counter[str], list[str]]:
    """Publish the stream, and inject the faults one after another; returns their number by kind, and the victims.

    A part may be handled before a fault finds a worker at work. Then the next part gets it; after the last part, the
    stream is published again, as by a producer that retries: repeats have no effect.
    """
    struck: Counter[str] = Counter()
    victims: list[str] = []
    async with Lag.of(stack) as lag:
        faults = Faults(stack, lag, Random(7))
        kill = ("kill", faults.kill_a_worker)
        planned = [
            *[kill] * 4,
            ("broker", faults.restart_the_broker),
            *[kill] * 3,
            ("server", partial(faults.restart_the_server, server)),
            *[kill] * (KILLS - 7),
        ]
        for number, part in enumerate(islice(cycle(stream.parts()), MOST_PARTS)):
            if number >= PARTS and not planned:
                break
            publishing = asyncio.create_task(publish(stack.broker.bootstrap, part))
            if planned and (victim := await planned[0][1](publishing)):
                struck[planned.pop(0)[0]] += 1
                victims.append(victim)
            await publishing
    return struck, victims


async def test_the_results_equal_those_of_a_quiet_run(
    kafka: ApacheKafka, durable: Postgres, postgres_url: str, folder: Path, stream: Stream
):
    assert len(stream.events) == EVENTS
    stack = await Stack.make(kafka, durable.url(), folder)
    # Small batches: faults hit more transactions, and a worker has work left for longer.
    stack.env |= {f"WAFA_{service.upper()}_BATCH_SIZE": "50" for service in stack.services}
    await stream.give_codes(stack.database_url("referrals"))
    try:
        await stack.ready(*(stack.worker(service) for service in WORKERS))
        async with supervised(stack.fleet):
            struck, victims = await publish_through_faults(stack, stream, durable)
            await stack.drain(seconds=240)
            await stack.ready(*stack.workers)
        assert struck == {"kill": KILLS, "broker": 1, "server": 1}
        ends = [code for _, code in stack.fleet.ends]
        assert ends.count(-9) >= KILLS
        assert set(ends) <= {-9, EXIT_RESTART}
        codes = await stack.fleet.end_workers()
        assert set(codes.values()) == {0}, codes
    finally:
        stack.stop()
    await books.check_nothing_was_refused(stack)
    await books.check_the_ledger(stack)
    repeats = await books.check_every_transaction_is_published(stack)
    await books.check_every_event_had_its_effect_once(stack)
    # `make test-kafka` shows these numbers as evidence.
    print(f"\n{EVENTS} events, struck {victims}, {len(ends)} restarts, {repeats} published again")  # noqa: T201
    disturbed = await standings({service: stack.database_url(service) for service in stack.services})
    assert disturbed == await quiet_run(stream, postgres_url)
