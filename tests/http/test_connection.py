"""Limits of a connection: sizes, times, counts. Fails also if the internals of Uvicorn that `Connection` uses change.

Planted and caught here: a head checked only when it is whole; an early answer that closes at once, so that the client's
unread bytes reset it; a timer that every blank line starts anew; a full server that refuses newcomers for the sake of
stalled ones.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from shared.http import connection, server
from shared.http.limits import LARGEST_FRAMING, LARGEST_HEAD, MAX_HEADERS, MAX_PIPELINED, Limits
from tests.http.conftest import AsCustomer
from tests.http.test_server import free_port, until_up

SHORT = Limits(connections=50, keep_alive=2.0, head=0.5, body=1.0, answer=1.0, drain=0.5)
GET = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /v1/quotes HTTP/1.1\r\nHost: a\r\n"


class Caller:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self, within: float = 5.0) -> tuple[int, dict[str, str], bytes]:
        """The next response: status, headers, body."""
        async with asyncio.timeout(within):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, body

    async def ends(self, within: float = 5.0) -> bytes:
        """All bytes until the server closes."""
        async with asyncio.timeout(within):
            return await self.reader.read()

    async def send(self, *parts: bytes, pause: float = 0.0) -> None:
        """Send the parts until the server closes the connection."""
        with contextlib.suppress(ConnectionError):
            for part in parts:
                self.writer.write(part)
                await self.writer.drain()
                await asyncio.sleep(pause)


@asynccontextmanager
async def serving(app: FastAPI, limits: Limits = SHORT) -> AsyncGenerator[Callable[[], "asyncio.Future[Caller]"]]:
    """Serve the app on a port; yields a function that opens connections to it."""
    port = free_port()
    task = asyncio.create_task(server.serve(app, "127.0.0.1", port, limits))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await until_up(client)
    opened: list[Caller] = []

    async def connect() -> Caller:
        opened.append(Caller(*await asyncio.open_connection("127.0.0.1", port)))
        return opened[-1]

    try:
        yield lambda: asyncio.ensure_future(connect())
    finally:
        for caller in opened:
            caller.writer.transport.abort()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, 5)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param([b"X: " + b"x" * (LARGEST_HEAD + 100)], id="one packet"),
        pytest.param([b"X: ", *[b"x" * 10_000] * 8], id="in parts"),
        pytest.param([b"a: b\r\n" * (MAX_HEADERS + 1)], id="many headers"),
        pytest.param([b"a: b\r\n"] * (MAX_HEADERS + 10), id="many headers in parts"),
        pytest.param([b"X: " + b"x" * (LARGEST_HEAD + 100) + b"\r\n\r\n"], id="whole and too large"),
        pytest.param([b"a: b\r\n" * MAX_HEADERS + b"\r\n"], id="whole with one header too many"),
    ],
)
async def test_too_large_a_head_is_refused_and_the_connection_closed(app: FastAPI, head: list[bytes]):
    async with serving(app) as connect:
        caller = await connect()
        await caller.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n", *head)
        status, headers, body = await caller.answer()
        assert (status, headers["connection"], b"head_too_large" in body) == (431, "close", True)
        assert await caller.ends() == b""


async def test_a_head_within_the_limits_is_served(app: FastAPI):
    async with serving(app) as connect:
        caller = await connect()
        for head in (b"X: " + b"x" * 60_000 + b"\r\n", b"a: b\r\n" * (MAX_HEADERS - 1)):
            await caller.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n", head, b"\r\n")
            assert (await caller.answer())[0] == 200


@pytest.mark.parametrize(
    "sent, status",
    [
        pytest.param([b"GET /livez HTTP/1.1\r\n"], 408, id="head"),
        pytest.param([b"\r\n"] * 30, 408, id="blank lines"),
        pytest.param([b"GET /", *[b"x"] * 30], 408, id="byte by byte"),
        pytest.param([GET, b"GET /livez HTTP/1.1\r\n", *[b"a: b\r\n"] * 30], 408, id="the second head"),
    ],
)
async def test_a_head_must_arrive_in_time(app: FastAPI, sent: list[bytes], status: int):
    async with serving(app) as connect:
        caller = await connect()
        begun = time.monotonic()
        sending = asyncio.create_task(caller.send(*sent, pause=0.1))
        if sent[0] is GET:
            assert (await caller.answer())[0] == 200
        assert (await caller.answer())[0] == status
        assert SHORT.head <= time.monotonic() - begun < SHORT.head + 1.5
        sending.cancel()
        assert await caller.ends() == b""


async def test_a_silent_connection_is_closed_without_a_response(app: FastAPI):
    async with serving(app) as connect:
        assert await (await connect()).ends(SHORT.head + 1.5) == b""


async def test_an_idle_connection_is_kept_for_the_promised_time(app: FastAPI):
    assert Limits().keep_alive == 75
    async with serving(app) as connect:
        caller = await connect()
        for _ in range(2):
            await caller.send(GET)
            assert (await caller.answer())[0] == 200
            await asyncio.sleep(SHORT.keep_alive - 0.5)
        begun = time.monotonic()
        assert await caller.ends() == b""
        assert time.monotonic() - begun < 2.0


async def test_a_body_must_arrive_in_time(app: FastAPI, as_customer: AsCustomer):
    credentials = f"Authorization: {as_customer('ann')['Authorization']}\r\n".encode()
    async with serving(app) as connect:
        caller = await connect()
        begun = time.monotonic()
        await caller.send(POST + credentials + b"Content-Length: 5000\r\n\r\n")
        sending = asyncio.create_task(caller.send(*[b"x"] * 50, pause=0.1))
        status, _, body = await caller.answer()
        assert (status, b"body_timeout" in body) == (408, True)
        assert SHORT.body <= time.monotonic() - begun < SHORT.body + 1.5
        sending.cancel()
        # A fast enough body may take longer.
        caller = await connect()
        await caller.send(POST + credentials + b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
        await caller.send(*[b" " * 10_000] * 10, pause=0.2)
        assert (await caller.answer())[0] == 200


@pytest.mark.parametrize("length", [b"Content-Length: 3000000", b"Transfer-Encoding: chunked"])
async def test_without_credentials_no_body_is_read_and_the_response_arrives(app: FastAPI, length: bytes):
    for path in (b"/v1/orders", b"/v1/nothing", b"/nothing"):
        async with serving(app) as connect:
            caller = await connect()
            await caller.send(b"POST " + path + b" HTTP/1.1\r\nHost: a\r\n" + length + b"\r\n\r\n")
            framed = b"10000\r\n" + b"x" * 65_536 + b"\r\n" if b"chunked" in length else b"x" * 65_536
            sending = asyncio.create_task(caller.send(*[framed] * 30))
            status, headers, body = await caller.answer()
            assert (status, headers["connection"], b"unauthenticated" in body) == (401, "close", True)
            await asyncio.wait([sending])
            assert await caller.ends() == b""


async def test_expect_100_continue_needs_credentials(app: FastAPI, as_customer: AsCustomer):
    expecting = POST + b"Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n"
    async with serving(app) as connect:
        caller = await connect()
        await caller.send(expecting + b"\r\n")
        assert (await caller.answer())[0] == 401
        caller = await connect()
        await caller.send(expecting + f"Authorization: {as_customer('ann')['Authorization']}\r\n\r\n".encode())
        assert (await caller.answer())[0] == 100
        await caller.send(b"{}")
        assert (await caller.answer())[0] == 200


async def test_framing_is_bounded(app: FastAPI, as_customer: AsCustomer):
    credentials = f"Authorization: {as_customer('ann')['Authorization']}\r\n".encode()
    head = POST + credentials + b"Transfer-Encoding: chunked\r\n\r\n"
    async with serving(app) as connect:
        for parts in ([b"1;x=y\r\n \r\n" * 1000] * 60, [b"0\r\n", *[b"x: " + b"y" * 60_000 + b"\r\n"] * 6]):
            caller = await connect()
            assert sum(map(len, parts)) > LARGEST_FRAMING
            sending = asyncio.create_task(caller.send(head, *parts))
            assert (await caller.answer())[0] in {400, 431}
            sending.cancel()


async def test_a_full_server_evicts_the_longest_idle_connections(app: FastAPI):
    async with serving(app, Limits(connections=5, head=30, keep_alive=30)) as connect:
        silent = [await connect() for _ in range(40)]
        for _ in range(3):
            newcomer = await connect()
            await newcomer.send(GET)
            assert (await newcomer.answer())[0] == 200
        assert await silent[0].ends(1) == b""


async def test_a_server_full_of_requests_answers_503(app: FastAPI):
    release, all_entered = asyncio.Event(), asyncio.Event()
    entered: list[int] = []

    @app.get("/waits")
    async def waits() -> dict[str, bool]:
        entered.append(1)
        if len(entered) == 3:
            all_entered.set()
        await release.wait()
        return {"done": True}

    async with serving(app, Limits(connections=3)) as connect:
        busy = [await connect() for _ in range(3)]
        for caller in busy:
            await caller.send(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.wait_for(all_entered.wait(), 5)
        newcomer = await connect()
        status, headers, body = await newcomer.answer()
        assert (status, headers["retry-after"], b"too_many_connections" in body) == (503, "1", True)
        release.set()
        assert [(await caller.answer())[0] for caller in busy] == [200] * 3


async def test_pipelined_requests_are_answered_in_order_up_to_a_limit(app: FastAPI):
    @app.get("/numbers/{number}")
    async def number(number: int) -> int:
        await asyncio.sleep(0.01 * (number % 3))
        return number

    async with serving(app) as connect:
        caller = await connect()
        asked = b"".join(b"GET /numbers/%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(MAX_PIPELINED))
        await caller.send(asked)
        assert [(await caller.answer())[2] for _ in range(MAX_PIPELINED)] == [
            str(number).encode() for number in range(MAX_PIPELINED)
        ]
        caller = await connect()
        await caller.send(GET * 3000)
        assert (await caller.ends()).count(b"HTTP/1.1 200") <= MAX_PIPELINED


async def test_a_bad_request_after_one_in_progress_is_refused_after_its_response(app: FastAPI):
    @app.get("/takes/time")
    async def takes_time() -> int:
        await asyncio.sleep(0.3)
        return 7

    async with serving(app) as connect:
        caller = await connect()
        await caller.send(b"GET /takes/time HTTP/1.1\r\nHost: a\r\n\r\n" + b"NO HTTP\r\n\r\n")
        assert (await caller.answer())[2] == b"7"
        assert (await caller.answer())[0] == 400
        assert await caller.ends() == b""


async def test_a_client_that_does_not_read_is_aborted(app: FastAPI, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "BYTES_PER_SECOND", 1_000_000)
    answered: list[int] = []

    @app.get("/large")
    async def large() -> str:
        answered.append(1)
        return "x" * 1_000_000

    async with serving(app, Limits(answer=0.5)) as connect:
        caller = await connect()
        caller.reader._transport.pause_reading()  # type: ignore[attr-defined]
        caller.writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" * MAX_PIPELINED)
        await asyncio.sleep(3.5)
        # The kernel's buffers and one waiting response: the others were not even made.
        assert 1 < len(answered) < 20
        caller.reader._transport.resume_reading()  # type: ignore[attr-defined]
        with contextlib.suppress(ConnectionError):
            content = await caller.ends()
            assert len(content) < MAX_PIPELINED * 1_000_000


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


AMBIGUOUS = [
    (b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"0\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"0\r\n\r\n" + SMUGGLED),
    (b"Content-Length: 0\r\nContent-Length: 35", SMUGGLED),
    (b"Content-Length: 0, 35", SMUGGLED),
    (b"Content-Length: +5", b"hello"),
    (b"Content-Length: -1", b""),
    (b"Content-Length: 0x5", b"hello"),
    (b"Content-Length: 99999999999999999999999", b""),
    (b"Content-Length : 35", SMUGGLED),
    (b"Transfer-Encoding : chunked", b"0\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding: xchunked", b"0\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding: chunked, identity", b"0\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"0\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding: \x0bchunked", b"0\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding: chunked", b"-1\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding: chunked", b"0x0\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding: chunked", b"ffffffffffffffffff\r\n" + SMUGGLED),
    (b"Transfer-Encoding: chunked", b"5\r\nhelloXX" + SMUGGLED),
    (b"X: a\nTransfer-Encoding: chunked", b"0\r\n\r\n" + SMUGGLED),
    (b"X: a\x00b", b""),
    (b"X\x01: a", b""),
    (b"X: a\r\n folded", b""),
]


async def test_requests_that_two_servers_could_read_differently_are_refused(app: FastAPI, as_customer: AsCustomer):
    credentials = f"Authorization: {as_customer('ann')['Authorization']}\r\n".encode()
    async with serving(app) as connect:
        for head, body in AMBIGUOUS:
            caller = await connect()
            await caller.send(POST + credentials + head + b"\r\n\r\n" + body)
            content = await caller.ends()
            assert content.startswith(b"HTTP/1.1 400 "), (head, content[:300])
            assert content.count(b"HTTP/1.1 ") == 1, head


async def test_an_upgrade_request_is_answered_and_the_connection_closed(app: FastAPI):
    async with serving(app) as connect:
        caller = await connect()
        await caller.send(GET[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n")
        status, headers, _ = await caller.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await caller.ends() == b""
