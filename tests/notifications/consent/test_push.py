"""Push subscriptions over HTTP."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.postgres.pool import Pool
from tests.notifications.consent.world import BROWSER, KEYS, customer
from tests.notifications.world import ago, erased, handle, registered


async def register(client: httpx.AsyncClient, customer_id: str = "mona", **changes: Any) -> httpx.Response:
    path = f"/v1/customers/{customer_id}/push-subscriptions"
    return await client.post(path, json=BROWSER | changes, headers=customer(customer_id))


async def owners(pool: Pool) -> list[tuple[str, str]]:
    rows = await pool.fetch("SELECT customer_id, endpoint FROM push_subscription ORDER BY created_at, endpoint")
    return [(row["customer_id"], row["endpoint"]) for row in rows]


async def test_register_again_and_remove(client: httpx.AsyncClient, pool: Pool):
    first = await register(client)
    assert first.status_code == 201, first.text
    assert first.json().keys() == {"id", "endpoint", "created_at"}
    again = await register(client)
    assert again.json()["id"] == first.json()["id"]
    assert await owners(pool) == [("mona", BROWSER["endpoint"])]
    path = f"/v1/customers/mona/push-subscriptions/{first.json()['id']}"
    assert (await client.delete(path.replace("mona", "ben"), headers=customer("ben"))).status_code == 204
    assert await owners(pool) == [("mona", BROWSER["endpoint"])], "it is not Ben's"
    for _ in range(2):
        assert (await client.delete(path, headers=customer("mona"))).status_code == 204
    assert await owners(pool) == []
    for unknown, status in ((uuid4(), 204), ("abc", 404)):
        answer = await client.delete(f"/v1/customers/mona/push-subscriptions/{unknown}", headers=customer("mona"))
        assert answer.status_code == status


async def test_an_endpoint_belongs_to_who_registered_it_last(client: httpx.AsyncClient, pool: Pool):
    mona, ben = await register(client), await register(client, "ben")
    assert mona.json()["id"] != ben.json()["id"]
    assert await owners(pool) == [("ben", BROWSER["endpoint"])]


async def test_the_newest_ten_are_kept(client: httpx.AsyncClient, pool: Pool):
    for number in range(12):
        answer = await register(client, endpoint=f"https://push.example.org/{number:02}")
        assert answer.status_code == 201
    assert [endpoint for _, endpoint in await owners(pool)] == [
        f"https://push.example.org/{number:02}" for number in range(2, 12)
    ]


@pytest.mark.parametrize(
    "changes, pointer",
    [
        ({"endpoint": "http://push.example.org/1"}, "/endpoint"),
        ({"endpoint": "https://127.0.0.1/1"}, "/endpoint"),
        ({"endpoint": "https://[::1]/1"}, "/endpoint"),
        ({"endpoint": "https://169.254.169.254/latest"}, "/endpoint"),
        ({"endpoint": "https://0x7f000001/"}, "/endpoint"),
        ({"endpoint": "https://user:pass@push.example.org/"}, "/endpoint"),
        ({"endpoint": "https://push.example.org/" + "a" * 3000}, "/endpoint"),
        ({"endpoint": "https://push.example.org/ä"}, "/endpoint"),
        ({"endpoint": "push"}, "/endpoint"),
        ({"keys": KEYS | {"p256dh": "AAAA"}}, "/keys"),
        ({"keys": KEYS | {"p256dh": "B" * 87}}, "/keys"),
        ({"keys": KEYS | {"auth": "AAAA"}}, "/keys"),
        ({"keys": {"auth": KEYS["auth"]}}, "/keys/p256dh"),
        ({"keys": None}, "/keys"),
    ],
)
async def test_what_does_not_fit_is_refused(
    client: httpx.AsyncClient, pool: Pool, changes: dict[str, Any], pointer: str
):
    answer = await register(client, **changes)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert await owners(pool) == []


async def test_an_erased_customer_has_no_browser(client: httpx.AsyncClient, pool: Pool):
    await handle(pool, registered("mona", ago(hours=2)))
    await register(client)
    await handle(pool, erased("mona"))
    assert await owners(pool) == []
    answer = await register(client)
    assert (answer.status_code, answer.json()["code"]) == (409, "erased")
