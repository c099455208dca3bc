"""The databases of the simulation, for all its tests in a process."""

from collections.abc import Iterator

import pytest

from tests.simulation.databases import Databases, databases


@pytest.fixture(scope="session")
def simulated(postgres_url: str) -> Iterator[Databases]:
    with databases(postgres_url) as created:
        yield created
