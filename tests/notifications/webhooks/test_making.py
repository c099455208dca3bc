"""Which webhooks an event makes, in its transaction, and what is left of them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from services.notifications.store import deliveries, endpoints
from shared.postgres.pool import Pool
from tests.notifications import world as shop
from tests.notifications.webhooks.world import add, rows

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
URL = "https://shop.example.org/hooks"


async def test_only_events_from_now_on_and_of_its_types_are_heard(pool: Pool):
    await shop.handle(pool, shop.earned("mona", 1))
    await add(pool, URL, "loyalty.tier.*")
    await shop.handle(pool, shop.earned("mona", 2), shop.tier("demoted", "mona", "member"), shop.registered("mona"))
    assert [row["type"] for row in await rows(pool)] == ["loyalty.tier.demoted.v1"]


async def test_events_that_lead_to_no_message_are_heard(pool: Pool):
    await add(pool, URL, "loyalty.points.*", "loyalty.referral.*")
    await shop.handle(pool, shop.moved("activated", "mona", 5), shop.referral("rejected", "mona", "ben"))
    assert [row["type"] for row in await rows(pool)] == ["loyalty.points.activated.v1", "loyalty.referral.rejected.v1"]


async def test_each_endpoint_has_its_own_delivery(pool: Pool):
    one, two = await add(pool, URL), await add(pool, URL, "loyalty.points.*")
    await shop.handle(pool, shop.moved("activated", "mona", 5), shop.tier("retained", "mona", "gold"))
    made = {(row["endpoint_id"], row["type"]) for row in await rows(pool)}
    assert made == {
        (one.id, "loyalty.points.activated.v1"),
        (two.id, "loyalty.points.activated.v1"),
        (one.id, "loyalty.tier.retained.v1"),
    }


async def test_fields_that_this_version_does_not_know_are_sent(pool: Pool):
    await add(pool, URL, "loyalty.points.*")
    await shop.handle(pool, shop.earned("mona", 5, campaign={"name": "عيد", "share": 0.1}))
    assert json.loads((await rows(pool))[0]["payload"])["data"]["campaign"] == {"name": "عيد", "share": 0.1}


async def test_without_an_endpoint_that_is_enabled_nothing_is_stored(pool: Pool):
    gone, off = await add(pool, URL), await add(pool, URL)
    async with pool.acquire() as connection:
        await endpoints.delete(connection, gone.id, shop.NOW)
    await pool.execute("UPDATE webhook_endpoint SET enabled = false WHERE id = $1", off.id)
    await shop.handle(pool, shop.earned("mona", 2))
    assert await rows(pool) == []


async def test_a_repeated_event_is_delivered_once(pool: Pool):
    await add(pool, URL, "loyalty.points.*")
    event = shop.moved("activated", "mona", 5)
    await shop.handle(pool, event)
    await shop.handle(pool, event)
    assert [row["webhook_id"] for row in await rows(pool)] == [event.id]


async def test_an_erased_customer_leaves_no_payload(pool: Pool):
    await add(pool, URL, "loyalty.points.*")
    before, after = shop.ago(hours=2), shop.ago(minutes=5)
    await shop.handle(pool, shop.moved("activated", "mona", 1, before), shop.moved("activated", "ben", 1, before))
    await shop.handle(pool, shop.erased("mona", shop.ago(hours=1)))
    await shop.handle(pool, shop.moved("activated", "mona", 2, before), shop.moved("activated", "mona", 3, after))
    assert [(row["customer_id"], row["occurred_at"]) for row in await rows(pool)] == [("ben", before), ("mona", after)]


async def test_deliveries_are_forgotten(pool: Pool):
    await add(pool, URL)
    await shop.handle(pool, shop.moved("activated", "mona", 1))
    now = datetime.now(UTC)
    await deliveries.forget(pool, now + deliveries.KEPT_FOR - timedelta(hours=1))
    assert len(await rows(pool)) == 1
    await deliveries.forget(pool, now + deliveries.KEPT_FOR + timedelta(hours=1))
    assert await rows(pool) == []


async def test_a_deleted_endpoint_is_cleared(pool: Pool):
    endpoint, other = await add(pool, URL), await add(pool, URL)
    await shop.handle(pool, shop.moved("activated", "mona", 1))
    async with pool.acquire() as connection:
        assert await endpoints.delete(connection, endpoint.id, LONG_AGO)
        assert not await endpoints.delete(connection, endpoint.id, LONG_AGO)
    await endpoints.clear(pool, datetime.now(UTC))
    assert [row["endpoint_id"] for row in await rows(pool)] == [other.id]
    assert await pool.fetchval("SELECT count(*) FROM webhook_endpoint") == 1


def test_all_that_notifications_publishes_is_told_to_endpoints():
    """Whoever writes to the outbox does it by `announcing.announce`, which webhooks hear of."""
    writers = [path for path in Path("services/notifications").rglob("*.py") if "outbox" in path.read_text()]
    assert writers == [Path("services/notifications/handlers/announcing.py")]
