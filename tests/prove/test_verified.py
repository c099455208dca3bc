"""The check that runs the services' `verify`: it passes on correct data, and names what is wrong."""

import os
from collections.abc import Mapping

import pytest

from shared.postgres.pool import Pool, open_pool
from tests.prove.checks import verified
from tests.support import postgres

BROKEN_SQL = "INSERT INTO account (customer_id, available, earned) VALUES ('layla', 5, 5)"


@pytest.fixture
async def url(postgres_url: str) -> str:
    return await postgres.make_database(postgres_url, "points")


@pytest.fixture
def env(url: str) -> Mapping[str, str]:
    return {**os.environ, "WAFA_DATABASE_URL_POINTS": url}


async def test_correct_books_pass(env: Mapping[str, str]):
    [result] = await verified.checks(env, ["points"])
    assert result.checked > 1
    assert result.offenders == ()


async def test_differences_are_reported(env: Mapping[str, str], url: str):
    pool: Pool
    async with await open_pool(url, application="tests") as pool:
        await pool.execute(BROKEN_SQL)
    [result] = await verified.checks(env, ["points"])
    assert any("layla" in line for line in result.offenders)


async def test_a_verify_that_does_not_run_fails_the_check(env: Mapping[str, str]):
    [result] = await verified.checks(
        {**env, "WAFA_DATABASE_URL_POINTS": "postgresql://nobody@127.0.0.1:1/none"}, ["points"]
    )
    assert result.count
