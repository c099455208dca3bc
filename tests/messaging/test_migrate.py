"""Migrations apply once, in order, from any number of processes, and are never changed afterwards."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from shared.postgres.migrate import MigrationChangedError, migrate
from tests.support.postgres import make_database


@pytest.fixture
async def url(postgres_url: str) -> str:
    return await make_database(postgres_url, "platform")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `extra` with two migrations."""
    folder = tmp_path / "extra" / "migrations"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "0001_one.sql").write_text("CREATE TABLE one (id int);")
    (folder / "0002_two.sql").write_text("ALTER TABLE one ADD COLUMN name text; INSERT INTO one VALUES (1, 'x');")
    (folder / "README.md").write_text("no migration")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    sys.modules.pop("extra", None)


async def fetch(url: str, query: str):
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(query)
    finally:
        await connection.close()


async def test_migrations_apply_in_order_and_once(url: str, package: Path):
    assert await migrate(url, "extra") == ["extra/0001_one.sql", "extra/0002_two.sql"]
    assert await migrate(url, "extra") == []
    (package / "0003_three.sql").write_text("CREATE TABLE three ();")
    assert await migrate(url, "extra") == ["extra/0003_three.sql"]
    assert len(await fetch(url, "SELECT * FROM one")) == 1


async def test_processes_at_the_same_time_apply_each_once(url: str, package: Path):
    applied = await asyncio.gather(*(migrate(url, "extra") for _ in range(5)))
    assert sorted(map(len, applied)) == [0, 0, 0, 0, 2]


async def test_a_migration_that_was_changed_is_refused(url: str, package: Path):
    await migrate(url, "extra")
    (package / "0001_one.sql").write_text("CREATE TABLE one (id bigint);")
    with pytest.raises(MigrationChangedError, match=r"extra/0001_one\.sql was changed"):
        await migrate(url, "extra")


async def test_a_failed_migration_leaves_nothing(url: str, package: Path):
    (package / "0002_two.sql").write_text("CREATE TABLE two (); SELECT 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(url, "extra")
    assert await fetch(url, "SELECT * FROM pg_tables WHERE tablename = 'two'") == []
    (package / "0002_two.sql").write_text("CREATE TABLE two ();")
    assert await migrate(url, "extra") == ["extra/0002_two.sql"]
