"""The stored response of every write about a customer is erased with the customer; the write is not done twice."""

from datetime import UTC, datetime

import pytest

from shared.contracts.envelope import Event
from shared.messaging import erasure
from tests.api.served import Route, Served
from tests.api.test_another_customer import BODIES, OF_A_CUSTOMER
from tests.contracts.records import envelope, read, structured

WITHOUT_KEY = {"PUT /v1/customers/{id}/preferences", "DELETE /v1/customers/{id}/push-subscriptions/{sid}"}
"""Writes that change nothing when they are repeated: no response is stored for them."""

WRITES = [
    route
    for route in OF_A_CUSTOMER
    if route.method in {"post", "put", "patch", "delete"} and str(route) not in WITHOUT_KEY
]


def erased(customer_id: str) -> Event:
    event = envelope("shop.customer.erased.v1", subject=..., data={"customer_id": customer_id})
    return read(structured(event | {"time": "2027-01-01T00:00:00Z"}))


async def written(served: Served) -> list[tuple[object, ...]]:
    """The number of rows of each table, and the last published event."""
    names = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
    tables = [row["table_name"] for row in await served.pool.fetch(names)]
    return [(name, await served.pool.fetchval(f'SELECT count(*) FROM "{name}"')) for name in tables]


@pytest.mark.parametrize("route", WRITES, ids=str)
async def test_a_write_repeated_after_the_erasure_is_410_and_has_no_effect(route: Route, served: Served):
    async def ask(key: str) -> tuple[int, str]:
        url = route.path.format(**served.parameters(route.path))
        headers = served.admin | {"Idempotency-Key": key}
        answer = await served.client.request(route.method, url, json=BODIES.get(str(route)), headers=headers)
        return answer.status_code, str(answer.json().get("code"))

    first = await ask("once")
    assert first[0] in {200, 201}
    assert await ask("once") == first
    async with served.pool.acquire() as connection, connection.transaction():
        gone = [erased(served.known["customers"])]
        await erasure.apply(connection, gone, erasure.erase_nothing, datetime.now(UTC))
    before = await written(served)
    assert await ask("once") == (410, "erased")
    stored = await served.pool.fetchrow("SELECT status, body::text, customer_id FROM idempotency_key")
    assert await written(served) == before
    assert tuple(stored or ()) == (410, "null", served.known["customers"])
