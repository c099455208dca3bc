"""Lets workers join their groups before the first record is read, so that all start at one moment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from shared.postgres.pool import Pool
from tests.bench.pace import settle
from tests.bench.testbed import Testbed

_JOIN_SECONDS: Final = 20.0

BAR_SQL = "LOCK TABLE position IN ACCESS EXCLUSIVE MODE"


@asynccontextmanager
async def barred(pool: Pool) -> AsyncIterator[None]:
    """Block the reading of positions in this context: workers join their group first."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(BAR_SQL)
        yield


async def joined(bed: Testbed, service: str, members: int = 1) -> None:
    """Wait until a service's group has `count` members with assigned partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bed.bootstrap)
    await admin.start()

    async def all_are_in() -> bool:
        return await _members(admin, f"wafa-{service}") == members

    try:
        await settle(all_are_in, _JOIN_SECONDS)
    finally:
        await admin.close()


async def _members(admin: AIOKafkaAdminClient, group: str) -> int:
    """Number of members with partitions; 0 during a rebalance."""
    try:
        (answer,) = await admin.describe_consumer_groups([group])
    except GroupCoordinatorNotAvailableError:  # a broker that has just started
        return 0
    _, _, state, _, _, members, *_ = answer.groups[0]
    return len(members) if state == "Stable" else 0
