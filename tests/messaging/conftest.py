"""Fixtures of the messaging tests."""

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog

from shared.messaging import delivery
from shared.postgres.pool import Pool
from tests.messaging.log import Desk


@pytest.fixture
async def desk(platform_pool: Pool) -> Desk:
    """A delivery on a fresh database, with a handler that writes a row per event."""
    await platform_pool.execute(
        "CREATE TABLE effect (number bigint GENERATED ALWAYS AS IDENTITY, id text UNIQUE, customer_id text)"
    )
    return Desk(platform_pool)


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """The log events, which are not printed."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses between retries."""
    monkeypatch.setattr(delivery, "_FIRST_PAUSE", 0.01)
