"""The product and the model tell the same of random histories."""

from collections import Counter

import pytest

from shared.postgres.pool import Pool
from tests.notifications.oracles.happening import Publication
from tests.notifications.oracles.histories import history
from tests.notifications.oracles.model import Model, Sent
from tests.notifications.oracles.product import Product

KEY = b"a key"


async def differences(pool: Pool, seed: int) -> list[str]:
    """What one of the two sends and the other does not."""
    told = history(seed)
    model, product = Model(KEY).play(told), Product(pool, KEY)
    await product.play(told)
    timed = {
        each.journey
        for each in told.happenings
        if isinstance(each, Publication) and each.document["trigger"]["on"] in {"inactivity", "date"}
    }
    mine, theirs = (Counter(_plain(each, timed) for each in sent) for sent in (model.sent, product.sent()))
    found = [f"only the model: {each}" for each in sorted((mine - theirs).elements())]
    found += [f"only the product: {each}" for each in sorted((theirs - mine).elements())]
    if not found and model.results() != await product.results():
        found.append(f"{model.results()} != {await product.results()}")
    return found


def _plain(sent: Sent, timed: set[str]) -> Sent:
    """Runs that time starts have keys of the product's own; points and tiers are named by their event in the model."""
    key = (
        ""
        if sent.journey in timed
        or sent.key.startswith(("event", "transaction/", "points_expiry/", "tier_end/", "tier/"))
        else sent.key
    )
    return sent._replace(key=key)


QUICK, DEEP = 12, 400


@pytest.mark.parametrize("block", range(2))
async def test_the_product_sends_what_the_model_sends(pool: Pool, block: int):
    for seed in range(block, QUICK, 2):
        assert await differences(pool, seed) == [], f"seed {seed}"


@pytest.mark.deep
@pytest.mark.parametrize("block", range(8))
async def test_the_product_sends_what_the_model_sends_in_many_histories(pool: Pool, block: int):
    for seed in range(QUICK + block, DEEP, 8):
        assert await differences(pool, seed) == [], f"seed {seed}"
