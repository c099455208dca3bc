"""Bodies designed to be expensive, for every route with a body: each is refused at a bounded cost.

Planted and caught here: a route whose body is not `BOUNDED`.
"""

import json
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.api.served import ROUTES, SERVICES, Route, Served, Service, serve
from tests.api.test_roles import BODIES

MOST_CPU_SECONDS = 1.5
"""With tracing, which takes about five times as long; the slowest took 10 s untraced before errors were bounded."""

MOST_BYTES = 60_000_000
"""Maximum memory of a request of 1 MB, its error messages included."""

PIECES: dict[str, bytes] = {
    "zeros": b"[" + b",".join([b"0"] * 49_000) + b"]",
    "objects": b"[" + b",".join([b"{}"] * 24_000) + b"]",
    "members": json.dumps({f"k{number}": 0 for number in range(49_000)}).encode(),
    "depth": b"[" * 900 + b"]" * 900,
    "bottomless": b"[" * 100_000 + b"]" * 100_000,
    "digits": b"9" * 4_000,
    "too many digits": b"9" * 400_000,
    "text": json.dumps("x" * 900_000).encode(),
    "wide text": json.dumps("😀" * 200_000, ensure_ascii=False).encode(),
    "escapes": b'"' + b"\\u0041" * 150_000 + b'"',
    "half a pair": b'["' + b"k" * 60_000 + b'\\ud800",' + b",".join([b"0"] * 10_000) + b"]",
}


MANY = ("zeros", "objects", "members")


def routes_with_bodies(service: Service) -> list[Route]:
    paths = service.document()["paths"]
    return [route for route in ROUTES if route.service is service and "requestBody" in paths[route.path][route.method]]


def bodies(route: Route) -> Iterator[tuple[str, bytes]]:
    """Each piece as the whole body, and those with many parts, in turn, in place of each member of a valid body."""
    yield from PIECES.items()
    good = BODIES.get(str(route), {})
    for name, member in zip(cycle(MANY), {**good, "lines": [], "unknown": 0}, strict=False):
        others = json.dumps({key: value for key, value in good.items() if key != member}).encode()
        before = others[:-1] + (b"," if len(others) > 2 else b"")
        yield f"{name} at {member}", before + json.dumps(member).encode() + b":" + PIECES[name] + b"}"


@pytest.fixture
async def served(service: Service, postgres_url: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(service, postgres_url, tmp_path) as served:
        yield served


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.deep)], ids=["some", "every"])
@pytest.mark.parametrize(
    "service", [service for service in SERVICES if routes_with_bodies(service)], ids=lambda service: service.name
)
async def test_the_cost_of_every_body_is_bounded(service: Service, served: Served, *, every: bool):
    for number, route in enumerate(routes_with_bodies(service)):
        every_body = list(bodies(route))
        for name, body in every_body if every else [every_body[number % len(every_body)]]:
            headers: dict[str, Any] = {"Content-Type": "application/json", "Idempotency-Key": str(uuid4())}
            url = route.path.format(**served.parameters(route.path))
            begun = time.process_time()
            tracemalloc.start()
            try:
                answer = await served.client.request(
                    route.method, url, content=body, headers=headers | served.admin | {"If-Match": "*"}
                )
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            about = f"{route}: {name}: {answer.status_code} {answer.text[:200]}"
            assert answer.status_code < 500, about
            assert len(answer.content) < 50_000, about
            assert len(answer.json().get("errors", ())) <= 50, about
            assert peak < MOST_BYTES, f"{peak} {about}"
            assert time.process_time() - begun < MOST_CPU_SECONDS, f"{time.process_time() - begun} {about}"
