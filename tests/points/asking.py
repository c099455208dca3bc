"""Asking the API of points for something: each write under an Idempotency-Key of its own, at an instant of the test."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import time_machine

from services.points.rules.program.checking import parse
from shared.postgres.pool import Pool
from shared.programs.kind import dump
from tests.points.conftest import Headers
from tests.points.known import DEFAULT
from tests.support.documents import put_into_force

SINCE_EVER = datetime(1, 1, 1, tzinfo=UTC)

BASE: Any = DEFAULT["rules"][0]
"""The rule that gives 1 point for 1.00, at once and for ever."""

TEA: Any = {"id": "tea", "name": {"en": "Tea", "ar": "شاي"}, "points": 30, "kind": "free_product"}
"""A reward without end, for everybody."""


@contextmanager
def at(moment: datetime) -> Generator[None]:
    """What the API takes for now."""
    with time_machine.travel(moment, tick=False):
        yield


async def post(
    client: httpx.AsyncClient, path: str, headers: Headers, body: object = None, *, name: str | None = None
) -> httpx.Response:
    """A write; `name` is its Idempotency-Key, a new one where none is given."""
    headers = headers | {"Idempotency-Key": name or str(uuid4())}
    return await client.post(path, json=body, headers=headers)


async def done(client: httpx.AsyncClient, path: str, headers: Headers, body: object = None) -> dict[str, Any]:
    """What a write that succeeds is answered."""
    answer = await post(client, path, headers, body)
    assert answer.is_success, answer.text
    return answer.json()


def of(customer_id: str, what: str) -> str:
    """A path of a customer."""
    return f"/v1/customers/{quote(customer_id, safe='')}/{what}"


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """The status and the code of a problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def pointers(answer: httpx.Response) -> list[str]:
    """Where a refused document is wrong."""
    assert refusal(answer) == (422, "invalid_request")
    return [error["pointer"] for error in answer.json()["errors"]]


async def enact(pool: Pool, *given: dict[str, Any], since: datetime = SINCE_EVER, **fields: Any) -> int:
    """Put rules into force, as no request could: also in the past; returns the version's number."""
    document = dump(parse(DEFAULT | ({"rules": given} if given else {}) | fields))
    return await put_into_force(pool, "earning_rules", document, since)


async def lots(pool: Pool, customer_id: str = "ann") -> list[tuple[str, int, datetime | None]]:
    """A customer's open lots in the order in which they are spent: origin, what remains, and the end."""
    rows = await pool.fetch(
        "SELECT origin, remaining, expires_at FROM lot WHERE customer_id = $1 AND remaining > 0"
        " ORDER BY expires_at NULLS LAST, occurred_at, id",
        customer_id,
    )
    return [tuple(row) for row in rows]


async def stock(pool: Pool) -> int | None:
    """How much tea is left."""
    return await pool.fetchval("SELECT stock FROM reward WHERE id = 'tea'")
