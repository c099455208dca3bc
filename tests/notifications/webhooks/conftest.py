"""Closes the workers of each test."""

from collections.abc import AsyncIterator

import pytest

from tests.notifications.webhooks.world import OPEN


@pytest.fixture(autouse=True)
async def closing() -> AsyncIterator[None]:
    yield
    while OPEN:
        await OPEN.pop().close()
