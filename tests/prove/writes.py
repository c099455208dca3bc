"""API writes during a run: each is retried under its key until it is answered."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import Random
from typing import Any, Final
from urllib.parse import quote

import httpx

from tests.prove import tiering
from tests.prove.earning import REWARD

_TIMEOUT: Final = 10.0
_PAUSE: Final = 0.25
_AT_ONCE: Final = 8


class Kind(StrEnum):
    """The kind of a write."""

    ADJUST = "adjust"
    REDEEM = "redeem"
    REWARD = "reward"
    CANCEL = "cancel"
    HOLD = "hold"
    CAPTURE = "capture"
    RELEASE = "release"
    ASSIGN = "tier by hand"
    USE = "use of a benefit"
    PROGRAM = "tier program"
    DECIDE = "decision on a referral"


@dataclass(slots=True)
class Write:
    """A write and its answer: status and body, or status 0 before it is answered."""

    key: str
    kind: Kind
    customer: str
    path: str
    body: Mapping[str, Any]
    method: str = "POST"
    status: int = 0
    answer: dict[str, Any] = field(default_factory=dict)
    attempts: int = 0
    replayed: bool = False
    """Whether the answer is a replay: the first answer was lost."""

    @property
    def done(self) -> bool:
        """Whether it was acknowledged."""
        return 200 <= self.status < 300


@dataclass(slots=True)
class Writer:
    """Sends writes at a pace, a few concurrently, drawn from the seed and earlier answers."""

    client: httpx.AsyncClient
    random: Random
    customers: Callable[[], Sequence[str]]
    """The customers with published events."""
    mix: Mapping[Kind, int]
    writes: list[Write] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    last_answer: float = 0.0
    """The loop time of the last answer below 500."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _failures: list[BaseException] = field(default_factory=list)

    async def run(self, rate: float, stopped: asyncio.Event) -> None:
        """Send `rate` writes a second until stopped; then wait until all are answered."""
        while not stopped.is_set():
            if len(self._tasks) < _AT_ONCE and (customers := self.customers()):
                self._go(self._begin(customers[int(len(customers) * self.random.random())]))
            await asyncio.sleep(1 / rate)
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        for error in self._failures:
            raise error

    @property
    def on_their_way(self) -> int:
        """Number of unanswered writes."""
        return sum(1 for write in self.writes[-64:] if write.status == 0)

    def _go(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failures.append(error)

    async def _begin(self, customer: str) -> None:
        [kind] = self.random.choices(list(self.mix), list(self.mix.values()))
        if kind is Kind.DECIDE:
            await self._decide()
            return
        number, home, draw = len(self.writes), f"/v1/customers/{quote(customer, safe='')}", self.random
        path, body, method = f"{home}/redemptions", dict[str, Any](), "POST"
        match kind:
            case Kind.ADJUST:
                path = f"{home}/adjustments"
                body = {"points": draw.choice((40, 25, 90, -15)), "reason": f"proof {number}", "note": "for support"}
            case Kind.REDEEM:
                body = {"points": draw.randint(1, 60), "reference": f"proof-{number}"}
            case Kind.REWARD:
                body = {"reward_id": REWARD["id"]}
            case Kind.ASSIGN:
                path, body, method = f"{home}/tier", _assignment(draw, number), "PUT"
            case Kind.USE:
                benefit = draw.choice((tiering.GIFT, tiering.GIFT, tiering.SHIPPING))
                path, body = f"{home}/benefits/{benefit}/uses", {"reference": f"proof-{number}"}
            case _:
                path, seconds = f"{home}/holds", draw.choice((2, 5, 3600))
                body = {"points": draw.randint(1, 50), "reference": f"proof-{number}", "expires_in_seconds": seconds}
        write = await self.send(Write(f"proof-{number}", kind, customer, path, body, method))
        if write.done:
            await self._go_on(write)

    async def _decide(self) -> None:
        """Decide on a flagged referral, if there is one: as people do who may have seen the queue some time ago."""
        with suppress(httpx.TransportError):
            queue = await self.client.get("/v1/referrals", params={"state": "flagged"}, timeout=_TIMEOUT)
            if queue.status_code == 200 and (flagged := queue.json()["data"]):
                id_, decision = self.random.choice(flagged)["id"], self.random.choice(("approve", "reject"))
                key, path = f"proof-{len(self.writes)}", f"/v1/referrals/{id_}/decision"
                await asyncio.sleep(self.random.uniform(0.0, 1.0))
                await self.send(Write(key, Kind.DECIDE, "", path, {"decision": decision, "note": key}))

    async def _go_on(self, write: Write) -> None:
        """Follow up: a hold is captured, released or expires; a redemption may be canceled."""
        draw = self.random.random()
        await asyncio.sleep(self.random.uniform(0.2, 4.0))
        if write.kind is Kind.HOLD and draw < 0.45:
            part = self.random.choice((None, max(1, write.body["points"] // 2)))
            body = {} if part is None else {"points": part}
            await self._follow(write, Kind.CAPTURE, f"/v1/holds/{write.answer['id']}/capture", body)
        elif write.kind is Kind.HOLD and draw < 0.75:
            await self._follow(write, Kind.RELEASE, f"/v1/holds/{write.answer['id']}/release", {})
        elif write.kind in {Kind.REDEEM, Kind.REWARD} and draw < 0.3:
            await self._follow(write, Kind.CANCEL, f"/v1/redemptions/{write.answer['id']}/cancel", {})

    async def _follow(self, write: Write, kind: Kind, path: str, body: dict[str, Any]) -> None:
        await self.send(Write(f"{write.key}-{kind}", kind, write.customer, path, body))

    async def send(self, write: Write) -> Write:
        """Send a write until it gets a final answer."""
        self.writes.append(write)
        while write.status == 0:
            write.attempts += 1
            try:
                headers = {"Idempotency-Key": write.key}
                answer = await self.client.request(
                    write.method, write.path, json=write.body, headers=headers, timeout=_TIMEOUT
                )
            except httpx.TransportError:
                await asyncio.sleep(_PAUSE)
                continue
            if answer.status_code >= 500 or _is_running(answer):
                await asyncio.sleep(_PAUSE)
                continue
            write.status, write.answer = answer.status_code, answer.json()
            write.replayed = "idempotency-replayed" in answer.headers
            self.last_answer = asyncio.get_running_loop().time()
            self.answered[write.kind] += 1
        return write


def _assignment(draw: Random, number: int) -> dict[str, Any]:
    """A tier by hand: as if it was reached, for some seconds or for days; locked or not."""
    body: dict[str, Any] = {"tier": draw.choice(("member", "silver", "gold", "gold")), "note": f"proof {number}"}
    if draw.random() < 0.7:
        until = datetime.now(UTC) + timedelta(seconds=draw.choice((15, 40, 86_400, 3 * 86_400)))
        body["until"] = until.isoformat()
    return body | {"locked": "until" in body and draw.random() < 0.5}


def _is_running(answer: httpx.Response) -> bool:
    return answer.status_code == 409 and answer.json().get("code") == "request_in_progress"
