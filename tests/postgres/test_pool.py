"""Which failures of the database are transient."""

import asyncio

import asyncpg
import pytest

from shared.postgres.pool import Pool, is_transient


async def test_a_connection_lost_during_its_release_is_a_transient_failure(platform_pool: Pool):
    proxy = await platform_pool.acquire()
    connection = proxy._con
    releasing = asyncio.create_task(platform_pool.release(proxy))
    await asyncio.sleep(0)
    connection.terminate()
    with pytest.raises(asyncpg.InternalClientError) as failed:
        await releasing
    assert is_transient(failed.value)


def test_another_failure_inside_the_driver_is_not_transient():
    assert not is_transient(asyncpg.InternalClientError("_on_result: waiter is None"))


def test_failures_of_several_tasks_are_transient_if_all_are():
    lost, wrong = ConnectionResetError(), ValueError()
    assert is_transient(ExceptionGroup("tasks", [lost, ExceptionGroup("tasks", [lost])]))
    assert not is_transient(ExceptionGroup("tasks", [lost, wrong]))
