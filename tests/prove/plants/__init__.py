"""Bugs that are planted in started processes, each with the name of a check that has to find it.

A bug shows when something goes wrong at its weak moment. Where no fault of the nemesis hits that moment surely, the
plant ends its own process right there, a few times: what a `kill -9` does that comes at the worst instant.
"""

from typing import Final

from tests.prove.plants import consuming, judging, relaying
from tests.prove.plants.plant import Plant

PLANTS: Final[dict[str, Plant]] = {item.name: item for item in (*consuming.PLANTS, *judging.PLANTS, *relaying.PLANTS)}
