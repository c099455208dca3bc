"""Any history: the database has what the slow model says, whatever the batches."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from shared.postgres.pool import Pool
from tests.referrals.oracles.histories import Step, histories
from tests.referrals.oracles.machine import Machine
from tests.referrals.oracles.product import Product


# A failure is worth the minutes that it takes to make its example small.
@pytest.mark.timeout(600)
@given(history=histories)
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_the_product_does_what_the_model_says(
    referrals_pool: Pool, history: tuple[dict[str, Any], Sequence[Step]]
):
    await Machine(Product(referrals_pool)).run(*_possible(history))


_LATER = {"decide", "decide_flagged", "decide_all", "read", "look"}


def _possible(history: tuple[dict[str, Any], Sequence[Step]]) -> tuple[dict[str, Any], list[Step]]:
    """Without the steps and signals that the product does not know yet."""
    document, steps = history
    rules = {"self", "already_bought", "already_referred", "threshold_order"}

    def known(program: dict[str, Any]) -> dict[str, Any]:
        return program | {"signals": [signal for signal in program["signals"] if signal["id"] in rules]}

    kept: list[Step] = []
    for name, *rest in steps:
        if name == "publish":
            kept.append((name, known(rest[0])))
        elif name == "receive":
            kept.append((name, [event for event in rest[0] if event[0] != "profile"]))
        elif name not in _LATER:
            kept.append((name, *rest))
    return known(document), kept
