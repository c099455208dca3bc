"""What the worker subscribes to, and its job."""

from services.points import worker
from services.points.settings import Settings
from shared import telemetry
from shared.contracts.registry import TYPES
from shared.postgres.pool import Pool
from tests.points.books import NOW, deliver
from tests.points.shop import purchase


def test_each_type_is_read_from_its_topic():
    spec = worker.spec(Settings())
    wanted = {type_: one.topic for one in spec.subscriptions for type_ in one.types}
    assert wanted == {type_: TYPES[type_].topic for type_ in wanted}
    assert wanted.keys() == {
        "shop.purchase.completed.v1",
        "shop.purchase.refunded.v1",
        "shop.purchase.delivered.v1",
        "shop.activity.performed.v1",
        "shop.survey.answered.v1",
        "shop.customer.registered.v1",
        "shop.customer.updated.v1",
        "shop.customer.erased.v1",
        "shop.review.published.v1",
        "shop.review.withdrawn.v1",
        "loyalty.tier.promoted.v1",
        "loyalty.tier.demoted.v1",
        "loyalty.tier.retained.v1",
        "loyalty.tier.corrected.v1",
        "loyalty.referral.approved.v1",
        "loyalty.referral.voided.v1",
    }


async def test_the_job_measures_what_the_ledger_is_out_by(points_pool: Pool):
    job, *_ = worker.spec(Settings()).jobs
    await deliver(points_pool, purchase("1", "100.00"))
    await job.run(points_pool, NOW)
    assert telemetry.LEDGER_IMBALANCE._value.get() == 0
    await points_pool.execute("UPDATE account SET available = available + 3")
    await job.run(points_pool, NOW)
    assert telemetry.LEDGER_IMBALANCE._value.get() == 3
