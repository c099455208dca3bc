"""The replay over the embedded broker: the published events, repeats, and the measured latency."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.partitioner import murmur2
from rich.console import Console

from deploy.local.broker import EmbeddedBroker
from deploy.sample import replay
from deploy.sample.grocer import Year
from deploy.sample.latency import RATE, Figures
from deploy.sample.progress import progress
from deploy.sample.replay import Options
from deploy.topics import PARTITIONS, create

TODAY = date(2026, 11, 22)
PURCHASES = "shop.purchases"


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    server = EmbeddedBroker()
    server.start()
    yield server
    server.stop()


def plain() -> Console:
    return Console(file=io.StringIO(), width=200)


def environment(broker: EmbeddedBroker) -> dict[str, str]:
    return {"WAFA_KAFKA_BOOTSTRAP": broker.bootstrap, "WAFA_KAFKA_IDEMPOTENCE": "false"}


def only_purchases(baskets: int) -> Options:
    return Options(today=TODAY, baskets=baskets, only_purchases=True)


@asynccontextmanager
async def reading(broker: EmbeddedBroker) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(PURCHASES, bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


@pytest.mark.journey
async def test_a_replay_publishes_every_basket_on_its_customers_partition_in_order(broker: EmbeddedBroker):
    await create(broker.bootstrap)
    expected = [basket.purchase for basket in Year.read(TODAY).of_baskets(2_500).baskets()]
    summary = await replay.replay(only_purchases(2_500), environment(broker), plain())
    async with reading(broker) as consumer:
        records = [await asyncio.wait_for(consumer.getone(), 10) for _ in expected]
    assert summary.events == {"shop.purchase.completed.v1": 2_500}
    assert summary.bulk.events == summary.baskets == 2_500
    assert summary.latency is None
    for record in records:
        assert record.key is not None
        assert record.partition == (murmur2(record.key) & 0x7FFFFFFF) % PARTITIONS
        assert dict(record.headers)["content-type"].startswith(b"application/cloudevents+json")
    for partition in range(PARTITIONS):
        seen = [json.loads(record.value)["data"] for record in records if record.partition == partition]
        keys = {data["customer_id"] for data in seen}
        assert seen == [data for data in expected if data["customer_id"] in keys]


@pytest.mark.journey
async def test_a_second_replay_publishes_the_same_events(broker: EmbeddedBroker):
    await create(broker.bootstrap)
    for _ in range(2):
        await replay.replay(only_purchases(40), environment(broker), plain())
    async with reading(broker) as consumer:
        values = [(await asyncio.wait_for(consumer.getone(), 10)).value for _ in range(80)]
    assert len(set(values)) == 40
    assert sorted(values) == sorted(2 * list(set(values)))


class Echo:
    """A stand-in for Wafa: answers every purchase with points and a message, `after` seconds later."""

    def __init__(self, broker: EmbeddedBroker, after: float) -> None:
        self.broker, self.after, self.answered = broker, after, asyncio.Semaphore(0)

    async def run(self) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.broker.bootstrap)
        await producer.start()
        try:
            async with reading(self.broker) as consumer:
                while True:
                    event = json.loads((await consumer.getone()).value)
                    await asyncio.sleep(self.after)
                    for topic, type_ in (
                        ("loyalty.points", "loyalty.points.earned.v1"),
                        ("loyalty.messages", "loyalty.message.sent.v1"),
                    ):
                        answer = json.dumps({"type": type_, "correlationid": event["id"]}).encode()
                        await producer.send_and_wait(topic, answer, key=b"somebody")
                    self.answered.release()
        finally:
            await producer.stop()

    async def drained(self) -> None:
        """Wait until half of the sample is answered."""
        async with asyncio.timeout(20):
            for _ in range(20):
                await self.answered.acquire()


@pytest.mark.journey
async def test_the_last_purchases_are_held_back_and_their_latency_is_measured(broker: EmbeddedBroker):
    await create(broker.bootstrap)
    echo = Echo(broker, after=0.01)
    answering = asyncio.create_task(echo.run())
    try:
        summary = await replay.replay(only_purchases(40), environment(broker), plain(), echo.drained)
    finally:
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
    assert summary.events == {"shop.purchase.completed.v1": 40}
    assert summary.bulk.events == 20
    assert summary.bulk.handled is not None
    assert summary.bulk.handled >= summary.bulk.published
    assert summary.latency is not None
    assert (summary.latency.purchases, summary.latency.rate) == (20, RATE)
    for figures in (summary.latency.points, summary.latency.message):
        assert len(figures.seconds) == 20
        assert 0.01 <= figures.percentile(50) <= figures.percentile(99) < 5


def test_percentiles_are_by_nearest_rank():
    figures = Figures(tuple(float(number) for number in range(1, 101)))
    assert (figures.percentile(50), figures.percentile(99), figures.percentile(100)) == (50.0, 99.0, 100.0)
    assert Figures((7.0,)).percentile(1) == 7.0


def test_the_default_is_the_whole_year_of_148_households():
    options = replay.options([], TODAY)
    assert (options.baskets, options.households, options.only_purchases) == (None, 148, False)


def test_all_selects_every_household():
    options = replay.options(["--baskets", "all", "--only", "purchases", "--seed", "9"], TODAY)
    assert (options.baskets, options.households, options.only_purchases, options.seed) == (None, None, True, 9)


def test_a_number_of_baskets():
    assert replay.options(["--baskets", "500"], TODAY).baskets == 500


@pytest.mark.parametrize(
    "argv", [["--baskets", "0"], ["--baskets", "some"], ["--baskets", "5", "--households", "2"], ["--only", "reviews"]]
)
def test_invalid_options_end_the_program(argv: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        replay.options(argv)
    assert "error:" in capsys.readouterr().err


def test_a_missing_setting_is_a_one_line_error(capsys: pytest.CaptureFixture[str]):
    assert replay.main(["--baskets", "1"], {}) == 1
    assert "WAFA_KAFKA_BOOTSTRAP is not set" in capsys.readouterr().err


def test_progress_is_plain_lines_without_a_terminal():
    written = io.StringIO()
    with progress(Console(file=written), "Baskets", 30) as advance:
        for _ in range(30):
            advance(1)
    assert written.getvalue().splitlines() == [f"Baskets: {done} of 30" for done in range(3, 31, 3)]


def test_progress_is_a_bar_on_a_terminal():
    written = io.StringIO()
    with progress(Console(file=written, force_terminal=True), "Baskets", 30) as advance:
        advance(30)
    assert "30/30" in written.getvalue()
