"""The loop runs one step of one task at a time, in the seed's order; its clock stands still while a task can run."""

import asyncio
from random import Random

import pytest

from tests.simulation.loop import DeadlockError, Loop, Process
from tests.simulation.trace import Trace


def order(seed: int) -> str:
    """The order of three tasks with three steps each."""
    taken: list[str] = []

    async def steps(name: str) -> None:
        for _ in range(3):
            taken.append(name)
            await asyncio.sleep(0)

    async def all_of_them() -> None:
        await asyncio.gather(*map(steps, "abc"))

    played(seed, all_of_them())
    return "".join(taken)


def played(seed: int, work: object) -> Loop:
    loop = Loop(Random(seed), Trace())
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()
    return loop


def test_the_order_is_drawn_from_the_seed():
    assert [order(seed) for seed in range(20)] == [order(seed) for seed in range(20)]
    assert len({order(seed) for seed in range(20)}) > 10


def test_the_clock_moves_when_no_task_can_run():
    async def spin() -> float:
        for _ in range(100):
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    async def both() -> None:
        spinning = asyncio.create_task(spin())
        await asyncio.sleep(86_400)
        assert spinning.result() == 0.0

    assert played(1, both()).time() == 86_400


def test_a_stopped_process_runs_its_timers_after_it_resumes():
    done: list[float] = []
    process = Process("stopped")

    async def work() -> None:
        while len(done) < 3:
            await asyncio.sleep(1)
            done.append(asyncio.get_running_loop().time())

    async def world() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        working = loop.create_task(work(), context=process.context)
        await asyncio.sleep(1.5)
        process.state = "stopped"
        await asyncio.sleep(8.5)
        assert done == [1.0]
        loop.thaw(process)
        await working

    played(1, world())
    assert done == [1.0, 10.0, 11.0]


def test_a_task_that_can_never_continue_raises():
    with pytest.raises(DeadlockError):
        played(1, asyncio.Event().wait())
