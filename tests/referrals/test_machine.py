"""Any history: the database has what the slow model says, whatever the batches."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given

from shared.postgres.pool import Pool
from tests.referrals.oracles.histories import Step, histories
from tests.referrals.oracles.machine import Machine
from tests.referrals.oracles.product import Product
from tests.support.depth import examples


# A failure is worth the minutes that it takes to make its example small.
@pytest.mark.timeout(600)
@given(history=histories)
@examples(
    20,
    deep=200,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_the_product_does_what_the_model_says(
    referrals_pool: Pool, history: tuple[dict[str, Any], Sequence[Step]]
):
    await Machine(Product(referrals_pool)).run(*history)
