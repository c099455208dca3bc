"""Hostile callers, for a bounded time: each kind attacks one address, and counts the answers.

Use it only against servers on this machine that a test has started. A kind opens at most `connections` concurrent
connections and closes all of them; it raises nothing, whatever the server does. `python -m tests.support.hostile KIND
TARGET` runs in a separate process, so that the attack does not delay the measuring process; TARGET and the answers are
JSON.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import count
from typing import Final

Answers = Counter[str]
"""How often what happened: a status (`401`), `closed` (without an answer), `refused` (no connection), `open` (at the
end the connection was still there)."""


@dataclass(frozen=True)
class Target:
    """The attacked server, the duration in seconds, and the number of concurrent connections.

    `path` takes POST and `readable` GET; `headers` may have valid credentials, as an insider has.
    """

    port: int
    host: str = "127.0.0.1"
    seconds: float = 2.0
    connections: int = 50
    path: str = "/v1/points/quotes"
    readable: str = "/openapi.json"
    headers: Mapping[str, str] | None = None

    def head(self, method: str = "POST", **more: str) -> bytes:
        """A request's head, with the blank line at its end; `_` in names stands for `-`."""
        fields = {"Host": "wafa", **(self.headers or {}), **{name.replace("_", "-"): more[name] for name in more}}
        lines = [
            f"{method} {self.path if method == 'POST' else self.readable} HTTP/1.1",
            *(f"{name}: {value}" for name, value in fields.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


_NUMBERS: Final = count()
Caller = Callable[[Target, asyncio.StreamWriter, int], Awaitable[None]]
"""What is done over a connection; the number is another one for each."""


async def stalled_heads(target: Target) -> Answers:
    """Connections that send a head byte by byte and never end it."""

    async def call(target: Target, writer: asyncio.StreamWriter, _number: int) -> None:
        await _trickle(writer, target.head()[:-4] + b"\r\nX-Slow: " + b"z" * 10_000)

    return await _again_and_again(target, call)


async def stalled_bodies(target: Target) -> Answers:
    """Connections that announce a body and send it byte by byte."""

    async def call(target: Target, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(target.head(Content_Type="application/json", Content_Length="500000"))
        await _trickle(writer, b"[" * 500_000)

    return await _again_and_again(target, call)


async def silent_connections(target: Target) -> Answers:
    """Connections that never send anything."""

    async def call(_target: Target, _writer: asyncio.StreamWriter, _number: int) -> None:
        pass

    return await _again_and_again(target, call)


async def giant_heads(target: Target) -> Answers:
    """Heads without an end: one endless header, or endlessly many headers."""

    async def call(target: Target, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(target.head()[:-2])
        line = b"X-Large: " if number % 2 else b""
        piece = b"x" * 65_536 if line else b"a:b\r\n" * 13_000
        writer.write(line)
        for _ in range(3_000):
            writer.write(piece)
            await writer.drain()

    return await _again_and_again(target, call)


async def swelling_bodies(target: Target) -> Answers:
    """Small bodies that become large in memory: long names beside escapes, many tiny values, deep nesting."""
    bodies = [
        b'{"\\u0061' + b"k" * 60_000 + b'":[' + b",".join([b"0"] * 10_000) + b"]}",
        b'{"lines":[' + b",".join([b"0"] * 10_000) + b"]}",
        b'{"lines":[' + b",".join([b"{}"] * 300_000) + b"]}",
        b"[" * 200_000,
        b'{"total":' + b"9" * 500_000 + b"}",
        b'{"total":"\\ud800","lines":' + b'{"a":' * 900 + b"0" + b"}" * 900 + b"}",
    ]

    async def call(target: Target, writer: asyncio.StreamWriter, number: int) -> None:
        body = bodies[number % len(bodies)]
        writer.write(target.head(Content_Type="application/json", Content_Length=str(len(body))) + body)
        await writer.drain()

    return await _again_and_again(target, call)


async def endless_bodies(target: Target) -> Answers:
    """Chunked bodies without an end: large chunks, chunks of one byte, and trailers."""

    async def call(target: Target, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(target.head(Content_Type="application/json", Transfer_Encoding="chunked"))
        kind = number % 3
        piece = (b"10000\r\n" + b" " * 65_536 + b"\r\n", b"1;x=y\r\n \r\n" * 6_000, b"x: " + b"y" * 60_000 + b"\r\n")[
            kind
        ]
        if kind == 2:
            writer.write(b"1\r\n \r\n0\r\n")
        for _ in range(500):
            writer.write(piece)
            await writer.drain()

    return await _again_and_again(target, call)


async def flood(target: Target) -> Answers:
    """As many requests as possible, each over a new connection, without valid credentials."""

    async def call(target: Target, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(target.head(Authorization="Bearer wafa_0_0", Content_Length="0", Connection="close"))

    return await _again_and_again(target, call)


async def pipelined(target: Target) -> Answers:
    """Connections that send requests, and more of them, before any is answered."""

    async def call(target: Target, writer: asyncio.StreamWriter, number: int) -> None:
        for _ in range(2_000):
            writer.write(target.head(Content_Length="0") * 200)
            await writer.drain()

    return await _again_and_again(target, call)


async def unread_answers(target: Target) -> Answers:
    """Connections that request large answers and read nothing."""

    async def call(target: Target, writer: asyncio.StreamWriter, _number: int) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined] # of a socket it is a transport that reads too
        for _ in range(5_000):
            writer.write(target.head("GET") * 16)
            await writer.drain()
            await asyncio.sleep(0.01)

    return await _again_and_again(target, call)


KINDS: Final[Mapping[str, Callable[[Target], Awaitable[Answers]]]] = {
    "stalled heads": stalled_heads,
    "stalled bodies": stalled_bodies,
    "silent connections": silent_connections,
    "giant heads": giant_heads,
    "swelling bodies": swelling_bodies,
    "endless bodies": endless_bodies,
    "flood": flood,
    "pipelined": pipelined,
    "unread answers": unread_answers,
}


async def in_own_process(kind: str, target: Target) -> Answers:
    """Attack from a separate process.

    Raises:
        RuntimeError: the process failed.
    """
    arguments = ("-m", "tests.support.hostile", kind, json.dumps(asdict(target)))
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError(f"hostile callers ended with {process.returncode}")
    return Counter(json.loads(output))


async def attack(target: Target) -> dict[str, Answers]:
    """Run all kinds concurrently, each in a separate process with its share of the connections."""
    share = replace(target, connections=max(target.connections // len(KINDS), 1))
    answers = await asyncio.gather(*(in_own_process(kind, share) for kind in KINDS))
    return dict(zip(KINDS, answers, strict=True))


async def _again_and_again(target: Target, call: Caller) -> Answers:
    """Run `call` over the target's number of concurrent connections, each replaced when it ends, until time is up."""
    answers: Answers = Counter()
    loop = asyncio.get_running_loop()
    ends = loop.time() + target.seconds

    async def repeat() -> None:
        while loop.time() < ends:
            if await _once(target, call, answers, ends) == "refused":
                await asyncio.sleep(0.05)

    await asyncio.gather(*(repeat() for _ in range(target.connections)))
    return answers


async def _once(target: Target, call: Caller, answers: Answers, ends: float) -> str:
    try:
        reader, writer = await asyncio.open_connection(target.host, target.port)
    except OSError:
        answers["refused"] += 1
        return "refused"
    outcome = "open"
    calling = asyncio.ensure_future(call(target, writer, next(_NUMBERS)))
    try:
        async with asyncio.timeout_at(ends):
            outcome = await _answer(reader)
    except TimeoutError:
        pass
    finally:
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        writer.transport.abort()
    answers[outcome] += 1
    return outcome


async def _answer(reader: asyncio.StreamReader) -> str:
    try:
        line = await reader.readline()
    except OSError:
        return "closed"
    return line.split()[1].decode() if line.startswith(b"HTTP/1.1 ") else "closed"


async def _trickle(writer: asyncio.StreamWriter, content: bytes) -> None:
    for byte in content:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(KINDS[sys.argv[1]](Target(**json.loads(sys.argv[2]))))))
