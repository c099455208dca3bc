"""The API of notifications."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from shared.postgres.pool import Pool
from tests.notifications.consent.world import serve


@pytest.fixture
async def client(pool: Pool, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(pool, tmp_path) as client:
        yield client
