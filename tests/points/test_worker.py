"""The worker's subscriptions, and the job that measures the ledger."""

from services.points import worker
from services.points.settings import Settings
from shared import telemetry
from shared.contracts.registry import TYPES
from shared.postgres.pool import Pool
from tests.points.books import NOW, deliver
from tests.points.shop import purchase


def test_each_type_is_read_from_its_topic():
    spec = worker.spec(Settings())
    wanted = {type_: subscription.topic for subscription in spec.subscriptions for type_ in subscription.types}
    assert wanted
    assert wanted == {type_: TYPES[type_].topic for type_ in wanted}


def test_only_events_with_a_timeline_are_read_of_tiers():
    types = {type_ for type_ in worker.spec(Settings()).wanted if type_.startswith("loyalty.tier.")}
    assert types == {f"loyalty.tier.{verb}.v1" for verb in ("promoted", "demoted", "retained", "corrected")}


async def test_the_job_measures_the_imbalance_of_the_ledger(points_pool: Pool):
    job, *_ = worker.spec(Settings()).jobs
    await deliver(points_pool, purchase("1", "100.00"))
    await job.run(points_pool, NOW)
    assert telemetry.LEDGER_IMBALANCE._value.get() == 0
    await points_pool.execute("UPDATE account SET available = available + 3")
    await job.run(points_pool, NOW)
    assert telemetry.LEDGER_IMBALANCE._value.get() == 3
