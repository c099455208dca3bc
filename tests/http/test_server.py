import asyncio
import os
import signal
import socket

import httpx
import pytest
from fastapi import FastAPI

from shared.http import server
from tests.http.conftest import JsonLog

Address = tuple[int, httpx.AsyncClient]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


async def until_up(client: httpx.AsyncClient):
    for _ in range(200):
        try:
            return await client.get("/livez")
        except httpx.ConnectError:
            await asyncio.sleep(0.02)
    raise AssertionError("the server did not come up")


@pytest.fixture
async def address():
    port = free_port()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as opened:
        yield port, opened


async def test_a_request_in_progress_ends_before_the_server_stops(app: FastAPI, address: Address):
    port, client = address
    entered = asyncio.Event()

    @app.get("/slow")
    async def slow() -> dict[str, bool]:
        entered.set()
        await asyncio.sleep(0.3)
        return {"done": True}

    serving = asyncio.create_task(server.serve(app, "127.0.0.1", port))
    await until_up(client)
    request = asyncio.create_task(client.get("/slow"))
    await asyncio.wait_for(entered.wait(), 5)
    os.kill(os.getpid(), signal.SIGTERM)
    assert (await request).json() == {"done": True}
    await asyncio.wait_for(serving, 5)
    with pytest.raises(httpx.ConnectError):
        await client.get("/livez")


async def test_shutdown_takes_a_bounded_time(
    app: FastAPI, address: Address, monkeypatch: pytest.MonkeyPatch, json_log: JsonLog
):
    monkeypatch.setattr(server, "GRACE_SECONDS", 0.2)
    port, client = address
    entered = asyncio.Event()

    @app.get("/hangs")
    async def hangs() -> None:
        entered.set()
        await asyncio.sleep(60)

    serving = asyncio.create_task(server.serve(app, "127.0.0.1", port))
    await until_up(client)
    request = asyncio.create_task(client.get("/hangs"))
    await asyncio.wait_for(entered.wait(), 5)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 5)
    with pytest.raises(httpx.HTTPError):
        (await request).raise_for_status()


async def test_bytes_other_than_http_do_no_harm(app: FastAPI, address: Address):
    port, client = address
    serving = asyncio.create_task(server.serve(app, "127.0.0.1", port))
    await until_up(client)
    for request in (
        b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/customers/%zz/points HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"GET //evil.example/%2e%2e HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(4096), 5)
        assert answer.startswith(b"HTTP/1.1 4") or answer == b""
        writer.close()
        await writer.wait_closed()
    assert (await client.get("/livez")).status_code == 200
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 5)


async def test_probes_are_served_until_cancelled_and_leave_signals_alone(address: Address):
    port, client = address
    ready = False

    async def is_ready() -> bool:
        return ready

    before = signal.getsignal(signal.SIGTERM)
    serving = asyncio.create_task(server.serve_probes(is_ready, "127.0.0.1", port))
    assert (await until_up(client)).status_code == 200
    assert signal.getsignal(signal.SIGTERM) is before
    assert (await client.get("/readyz")).status_code == 503
    ready = True
    assert (await client.get("/readyz")).status_code == 200
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(serving, 5)
    with pytest.raises(httpx.ConnectError):
        await client.get("/livez")


async def test_an_address_in_use_is_named(app: FastAPI):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1 port {port}: Address already in use"):
            await server.serve(app, "127.0.0.1", port)
