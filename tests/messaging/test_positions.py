"""Positions belong to a cluster and a group, and move by compare-and-set."""

import pytest

from shared.messaging import positions
from shared.messaging.batch import Span
from shared.messaging.positions import Group, PositionMovedError
from shared.postgres.pool import Pool
from tests.messaging.log import GROUP


async def test_positions_begin_and_advance(platform_pool: Pool):
    async with platform_pool.acquire() as connection:
        await positions.advance(connection, GROUP, {("t", 0): Span(None, 5), ("t", 1): Span(None, 7)})
        await positions.advance(connection, GROUP, {("t", 1): Span(7, 9), ("u", 0): Span(None, 1)})
    assert await positions.load(platform_pool, GROUP) == {("t", 0): 5, ("t", 1): 9, ("u", 0): 1}


async def test_positions_belong_to_cluster_and_group(platform_pool: Pool):
    others = Group("cluster-2", GROUP.name), Group(GROUP.cluster_id, "wafa-other")
    async with platform_pool.acquire() as connection:
        await positions.advance(connection, GROUP, {("t", 0): Span(None, 5)})
        for other in others:
            assert await positions.load(platform_pool, other) == {}
            await positions.advance(connection, other, {("t", 0): Span(None, 1)})
    assert await positions.load(platform_pool, GROUP) == {("t", 0): 5}


@pytest.mark.parametrize("span", [Span(None, 9), Span(4, 9), Span(6, 9)])
async def test_a_start_other_than_the_stored_position_is_refused(platform_pool: Pool, span: Span):
    async with platform_pool.acquire() as connection:
        await positions.advance(connection, GROUP, {("t", 0): Span(None, 5)})
        with pytest.raises(PositionMovedError):
            await positions.advance(connection, GROUP, {("t", 0): span})
    assert await positions.load(platform_pool, GROUP) == {("t", 0): 5}


async def test_a_position_that_was_never_stored_cannot_be_advanced(platform_pool: Pool):
    async with platform_pool.acquire() as connection:
        with pytest.raises(PositionMovedError):
            await positions.advance(connection, GROUP, {("t", 0): Span(0, 5)})


async def test_positions_can_be_set(platform_pool: Pool):
    async with platform_pool.acquire() as connection:
        await positions.put(connection, GROUP, ("t", 0), 12)
        await positions.put(connection, GROUP, ("t", 0), 3)
        await positions.advance(connection, GROUP, {("t", 0): Span(3, 4)})
    assert await positions.load(platform_pool, GROUP) == {("t", 0): 4}
