"""Bugs that are planted in started processes, each with the name of a check that has to find it.

A bug shows only when a failure hits its critical moment. Where no fault of the nemesis reliably hits that moment, the
plant kills its own process there, a few times, as a `kill -9` at the worst instant would.
"""

from typing import Final

from tests.prove.plants import consuming, judging, referrals, relaying, tiers
from tests.prove.plants.plant import Plant

PLANTS: Final[dict[str, Plant]] = {
    item.name: item for item in (*consuming.PLANTS, *judging.PLANTS, *relaying.PLANTS, *referrals.PLANTS, *tiers.PLANTS)
}
