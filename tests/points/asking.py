"""Requests to the API of points: each write with its own Idempotency-Key, at an instant that the test chooses."""

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
from tests.points.states import DEFAULT
from tests.support.documents import put_into_force

SINCE_EVER = datetime(1, 1, 1, tzinfo=UTC)

BASE: Any = DEFAULT["rules"][0]
"""The rule that gives 1 point per 1.00, available at once and never expiring."""

TEA: Any = {"id": "tea", "name": {"en": "Tea", "ar": "شاي"}, "points": 30, "kind": "free_product"}
"""A reward of unlimited stock, for every tier."""


@contextmanager
def at(moment: datetime) -> Generator[None]:
    """Set the API's clock."""
    with time_machine.travel(moment, tick=False):
        yield


async def post(
    client: httpx.AsyncClient, path: str, headers: Headers, body: object = None, *, name: str | None = None
) -> httpx.Response:
    """Send a write; `name` is its Idempotency-Key, default: a new one."""
    headers = headers | {"Idempotency-Key": name or str(uuid4())}
    return await client.post(path, json=body, headers=headers)


async def done(client: httpx.AsyncClient, path: str, headers: Headers, body: object = None) -> dict[str, Any]:
    """The body of the response to a write that succeeds."""
    answer = await post(client, path, headers, body)
    assert answer.is_success, answer.text
    return answer.json()


def of(customer_id: str, what: str) -> str:
    """A path below a customer."""
    return f"/v1/customers/{quote(customer_id, safe='')}/{what}"


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """The status and the code of a problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def pointers(answer: httpx.Response) -> list[str]:
    """The pointers of the errors in a refused document."""
    assert refusal(answer) == (422, "invalid_request")
    return [error["pointer"] for error in answer.json()["errors"]]


async def enact(pool: Pool, *given: dict[str, Any], since: datetime = SINCE_EVER, **fields: Any) -> int:
    """Put rules into force, also in the past, which no request can do; returns the version's number."""
    document = dump(parse(DEFAULT | ({"rules": given} if given else {}) | fields))
    return await put_into_force(pool, "earning_rules", document, since)


async def lots(pool: Pool, customer_id: str = "ann") -> list[tuple[str, int, datetime | None]]:
    """A customer's open lots in the order in which they are spent: origin, remaining points, expiry."""
    rows = await pool.fetch(
        "SELECT origin, remaining, expires_at FROM lot WHERE customer_id = $1 AND remaining > 0"
        " ORDER BY expires_at NULLS LAST, occurred_at, id",
        customer_id,
    )
    return [tuple(row) for row in rows]


async def stock(pool: Pool) -> int | None:
    """The stock of tea."""
    return await pool.fetchval("SELECT stock FROM reward WHERE id = 'tea'")
