"""150 concurrent writers of one customer, and reads of another customer meanwhile, in one API process."""

import asyncio
import json
import math
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import httpx

from deploy.keys import create_key
from tests.bench.figures import Figure
from tests.bench.plan import Plan
from tests.bench.processes import serving
from tests.bench.rounds import WrongEffectError

WRITERS: Final = 150
SECONDS: Final = 5.0
HOT: Final = "crowd-hot"
BYSTANDER: Final = "crowd-bystander"
GRANT: Final = 1_000_000

_READ_EVERY: Final = 0.01
_ENDS_WITHIN: Final = 60.0

SPENT_SQL = """
SELECT (SELECT count(*) FROM redemption WHERE customer_id = $1) AS redemptions,
       (SELECT count(*) FROM transaction WHERE customer_id = $1 AND kind = 'redeemed') AS transactions,
       (SELECT available FROM account WHERE customer_id = $1) AS available
"""


@dataclass(slots=True)
class Crowd:
    """The results: statuses of writes, number of done writes, and seconds of each read."""

    port: int
    token: str
    seconds: float
    statuses: Counter[int] = field(default_factory=Counter[int])
    done: int = 0
    waited: list[float] = field(default_factory=list[float])
    _ends: float = 0.0

    @property
    def p99(self) -> float:
        """The 99th percentile of the reads' time in seconds."""
        return sorted(self.waited)[max(0, math.ceil(len(self.waited) * 0.99) - 1)]

    async def gather(self) -> None:
        """Run all writers and the reader; every write is retried until it succeeds."""
        self._ends = time.monotonic() + self.seconds
        async with asyncio.timeout(self.seconds + _ENDS_WITHIN), asyncio.TaskGroup() as group:
            group.create_task(self._read())
            for number in range(WRITERS):
                group.create_task(self._write(f"{uuid4().hex}-{number}"))

    async def _read(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        request = self._head("GET", f"/v1/customers/{BYSTANDER}/points") + b"\r\n"
        while time.monotonic() < self._ends:
            began = time.perf_counter()
            status, _ = await _ask(reader, writer, request)
            self.waited.append(time.perf_counter() - began)
            if status != 200:
                raise WrongEffectError(f"a read of the bystander was answered {status}")
            await asyncio.sleep(_READ_EVERY)
        writer.close()

    async def _write(self, name: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        number = 0
        while time.monotonic() < self._ends:
            key = f"{name}-{number}"
            number += 1
            body = json.dumps({"points": 1, "reference": key}).encode()
            request = (
                self._head("POST", f"/v1/customers/{HOT}/redemptions")
                + (
                    f"Idempotency-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                ).encode()
            )
            while (answer := await _ask(reader, writer, request + body))[0] != 201:
                self.statuses[answer[0]] += 1
                await asyncio.sleep(answer[1])
            self.statuses[201] += 1
            self.done += 1
        writer.close()

    def _head(self, method: str, path: str) -> bytes:
        return f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self.token}\r\n".encode()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, float]:
    """The status of an answer, and its Retry-After in seconds."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
    await reader.readexactly(int(fields["content-length"]))
    return int(head.split()[1]), float(fields.get("retry-after", 1))


async def prepare(port: int, token: str) -> None:
    """Grant points to both customers."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
        for customer in (HOT, BYSTANDER):
            grant = {"points": GRANT, "reason": "to be redeemed"}
            path = f"/v1/customers/{customer}/adjustments"
            answer = await client.post(path, json=grant, headers={"Idempotency-Key": f"crowd-{customer}"})
            answer.raise_for_status()


async def measure(plan: Plan) -> list[Figure]:
    """A read's p99 during 150 writers of another customer; each write is done once or answered 503."""
    keys = plan.bed.folder / "crowd-keys.json"
    token = create_key(keys, ["read", "redeem", "support"], "crowd")
    waits: list[float] = []
    writes: list[float] = []
    async with AsyncExitStack() as stack:
        url, pool = await stack.enter_async_context(plan.bed.database())
        env = {"WAFA_DATABASE_URL_POINTS": url, "WAFA_API_KEYS_FILE": str(keys), "WAFA_LOG_LEVEL": "ERROR"}
        port, _ = await stack.enter_async_context(serving("points", ("services.points", "api"), env, plan.bed.folder))
        await prepare(port, token)
        done = 0
        for number in range(plan.rounds):
            crowd = Crowd(port, token, plan.seconds(SECONDS))
            await crowd.gather()
            done += crowd.done
            spent = await pool.fetchrow(SPENT_SQL, HOT)
            assert spent is not None, "it has a row"
            if tuple(spent) != (done, done, GRANT - done) or crowd.statuses.keys() - {201, 503}:
                raise WrongEffectError(f"{done} writes made {dict(spent)}, answered {dict(crowd.statuses)}")
            waits.append(crowd.p99 * 1000)
            writes.append(crowd.done / crowd.seconds)
            plan.say(f"round {number + 1} of {plan.rounds}: a read's p99 {crowd.p99 * 1000:.0f} ms, {crowd.statuses}")
    return [
        Figure(f"crowd: balance beside {WRITERS} writers of another customer: p99", waits, "ms", at_most=250),
        Figure(f"crowd: redemptions by {WRITERS} writers of one customer", writes, "requests/s"),
    ]
