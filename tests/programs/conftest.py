"""An API with both shapes of routes, on a database with the platform's tables alone."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter

from deploy.keys import create_key
from shared.http.app import new_app
from shared.http.auth import Authenticator
from shared.postgres.pool import Pool
from shared.programs import store
from shared.programs.drafting import Program
from shared.programs.routes import Place, many_documents, one_document
from tests.programs.toys import BOX, TOY_PROGRAM

Headers = dict[str, str]


@pytest.fixture
async def pool(platform_pool: Pool) -> Pool:
    """The database of a service that ships a toy box."""
    async with platform_pool.acquire() as connection:
        await store.seed(connection, BOX.name, {"": {"from": "wood", "size": 1, "parts": []}})
    return platform_pool


def routers(pool: Pool) -> list[APIRouter]:
    return [
        one_document(pool, Program(BOX), Place("/v1/toy-box", "toy box", "toy box")),
        many_documents(pool, TOY_PROGRAM, Place("/v1/toys", "toys", "toy")),
    ]


@pytest.fixture
async def client(pool: Pool, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = new_app("toys", "Toys", pool=pool, authenticator=Authenticator(tmp_path / "keys.json"))
    for router in routers(pool):
        app.include_router(router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://wafa.example") as opened:
        yield opened


@pytest.fixture
def marketing(tmp_path: Path) -> Headers:
    return {"Authorization": f"Bearer {create_key(tmp_path / 'keys.json', ['marketing'], 'writer')}"}


@pytest.fixture
def reader(tmp_path: Path) -> Headers:
    return {"Authorization": f"Bearer {create_key(tmp_path / 'keys.json', ['read'], 'reader')}"}
