"""The service's database, and a mail server with scripted answers."""

from collections.abc import Iterator

import pytest

from shared.postgres.pool import Pool
from tests.notifications.mail_server import MailServer


@pytest.fixture
def pool(notifications_pool: Pool) -> Pool:
    return notifications_pool


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server
