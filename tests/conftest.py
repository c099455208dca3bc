"""Fixtures that all tests share."""

import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings

from shared.postgres.pool import Pool
from tests.support import depth, postgres

# By default an example that takes longer than 200 ms fails, as any does on a busy machine. Tests of durations measure
# them themselves, and a test that hangs is ended by pytest-timeout.
settings.register_profile("wafa", deadline=None)
settings.register_profile(depth.PROFILE, deadline=None)
settings.load_profile("wafa")


# The garbage collector would look through thousands of tests and their modules again and again, in every process: a
# quarter of the time in which tests are collected.
gc.disable()


def pytest_collection_finish() -> None:
    """Turn the garbage collector on, for objects from now on."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server for this process's session."""
    # Not below pytest's own folder: its mode is reset whenever another run of pytest begins,
    # and a server that root started for another user then loses its files.
    place = postgres.fastest_folder()
    with TemporaryDirectory(prefix="wafa-test-", dir=place) as folder, postgres.server(Path(folder)) as url:
        yield url


@pytest.fixture
async def platform_pool(postgres_url: str) -> AsyncIterator[Pool]:
    """A fresh database with the tables that every service has."""
    async with postgres.database(postgres_url, "platform") as pool:
        yield pool


@pytest.fixture
async def points_pool(postgres_url: str) -> AsyncIterator[Pool]:
    """A fresh database of the points service."""
    async with postgres.database(postgres_url, "points") as pool:
        yield pool


@pytest.fixture
async def tiers_pool(postgres_url: str) -> AsyncIterator[Pool]:
    """A fresh database of the tiers service."""
    async with postgres.database(postgres_url, "tiers") as pool:
        yield pool


@pytest.fixture
async def referrals_pool(postgres_url: str) -> AsyncIterator[Pool]:
    """A fresh database of the referrals service."""
    async with postgres.database(postgres_url, "referrals") as pool:
        yield pool


@pytest.fixture
async def notifications_pool(postgres_url: str) -> AsyncIterator[Pool]:
    """A fresh database of the notifications service."""
    async with postgres.database(postgres_url, "notifications") as pool:
        yield pool
