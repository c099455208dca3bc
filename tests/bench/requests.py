"""Endless requests to the API, as bytes: reads, quotes and redemptions."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, cycle
from typing import Any
from uuid import uuid4


def reads(paths: Sequence[str], token: str) -> Iterator[bytes]:
    """GET requests of the paths, in a cycle."""
    return cycle(
        [f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n".encode() for path in paths]
    )


def quotes(carts: Sequence[Mapping[str, Any]], token: str) -> Iterator[bytes]:
    """Quotes of the carts, in a cycle."""
    return cycle([_post("/v1/points/quotes", token, cart) for cart in carts])


def redemptions(customers: Sequence[str], token: str) -> Iterator[bytes]:
    """Redemptions of a point by each customer in turn, each with its own reference and key."""
    run = uuid4().hex
    for number, customer in zip(count(), cycle(customers), strict=False):
        name = f"bench-{run}-{number}"
        body = {"points": 1, "reference": name}
        yield _post(f"/v1/customers/{customer}/redemptions", token, body, f"Idempotency-Key: {name}\r\n")


def _post(path: str, token: str, body: Mapping[str, Any], more: str = "") -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n{more}"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content
