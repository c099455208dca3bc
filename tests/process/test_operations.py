"""The routes of operations, of a service whose handler is a function of the test."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from shared.contracts.envelope import Event, Publication
from shared.contracts.outcomes import Refusal
from shared.contracts.reasons import Reason
from shared.http.app import new_app
from shared.http.auth import Principal
from shared.http.auth.principal import Kind, Scope
from shared.messaging import dead_letters, outbox
from shared.messaging.positions import Group, put
from shared.messaging.reports import JobRun, Reports
from shared.messaging.worker import WorkerSpec, subscriptions
from shared.postgres.pool import Connection, Pool
from shared.process import operations
from tests.messaging.log import malformation, purchase, record
from tests.support import postgres

NOW = datetime(2026, 6, 1, tzinfo=UTC)
GROUP = Group("cluster", "wafa-points")


class Operator:
    """Lets everybody in as an operator."""

    async def authenticate(self, _header: str | None) -> Principal:
        return Principal(Kind.KEY, "op", frozenset({Scope.ADMIN}))


class Handler:
    """Handles events but those of one customer."""

    def __init__(self) -> None:
        self.handled: list[str] = []

    async def __call__(self, _connection: Connection, events: Sequence[Event], _now: datetime) -> list[Refusal]:
        self.handled += [event.customer_id for event in events]
        return [Refusal(event, Reason.BAD_FIELD, "no") for event in events if event.customer_id == "c9"]


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Pool]:
    async with postgres.database(postgres_url, "points") as pool:
        yield pool


@pytest.fixture
async def client(pool: Pool, handler: Handler) -> AsyncIterator[httpx.AsyncClient]:
    app: FastAPI = new_app("points", "Test", pool=pool, authenticator=Operator())  # type: ignore[arg-type]
    spec = WorkerSpec("points", subscriptions({"shop.purchase.completed.v1"}), handler)
    app.include_router(operations.routes(spec, pool))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://wafa.example") as client:
        yield client


async def write(pool: Pool, *values: dict[str, Any] | bytes) -> None:
    async with pool.acquire() as connection:
        letters = [malformation(record(value, offset)) for offset, value in enumerate(values)]
        await dead_letters.write(connection, letters)


async def test_the_state_names_positions_with_lag_outbox_letters_and_jobs(client: httpx.AsyncClient, pool: Pool):
    reports = Reports()
    reports.add(JobRun("sweep", NOW, 1.5))
    reports.add(JobRun("sweep", NOW + timedelta(minutes=1), 0.5, "TimeoutError"))
    await reports.store(pool, GROUP, {("shop.purchases", 0): 120}, NOW)
    async with pool.acquire() as connection:
        await put(connection, GROUP, ("shop.purchases", 0), 100)
        await put(connection, GROUP, ("shop.purchases", 1), 7)
        await outbox.announce(connection, [Publication(event_id="e1", topic="loyalty.points", key=b"ann", value=b"{}")])
    await write(pool, b"\xff", b"{")
    state = (await client.get("/v1/points/operations")).json()
    assert [(each["partition"], each["next_offset"], each["lag"]) for each in state["positions"]] == [
        (0, 100, 20),
        (1, 7, None),
    ]
    assert state["outbox"]["rows"] == 1
    assert [(each["reason"], each["count"]) for each in state["dead_letters"]] == [("not_json", 2)]
    assert [(each["name"], each["seconds"], each["error"]) for each in state["jobs"]] == [
        ("sweep", 0.5, "TimeoutError")
    ]


async def test_an_older_report_does_not_replace_a_newer_one(pool: Pool, client: httpx.AsyncClient):
    for minutes, end in ((5, 50), (1, 10)):
        reports = Reports()
        reports.add(JobRun("sweep", NOW + timedelta(minutes=minutes), float(end)))
        await reports.store(pool, GROUP, {("shop.purchases", 0): end}, NOW + timedelta(minutes=minutes))
    async with pool.acquire() as connection:
        await put(connection, GROUP, ("shop.purchases", 0), 0)
    state = (await client.get("/v1/points/operations")).json()
    assert state["positions"][0]["lag"] == 50
    assert state["jobs"][0]["seconds"] == 50.0


async def test_letters_are_listed_in_pages_and_shown_with_their_bytes_escaped(client: httpx.AsyncClient, pool: Pool):
    await write(pool, b"\xff\x00<script>", b"{", b"[")
    first = (await client.get("/v1/points/dead-letters?limit=2")).json()
    rest = (await client.get(f"/v1/points/dead-letters?limit=2&after={first['next']}")).json()
    assert [each["offset"] for each in first["data"] + rest["data"]] == [2, 1, 0]
    assert rest["next"] is None
    assert (await client.get("/v1/points/dead-letters?reason=bad_field")).json()["data"] == []
    shown = (await client.get(f"/v1/points/dead-letters/{rest['data'][0]['id']}")).json()
    assert shown["value"] == "\\xff\x00<script>"
    assert (await client.get("/v1/points/dead-letters/999999")).status_code == 404
    assert (await client.get("/v1/points/dead-letters/99999999999999999999")).status_code == 422


async def test_a_letter_is_replayed_once(client: httpx.AsyncClient, pool: Pool, handler: Handler):
    await write(pool, purchase("p1"))
    letter = (await client.get("/v1/points/dead-letters")).json()["data"][0]
    answer = await client.post(f"/v1/points/dead-letters/{letter['id']}/replay")
    assert answer.json() == {"handled": 1, "refused": 0, "erased": 0, "next": None}
    assert (await client.post(f"/v1/points/dead-letters/{letter['id']}/replay")).status_code == 404
    assert handler.handled == ["c1"]


async def test_a_letter_that_is_refused_again_becomes_a_new_one(client: httpx.AsyncClient, pool: Pool):
    await write(pool, purchase("p1", "c9"), b"{")
    for letter in (await client.get("/v1/points/dead-letters")).json()["data"]:
        answer = await client.post(f"/v1/points/dead-letters/{letter['id']}/replay")
        assert answer.json()["refused"] == 1
    letters = (await client.get("/v1/points/dead-letters")).json()["data"]
    assert sorted(letter["reason"] for letter in letters) == ["bad_field", "not_json"]


async def test_all_of_a_reason_are_replayed_a_bounded_number_at_a_time(
    client: httpx.AsyncClient, pool: Pool, handler: Handler, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(operations, "AT_ONCE", 3)
    await write(pool, *(purchase(f"p{number}", "c9" if number == 1 else f"c{number}") for number in range(7)))
    after, done, refused = 0, 0, 0
    for requests in range(1, 10):
        answer = (await client.post(f"/v1/points/dead-letters/replay?reason=not_json&after={after}")).json()
        done, refused, after = done + answer["handled"], refused + answer["refused"], answer["next"]
        if after is None:
            assert requests == 3
            break
    assert (done, refused) == (6, 1)
    assert set(handler.handled) == {"c0", "c2", "c3", "c4", "c5", "c6", "c9"}


async def test_the_same_key_replays_once(client: httpx.AsyncClient, pool: Pool, handler: Handler):
    await write(pool, purchase("p1"))
    letter = (await client.get("/v1/points/dead-letters")).json()["data"][0]
    url, key = f"/v1/points/dead-letters/{letter['id']}/replay", {"Idempotency-Key": "k"}
    answers = [(await client.post(url, headers=key)).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert handler.handled == ["c1"]
