"""The statements and rows of an event do not depend on the number of the customer's messages."""

import pytest

from services.notifications.handlers import events as handler
from services.notifications.store import messages
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.notifications.world import NOW, ago, desk, earned, handle, referral, registered, updated
from tests.support.counting import Counting

MONA = {"name": "Mona", "email": "mona@example.org"}


async def cost(pool: Pool, *events: Event) -> tuple[int, int]:
    """The numbers of statements and rows of a batch, which is applied."""
    async with pool.acquire() as connection, connection.transaction():
        counting = Counting(connection)
        await handler.handle(desk(), counting, events, NOW)  # pyright: ignore[reportArgumentType]
        return counting.statements, counting.rows


@pytest.fixture
async def full(pool: Pool) -> Pool:
    """Mona has 1,000 messages, and changed her name 500 times."""
    await handle(pool, registered("mona", ago(days=1), **MONA))
    await handle(pool, *(earned("mona", 5) for _ in range(500)))
    await handle(pool, *(updated("mona", ago(minutes=number), name=f"Mona {number}") for number in range(500)))
    return pool


async def test_an_event_reads_a_profile_and_its_own_rows_only(full: Pool):
    for event in (updated("mona", name="Mona"), earned("mona", 5), referral("approved", "mona", "fay")):
        statements, rows = await cost(full, event)
        assert statements < 14
        assert rows < 13


EXPLAINED = "EXPLAIN (FORMAT TEXT) " + messages.RELEASE_SQL


async def test_held_mails_are_selected_by_an_index(full: Pool):
    await full.execute("VACUUM ANALYZE message")
    plan = "\n".join(row[0] for row in await full.fetch(EXPLAINED, ["mona"], NOW))
    assert "message_held" in plan
