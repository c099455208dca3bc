"""A draft is checked and linted beside the event loop, one at a time.

Planted and caught here: a lint on the event loop; two lints at once.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Event

import httpx
from fastapi import FastAPI

from shared.postgres.pool import Pool
from shared.programs.drafting import Author, Program, draft
from shared.programs.faults import Fault
from shared.programs.kind import Key, Kind
from shared.programs.routes import Place, one_document
from tests.programs.conftest import Headers
from tests.programs.toys import CompiledToy, Toy, check


async def test_other_requests_are_answered_while_a_draft_is_linted(
    pool: Pool, client: httpx.AsyncClient, marketing: Headers, reader: Headers
):
    begun, may_end = Event(), Event()

    def slow(_toy: Toy, _moment: datetime) -> Sequence[Fault]:
        begun.set()
        # On the event loop it would wait in vain: what lets it end is another request's answer.
        return [] if may_end.wait(5) else [Fault("", "nobody was answered meanwhile")]

    app = client._transport.app  # pyright: ignore[reportAttributeAccessIssue]
    assert isinstance(app, FastAPI)
    program = Program(Kind("slow_toy", Toy, check, slow, CompiledToy))
    app.include_router(one_document(pool, program, Place("/v1/slow-toy", "slow", "slow toy")))
    drafting = asyncio.create_task(client.post("/v1/slow-toy", json={"size": 1}, headers=marketing))
    assert await asyncio.to_thread(begun.wait, 5)
    assert (await client.get("/v1/toy-box", headers=reader)).status_code == 200
    may_end.set()
    answer = await drafting
    assert (answer.status_code, answer.json()["warnings"]) == (201, [])


async def test_drafts_are_linted_one_at_a_time(pool: Pool):
    running = 0
    most = 0

    def counted(_toy: Toy, _moment: datetime) -> Sequence[Fault]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.02)
        running -= 1
        return []

    program = Program(Kind("counted_toy", Toy, check, counted, CompiledToy))

    async def write(number: int) -> None:
        async with pool.acquire() as connection, connection.transaction():
            author = Author("key:test", datetime.now(UTC))
            await draft(connection, program, Key("counted_toy", str(number)), Toy(size=1), author)

    await asyncio.gather(*(write(number) for number in range(5)))
    assert most == 1
