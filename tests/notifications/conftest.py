"""The service's database, and a mail server with scripted answers."""

from collections.abc import AsyncIterator

import pytest

from shared.postgres.pool import Pool
from tests.notifications.mail_server import MailServer


@pytest.fixture
def pool(notifications_pool: Pool) -> Pool:
    return notifications_pool


@pytest.fixture
async def mail_server() -> AsyncIterator[MailServer]:
    with MailServer() as server:
        yield server
        await server.close_channels()
