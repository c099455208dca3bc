"""Natural keys, and refunds that come before their purchase, against a real database."""

from decimal import Decimal

import pytest

from shared.contracts.reasons import Reason
from shared.postgres.pool import Pool
from tests.tiers.applied import apply, read_status, timeline
from tests.tiers.conftest import Counted
from tests.tiers.shop import NOON, day, purchase, refund


class TestWaitingRefunds:
    async def test_they_count_when_their_purchase_arrives(self, tiers_pool: Pool):
        assert await apply(tiers_pool, refund("1", "r", "0.01", NOON)) == []
        await apply(tiers_pool, purchase("1", "500.00", NOON))
        assert await tiers_pool.fetchval("SELECT sum(amount) FROM taken") == Decimal("-0.01")
        assert await tiers_pool.fetchval("SELECT count(*) FROM waiting") == 0
        assert await tiers_pool.fetchval("SELECT count(*) FROM refund") == 1

    async def test_within_a_batch_too(self, tiers_pool: Pool):
        await apply(tiers_pool, refund("1", "r", "1.00", day(1)), purchase("1", "500.00", day(0)))
        assert await timeline(tiers_pool) == [(day(0), "silver")]
        assert (await read_status(tiers_pool, "ann", day(2))).spend == 499

    async def test_one_that_does_not_fit_is_refused_as_it_came(self, tiers_pool: Pool):
        misfit = refund("1", "r", "1.00", currency="EUR")
        stray = refund("1", "s", "1.00", lines=[("z", "1.00")])
        assert await apply(tiers_pool, misfit) == []
        refusals = await apply(tiers_pool, stray, purchase("1", "5.00", lines=[("a", "5.00")]))
        assert [(refusal.event.id, refusal.reason) for refusal in refusals] == [
            (misfit.id, Reason.CURRENCY_MISMATCH),
            (stray.id, Reason.UNKNOWN_LINE),
        ]
        assert refusals[0].event.record.value == misfit.record.value
        assert await tiers_pool.fetchval("SELECT count(*) FROM refund") == 0

    async def test_one_that_comes_again_waits_once(self, tiers_pool: Pool):
        again = refund("1", "r", "1.00")
        await apply(tiers_pool, refund("1", "r", "1.00"))
        await apply(tiers_pool, again, refund("1", "r", "2.00"))
        await apply(tiers_pool, refund("1", "r", "1.00"), purchase("1", "5.00"))
        assert await tiers_pool.fetchval("SELECT sum(amount) FROM taken") == -1


class TestNaturalKeys:
    async def test_an_order_that_comes_again_has_no_effect(self, tiers_pool: Pool, counted: Counted):
        await apply(tiers_pool, purchase("1", "300.00"))
        assert await apply(tiers_pool, purchase("1", "300.00"), purchase("1", "300.00")) == []
        assert counted() == {"natural_key": 2}
        assert (await read_status(tiers_pool, "ann", day(1))).spend == 300

    @pytest.mark.parametrize("together", [True, False])
    async def test_a_repeat_with_other_content_is_counted_apart(
        self, tiers_pool: Pool, counted: Counted, *, together: bool
    ):
        first, *repeats = (
            purchase("1", "300.00", lines=[("a", "300.00")]),
            purchase("1", "300.00", lines=[("a", "300.00")]),
            purchase("1", "301.00", lines=[("a", "301.00")]),
            purchase("1", "300.00", lines=[("a", "300.00")], sku="another"),
            purchase("1", "300.00", day(1), lines=[("a", "300.00")]),
            purchase("1", "300.00", lines=[("a", "300.00")], currency="EUR"),
        )
        for batch in [(first, *repeats)] if together else [(first,), *((repeat,) for repeat in repeats)]:
            assert await apply(tiers_pool, *batch) == []
        assert counted() == {"natural_key": 1, "repeat_differs": 4}
        assert (await read_status(tiers_pool, "ann", day(1))).spend == 300

    @pytest.mark.parametrize("together", [True, False])
    async def test_an_order_from_another_source_is_refused(self, tiers_pool: Pool, *, together: bool):
        first, second = purchase("1", "300.00"), purchase("1", "300.00", source="/shop/other")
        if together:
            refusals = await apply(tiers_pool, first, second)
        else:
            await apply(tiers_pool, first)
            refusals = await apply(tiers_pool, second)
        assert [(refusal.event, refusal.reason) for refusal in refusals] == [(second, Reason.ORDER_CONFLICT)]

    async def test_a_refund_that_comes_again_has_no_effect(self, tiers_pool: Pool, counted: Counted):
        await apply(tiers_pool, purchase("1", "300.00"), refund("1", "r", "10.00"))
        await apply(tiers_pool, refund("1", "r", "10.00"), refund("1", "r", "20.00"), refund("1", "r", "10.00", day(1)))
        assert counted() == {"natural_key": 1, "repeat_differs": 2}
        assert (await read_status(tiers_pool, "ann", day(1))).spend == 290

    async def test_a_refused_refund_takes_up_no_key(self, tiers_pool: Pool):
        await apply(tiers_pool, purchase("1", "300.00"))
        [refusal] = await apply(tiers_pool, refund("1", "r", "10.00", currency="EUR"))
        assert refusal.reason == Reason.CURRENCY_MISMATCH
        assert await apply(tiers_pool, refund("1", "r", "10.00")) == []
        assert (await read_status(tiers_pool, "ann", day(1))).spend == 290

    async def test_customers_share_no_keys(self, tiers_pool: Pool):
        await apply(tiers_pool, purchase("1", "500.00"), purchase("1", "500.00", customer_id="bob"))
        assert [(await read_status(tiers_pool, name, NOON)).spend for name in ("ann", "bob")] == [500, 500]
