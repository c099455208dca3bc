"""The comparison notices faults of the product.

Each fault stands with the seed of a history that tells it. After a change of the generator a fault may need another
seed: `differences` of the first few hundred find one.
"""

import pytest

from shared.postgres.pool import Pool
from tests.notifications.oracles.plants import PLANTS
from tests.notifications.oracles.test_histories import differences


@pytest.mark.parametrize(("name", "seed"), PLANTS)
async def test_a_planted_fault_is_noticed(pool: Pool, monkeypatch: pytest.MonkeyPatch, name: str, seed: int):
    assert await differences(pool, seed) == []
    PLANTS[name, seed](monkeypatch)
    assert await differences(pool, seed), f"no difference although {name}"
