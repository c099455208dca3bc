"""A grocer's real purchases: every household's balance, spend and tier equals an independent computation.

Over the embedded broker a month of them, over Apache Kafka the whole year; and a month on the
handlers, in orders of arrival that a broker would hardly bring about.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from deploy.local.broker import EmbeddedBroker
from deploy.sample.cloudevent import CloudEvent
from deploy.sample.grocer import Year, purchase
from deploy.sample.publisher import connect
from services.points.handlers import events as points
from services.points.handlers.verifying import verify
from services.tiers.handlers.events import handle as handle_tiers
from services.tiers.handlers.verifying import verify as verify_tiers
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool, open_pool
from tests.support import grocer, wire
from tests.support.grocer import Standing
from tests.support.stack import Stack
from tests.tiers.applied import read_status

MONTH = 11
TOLD = ("loyalty.tier.promoted.v1", "loyalty.tier.demoted.v1", "loyalty.tier.corrected.v1")
BALANCES_SQL = "SELECT customer_id, available FROM account WHERE customer_id = ANY($1::text[])"


def bought(orders: Sequence[grocer.Order]) -> list[CloudEvent]:
    """The purchases of these orders, as the sample publishes them, in the order of (time, basket id)."""
    year = Year.read(datetime.now(UTC).date())
    wanted = pc.is_in(year._lines["basket_id"], pa.array(order.basket for order in orders))
    found = list(map(purchase, replace(year, _lines=year._lines.filter(wanted)).everything().baskets()))
    assert len(found) == len(orders)
    return found


def some() -> list[grocer.Order]:
    """The month of every third household."""
    return [order for order in grocer.month(MONTH) if order.household % 3 == 0]


@pytest.fixture(scope="module")
def month() -> list[Event]:
    """Their purchases, as a worker decodes them."""
    return list(wire.events(bought(some())))


async def check_points(points_pool: Pool, expected: Mapping[str, Standing]) -> None:
    """Each household's balance is what the files say, and the books hold together."""
    balances = dict(await points_pool.fetch(BALANCES_SQL, list(expected)))
    assert balances == {household: standing.balance for household, standing in expected.items()}
    assert [check.name async for check in verify(points_pool, 20_000) if check.offenders] == []


async def check_tiers(tiers_pool: Pool, expected: Mapping[str, Standing]) -> None:
    """Each household's tier and spend is what the files say, and what is stored holds together."""
    now = datetime.now(UTC)
    for household, standing in expected.items():
        status = await read_status(tiers_pool, household, now)
        assert (household, status.tier.id, status.spend) == (household, standing.tier, Fraction(standing.spend))
    assert [check.name async for check in verify_tiers(tiers_pool, 20_000, now) if check.offenders] == []


@pytest.mark.deep
@pytest.mark.timeout(1200)
async def test_over_a_broker(stack: Stack):
    orders = grocer.month(MONTH) if isinstance(stack.broker, EmbeddedBroker) else grocer.year()
    idempotent = stack.env["WAFA_KAFKA_IDEMPOTENCE"] == "true"
    async with connect(stack.broker.bootstrap, idempotent=idempotent) as publisher:
        await publisher.publish(bought(orders), lambda _: None)
    await stack.drain(seconds=900)
    expected = grocer.standings(orders)
    async with await open_pool(stack.database_url("points"), application="wafa-test", max_size=1) as pool:
        await check_points(pool, expected)
    async with await open_pool(stack.database_url("tiers"), application="wafa-test", max_size=1) as pool:
        await check_tiers(pool, expected)


@pytest.mark.deep
async def test_with_tiers_stopped_until_points_has_handled_everything(
    points_pool: Pool, tiers_pool: Pool, month: list[Event]
):
    await wire.deliver(points_pool, points.handle, month)
    await wire.deliver(tiers_pool, handle_tiers, month)
    await wire.deliver(points_pool, points.handle, await wire.announced(tiers_pool, TOLD))
    expected = grocer.standings(some())
    await check_points(points_pool, expected)
    await check_tiers(tiers_pool, expected)


@pytest.mark.deep
async def test_with_customers_interleaved_differently(points_pool: Pool, tiers_pool: Pool, month: list[Event]):
    # Stable: each customer's own events keep their order, whole customers come one after the other.
    by_customer = sorted(month, key=lambda event: event.customer_id[::-1])
    await wire.deliver(tiers_pool, handle_tiers, by_customer)
    await wire.deliver(points_pool, points.handle, await wire.announced(tiers_pool, TOLD))
    await wire.deliver(points_pool, points.handle, by_customer)
    expected = grocer.standings(some())
    await check_points(points_pool, expected)
    await check_tiers(tiers_pool, expected)


@pytest.mark.deep
async def test_with_a_customers_orders_shuffled_in_time(points_pool: Pool, tiers_pool: Pool, month: list[Event]):
    shuffled = random.Random(1).sample(month, len(month))
    half = len(shuffled) // 2
    for part in (shuffled[:half], shuffled[half:]):
        await wire.deliver(points_pool, points.handle, part)
        await wire.deliver(tiers_pool, handle_tiers, part)
        await wire.deliver(points_pool, points.handle, await wire.announced(tiers_pool, TOLD))
    expected = grocer.standings(some())
    await check_points(points_pool, expected)
    await check_tiers(tiers_pool, expected)
