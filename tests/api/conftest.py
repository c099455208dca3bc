"""The API under test, on a seeded database of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.served import Route, Served, serve


@pytest.fixture
async def served(route: Route, postgres_url: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(route.service, postgres_url, tmp_path) as served:
        yield served
