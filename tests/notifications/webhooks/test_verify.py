"""`verify` finds what is wrong with webhooks."""

from datetime import UTC, datetime

import pytest

from services.notifications.store import auditing_webhooks
from shared.postgres import checks
from shared.postgres.pool import Pool
from tests.notifications import world as shop
from tests.notifications.channels.web import FakeWeb, answer, serving
from tests.notifications.webhooks.world import add, dispatcher, send

WRONG = {
    "states of webhooks are valid": [
        "state = 'failed', due_at = NULL, attempts = 0, tries = 0, log = '[]'",
        "state = 'delivered', due_at = NULL, log = '[{\"status\": 500}]'",
        "state = 'pending', due_at = now() + interval '3 days'",
        "log = log || log",
        "tries = attempts + 1",
    ],
    "webhooks have their endpoint": ["endpoint_id = uuidv7()"],
    "webhooks tell of their event": [
        "payload = 'x'",
        "payload = '{}'",
        "type = 'loyalty.tier.promoted.v1'",
        "customer_id = 'ben'",
        "occurred_at = now()",
    ],
    "no webhook tells of erased customers": ["customer_id = 'eve'"],
}


async def failing(pool: Pool) -> set[str]:
    async with checks.snapshot(pool) as connection:
        queries = auditing_webhooks.queries(datetime.now(UTC))
        return {check.name async for check in checks.ask(connection, queries) if check.offenders}


@pytest.mark.parametrize("name, change", [(name, change) for name, changes in WRONG.items() for change in changes])
async def test_what_is_wrong_is_found(pool: Pool, name: str, change: str):
    async with serving(FakeWeb(lambda _: answer(200))) as fake:
        await add(pool, fake.url)
        await shop.handle(pool, shop.moved("activated", "mona", 1))
        await send(pool, dispatcher())
    await add(pool, "https://shop.example.org/")
    await shop.handle(pool, shop.moved("activated", "mona", 2))
    await shop.handle(pool, shop.erased("eve", shop.NOW))
    await pool.execute("UPDATE erasure SET look_at = NULL")
    assert await failing(pool) == set()
    await pool.execute(f"UPDATE webhook_delivery SET {change} WHERE state = 'delivered'")
    assert name in await failing(pool)
