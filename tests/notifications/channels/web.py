"""A web server of raw sockets: it keeps the requests, and a script gives the answers."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

HANG: Final = b"hang"
"""No answer ever comes."""
CUT: Final = b"cut"
"""The connection is reset without an answer."""
DRIP: Final = b"drip"
"""The answer comes byte by byte and has no end."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode(), strict_parsing=True).items()}


def answer(status: int, content: Any = None, **headers: str) -> bytes:
    """An answer with a JSON body."""
    body = b"" if content is None else json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status} x", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class FakeWeb:
    script: Callable[[Request], bytes] = lambda _: answer(201)
    requests: list[Request] = field(default_factory=list[Request])
    connections: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        method, path, _ = first.split(" ")
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append(Request(method, path, headers, body))
        said = self.script(self.requests[-1])
        if said == CUT:
            writer.transport.abort()
            return False
        if said == HANG:
            await asyncio.sleep(60)
        if said == DRIP:
            for byte in b"HTTP/1.1 201 x\r\n" + b"a: b\r\n" * 200:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)
        writer.write(said)
        await writer.drain()
        return True


@asynccontextmanager
async def serving(fake: FakeWeb) -> AsyncGenerator[FakeWeb]:
    """Let a server listen."""
    running: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.current_task())
        await fake.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", fake.port)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()
        tasks = [task for task in running if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
