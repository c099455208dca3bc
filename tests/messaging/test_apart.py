"""Decoding in a second process: it gives the same events, and ends when it has to."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import psutil
import pytest
from msgspec import structs

from shared.contracts.envelope import Record
from shared.contracts.packed import Flat
from shared.messaging import apart as module
from shared.messaging.apart import Apart, DecoderGoneError
from shared.messaging.batch import Here
from tests.contracts.records import EVERY_TYPE
from tests.messaging.log import ARRIVED, TOPIC, purchase, record, wait_until

LINE = {"line_id": "1", "sku": "tea", "quantity": 1, "amount": "10.00"}


def many(count: int = 400) -> list[Record]:
    """Records of every kind that a batch may have."""
    sorts = [
        lambda number: record(purchase(f"e{number}"), number),
        lambda number: record(purchase(f"e{number}", lines=[LINE]), number),
        lambda number: record(purchase(f"e{number}", total="-1"), number),
        lambda number: record(b"{", number),
        lambda number: record(None, number),
        lambda number: record({**purchase(f"e{number}"), "type": "shop.unheard.of.v1"}, number),
        lambda number: structs.replace(record(purchase(f"e{number}"), number), key=b"another"),
        lambda number: structs.replace(record(json.dumps(purchase(f"e{number}")).encode(), number), headers=()),
    ]
    return [sorts[number % len(sorts)](number) for number in range(count)]


class Observed(Apart):
    """Records whether the process decoded the last batch."""

    was_apart = False

    async def _ask(self, records: Sequence[Record]) -> list[Flat | None] | None:
        answer = await super()._ask(records)
        self.was_apart = answer is not None
        return answer


@pytest.fixture
async def apart() -> AsyncIterator[Observed]:
    decoder = Observed(EVERY_TYPE, patience=30.0)
    yield decoder
    await decoder.close()


def process_of(apart: Apart) -> psutil.Process:
    assert apart._process is not None
    return psutil.Process(apart._process.pid)


async def test_it_decodes_the_same_events_as_the_worker(apart: Observed):
    events, malformed = await apart.read(many())
    expected = await Here(EVERY_TYPE).read(many())
    assert (events, malformed) == expected
    assert apart.was_apart
    assert len(malformed) == 4 * 50


async def test_concurrent_reads_get_their_own_answers(apart: Observed):
    batches = [[record(purchase(f"e{number}-{index}"), index) for index in range(350)] for number in range(4)]
    for number, (events, _) in enumerate(await asyncio.gather(*map(apart.read, batches))):
        assert [event.id for event in events] == [f"e{number}-{index}" for index in range(350)]


async def test_a_small_batch_needs_no_process(apart: Observed):
    events, _ = await apart.read(many(240))
    assert len(events) == 3 * 30
    assert apart._process is None


async def test_a_batch_of_other_types_needs_no_process():
    apart = Apart(frozenset({"shop.review.published.v1"}))
    assert await apart.read(many()) == await Here(apart.wanted).read(many())
    assert apart._process is None


async def test_a_killed_process_is_an_error(apart: Observed):
    await apart.read(many())
    process_of(apart).kill()
    with pytest.raises(DecoderGoneError):
        await apart.read(many())


async def test_a_start_that_is_canceled_leaves_no_partial_answer(apart: Observed, monkeypatch: pytest.MonkeyPatch):
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def note(*words: str, **options: object) -> asyncio.subprocess.Process:
        started.append(await start(*words, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", note)
    reading = asyncio.create_task(apart.read(many()))
    await wait_until(lambda: bool(started))
    reading.cancel()
    await asyncio.wait([reading])
    assert started[0].returncode == -signal.SIGKILL, "it was waited for"
    decoded = await asyncio.wait_for(apart.read(many()), 20)
    assert decoded == await Here(EVERY_TYPE).read(many())
    assert apart.was_apart


async def test_without_an_idle_processor_the_worker_decodes(apart: Observed, monkeypatch: pytest.MonkeyPatch):
    await apart.read(many())
    process = process_of(apart)
    apart.patience = 0.05
    monkeypatch.setattr(module, "_RESPITE", 0.0)
    process.suspend()
    for _ in range(2):  # the second one asks nothing, since the first one is not answered yet
        decoded = await apart.read(many(320))
        assert decoded == await Here(EVERY_TYPE).read(many(320))
        assert not apart.was_apart
    process.resume()
    apart.patience = 30.0
    assert apart._asked is not None
    await asyncio.wait([apart._asked])
    decoded = await apart.read(many())
    assert decoded == await Here(EVERY_TYPE).read(many()), "not the late answer, which was about others"
    assert apart.was_apart


async def test_after_a_late_answer_it_pauses(apart: Observed):
    await apart.read(many())
    apart.patience = 0.0
    await apart.read(many())
    assert not apart.was_apart
    apart.patience = 30.0
    assert apart._asked is not None
    await asyncio.wait([apart._asked])
    await apart.read(many())
    assert not apart.was_apart


def test_pauses_grow_while_answers_are_late():
    apart = Apart(EVERY_TYPE)
    respites: list[float] = []
    for now in (100.0, 102.0, 107.0, 116.0, 133.0, 165.0):
        apart._rest(now)
        respites.append(apart._busy_until - now)
    assert respites == [2.0, 4.0, 8.0, 16.0, 16.0, 2.0]


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="a policy of Linux")
async def test_only_the_decoder_runs_at_idle_priority(apart: Observed):
    before = os.sched_getscheduler(0)  # idle too where the tests themselves run so
    await apart.read(many())
    assert os.sched_getscheduler(process_of(apart).pid) == os.SCHED_IDLE
    assert os.sched_getscheduler(0) == before


async def hanging(apart: Observed) -> asyncio.subprocess.Process:
    """A process that has been asked, and does not run: as where no processor is idle."""
    await apart.read(many())
    process_of(apart).suspend()
    apart.patience = 0.0
    await apart.read(many())
    assert apart._process is not None
    return apart._process


async def test_close_kills_a_process_that_does_not_end_and_waits_for_it(
    apart: Observed, monkeypatch: pytest.MonkeyPatch
):
    process = await hanging(apart)
    monkeypatch.setattr(module, "_STOP_SECONDS", 0.1)
    await apart.close()
    assert process.returncode == -signal.SIGKILL
    assert process._transport.is_closing(), "with its pipes"  # type: ignore[attr-defined]


async def test_a_close_that_is_canceled_waits_for_the_end_too(apart: Observed):
    process = await hanging(apart)
    closing = asyncio.create_task(apart.close())
    await asyncio.sleep(0.1)
    closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()
    assert process.returncode == -signal.SIGKILL


async def test_a_close_that_is_canceled_again_waits_for_the_end_too(apart: Observed):
    process = await hanging(apart)
    closing = asyncio.create_task(apart.close())
    await asyncio.sleep(0.1)
    for _ in range(4):
        closing.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([closing])
    assert closing.cancelled()
    assert process.returncode == -signal.SIGKILL


async def test_ctrl_c_does_not_end_the_decoder(apart: Observed):
    await apart.read(many())
    process = process_of(apart)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert (await apart.read(many()))[0]
    await apart.close()
    assert not process.is_running()


_WORKER = """
import asyncio, os
from tests.messaging.test_apart import EVERY_TYPE, Apart, many
async def main():
    apart = Apart(EVERY_TYPE, patience=30.0)
    await apart.read(many())
    print(apart._process.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_it_ends_with_a_worker_that_was_killed():
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WORKER, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert worker.stdout is not None
    pid = int(await asyncio.wait_for(worker.stdout.readline(), 30))
    os.kill(worker.pid, signal.SIGKILL)
    await worker.wait()
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "it outlives its worker"
        await asyncio.sleep(0.02)


async def test_decoded_events_have_their_original_records(apart: Observed):
    records = [record(purchase(f"e{number}"), number) for number in range(320)]
    events, _ = await apart.read(records)
    assert [event.record for event in events] == records
    assert {(event.record.topic, event.record.timestamp) for event in events} == {(TOPIC, ARRIVED)}
