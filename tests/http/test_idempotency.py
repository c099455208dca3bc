import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import Request
from fastapi.responses import Response

from shared.http import idempotency
from shared.http.app import new_app
from shared.http.auth import Authenticator, Kind, Principal
from shared.http.idempotency import KEPT_FOR, forget, idempotent
from shared.http.problems import Problem
from shared.postgres.pool import Connection, Pool

EFFECTS = "CREATE TABLE IF NOT EXISTS effect (who text, note text, at timestamptz DEFAULT now())"


class Gate:
    """Makes an effect wait inside its transaction."""

    def __init__(self) -> None:
        self.entered, self.opened = asyncio.Event(), asyncio.Event()
        self.opened.set()


@pytest.fixture
async def pool(platform_pool: Pool):
    await platform_pool.execute(EFFECTS)
    return platform_pool


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def app(pool: Pool, gate: Gate):
    made = new_app("toys", "Toys", pool=pool, authenticator=Authenticator(None), open_paths=("/",))

    async def write(request: Request, *, required: bool) -> Response:
        who = request.headers.get("x-who", "layla")
        note = (await request.body()).decode()

        async def run(conn: Connection):
            await conn.execute("INSERT INTO effect (who, note) VALUES ($1, $2)", who, note)
            gate.entered.set()
            await gate.opened.wait()
            if "refuse" in note:
                raise Problem(409, "insufficient_points", "Not enough.")
            if "break" in note:
                raise RuntimeError("bug")
            number = await conn.fetchval("SELECT count(*) FROM effect")
            if "once" in note and number > 1:
                raise Problem(409, "insufficient_points", "They were spent.")
            return 201, {"number": number, "z": "ä", "at": datetime(2026, 1, 1, tzinfo=UTC)}

        return await idempotent(request, pool, Principal(Kind.KEY, who, frozenset()), required, run)

    @made.post("/points/{id}")
    async def move(request: Request) -> Response:
        return await write(request, required=True)

    @made.put("/points/{id}")
    async def put(request: Request) -> Response:
        return await write(request, required=True)

    @made.post("/codes")
    async def code(request: Request) -> Response:
        return await write(request, required=False)

    return made


async def effects(pool: Pool):
    return await pool.fetchval("SELECT count(*) FROM effect")


async def test_the_same_request_again_gets_the_first_response(client: httpx.AsyncClient, pool: Pool):
    first = await client.post("/points/a", content="x", headers={"Idempotency-Key": "k"})
    again = await client.post("/points/a", content="x", headers={"Idempotency-Key": "k"})
    assert (first.status_code, first.json()) == (201, {"number": 1, "z": "ä", "at": "2026-01-01T00:00:00Z"})
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["content-type"] == first.headers["content-type"] == "application/json"
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await effects(pool) == 1


@pytest.mark.parametrize(
    "method, path, content", [("POST", "/points/a", "y"), ("POST", "/points/b", "x"), ("PUT", "/points/a", "x")]
)
async def test_the_same_key_for_another_request_is_422(
    client: httpx.AsyncClient, pool: Pool, method: str, path: str, content: str
):
    headers = {"Idempotency-Key": "k"}
    await client.post("/points/a", content="x", headers=headers)
    answer = await client.request(method, path, content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert await effects(pool) == 1


async def test_a_key_counts_per_principal(client: httpx.AsyncClient, pool: Pool):
    for who in ("layla", "omar"):
        answer = await client.post("/points/a", content=who, headers={"Idempotency-Key": "k", "X-Who": who})
        assert answer.status_code == 201
    assert await effects(pool) == 2


async def test_a_key_is_required_where_points_move(client: httpx.AsyncClient, pool: Pool):
    for headers in ({}, {"Idempotency-Key": ""}):
        answer = await client.post("/points/a", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_required")
    assert await effects(pool) == 0


async def test_elsewhere_a_key_is_optional(client: httpx.AsyncClient, pool: Pool):
    for _ in range(2):
        assert (await client.post("/codes", content="x")).status_code == 201
    for _ in range(2):
        assert (await client.post("/codes", content="x", headers={"Idempotency-Key": "k"})).status_code == 201
    assert await effects(pool) == 3


@pytest.mark.parametrize("key", ["k", "k" * 255, "a b", "مفتاح", "é" * 255, "'; DROP TABLE effect; --"])
async def test_a_key_has_1_to_255_characters(client: httpx.AsyncClient, key: str):
    answers = [await client.post("/points/a", headers={"Idempotency-Key": key.encode()}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[1].headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("key", [b"k" * 256, "é".encode() * 256, b"\xff" * 256, b"a\x00b", b"a\x01"])
async def test_any_other_key_is_400(client: httpx.AsyncClient, pool: Pool, key: bytes):
    answer = await client.post("/points/a", headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_invalid")
    assert await effects(pool) == 0


async def test_two_keys_are_refused(client: httpx.AsyncClient):
    answer = await client.post("/points/a", headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_invalid")


@pytest.mark.parametrize("content, status", [("refuse", 409), ("break", 500)])
async def test_a_refusal_has_no_effect_and_is_not_stored(
    client: httpx.AsyncClient, pool: Pool, content: str, status: int
):
    for _ in range(2):
        answer = await client.post("/points/a", content=content, headers={"Idempotency-Key": "k"})
        assert answer.status_code == status
        assert "idempotency-replayed" not in answer.headers
    assert await effects(pool) == 0
    assert (await client.post("/points/a", content="x", headers={"Idempotency-Key": "k"})).status_code == 201


async def test_twenty_requests_at_once_have_one_effect(client: httpx.AsyncClient, pool: Pool):
    async def send():
        return await client.post("/points/a", content="x", headers={"Idempotency-Key": "k"})

    answers = await asyncio.gather(*(send() for _ in range(20)))
    assert await effects(pool) == 1
    done = [answer for answer in answers if answer.status_code == 201]
    running = [answer for answer in answers if answer.status_code == 409]
    assert len(done) + len(running) == 20
    assert {answer.content for answer in done} == {done[0].content}
    assert sum("idempotency-replayed" not in answer.headers for answer in done) == 1
    assert {answer.json()["code"] for answer in running} <= {"request_in_progress"}


async def test_while_the_first_request_runs_others_get_409(client: httpx.AsyncClient, pool: Pool, gate: Gate):
    headers = {"Idempotency-Key": "k"}
    gate.opened.clear()
    first = asyncio.create_task(client.post("/points/a", content="x", headers=headers))
    await asyncio.wait_for(gate.entered.wait(), 5)
    for content in ("x", "y"):
        answer = await client.post("/points/a", content=content, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (409, "request_in_progress")
        assert answer.headers["retry-after"] == "1"
    gate.opened.set()
    assert (await first).status_code == 201
    answer = await client.post("/points/a", content="x", headers=headers)
    assert answer.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("content", ["x", "once"])
async def test_a_request_that_ended_while_the_key_was_claimed_is_answered_again(
    client: httpx.AsyncClient, pool: Pool, monkeypatch: pytest.MonkeyPatch, content: str
):
    headers = {"Idempotency-Key": "k"}
    first = await client.post("/points/a", content=content, headers=headers)

    async def too_early(*_: object) -> None:
        """The statement began before the first request had ended, and got the lock after it."""

    monkeypatch.setattr(idempotency, "_claim", too_early)
    again = await client.post("/points/a", content=content, headers=headers)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert await effects(pool) == 1
    other = await client.post("/points/a", content=f"{content}, other", headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert await effects(pool) == 1


async def test_another_key_does_not_wait(client: httpx.AsyncClient, gate: Gate):
    gate.opened.clear()
    first = asyncio.create_task(client.post("/points/a", content="x", headers={"Idempotency-Key": "k"}))
    await asyncio.wait_for(gate.entered.wait(), 5)
    gate.entered.clear()
    second = asyncio.create_task(client.post("/points/a", content="x", headers={"Idempotency-Key": "l"}))
    await asyncio.wait_for(gate.entered.wait(), 5)
    gate.opened.set()
    assert {(await first).status_code, (await second).status_code} == {201}


async def test_after_seven_days_a_key_is_free_again(client: httpx.AsyncClient, pool: Pool):
    headers = {"Idempotency-Key": "k"}
    age = "UPDATE idempotency_key SET created_at = now() - $1::interval"
    await client.post("/points/a", content="x", headers=headers)
    await pool.execute(age, KEPT_FOR - timedelta(minutes=1))
    assert "idempotency-replayed" in (await client.post("/points/a", content="x", headers=headers)).headers
    await pool.execute(age, KEPT_FOR + timedelta(minutes=1))
    answer = await client.post("/points/a", content="y", headers=headers)
    assert (answer.status_code, answer.json()["number"]) == (201, 2)
    assert "idempotency-replayed" in (await client.post("/points/a", content="y", headers=headers)).headers


async def test_old_keys_are_deleted(client: httpx.AsyncClient, pool: Pool):
    now = datetime.now(UTC)
    for key in ("old", "new"):
        await client.post("/points/a", content="x", headers={"Idempotency-Key": key})
    await pool.execute("UPDATE idempotency_key SET created_at = $1 WHERE key = 'old'", now - KEPT_FOR)
    await forget(pool, now - timedelta(seconds=1))
    assert await pool.fetchval("SELECT count(*) FROM idempotency_key") == 2
    await forget(pool, now + timedelta(seconds=1))
    assert await pool.fetchval("SELECT string_agg(key, ',') FROM idempotency_key") == "new"


async def test_a_cancelled_request_has_no_effect(client: httpx.AsyncClient, pool: Pool, gate: Gate):
    gate.opened.clear()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.post("/points/a", content="x", headers={"Idempotency-Key": "k"}), 0.2)
    gate.opened.set()
    assert await effects(pool) == 0
    answer = await client.post("/points/a", content="x", headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["number"]) == (201, 1)
