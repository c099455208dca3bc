"""The inbox over HTTP."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from deploy.keys import create_key
from services.notifications.api import build
from services.notifications.settings import Settings
from shared.postgres.pool import Pool
from tests.notifications.world import earned, handle, messages, registered

SECRET = "a secret of thirty-two bytes or so"

Call = Callable[..., Any]


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "keys.json"
    scopes = ("read", "support", "admin", "marketing")
    return {"file": str(file)} | {scope: f"Bearer {create_key(file, [scope], scope)}" for scope in scopes}


@pytest.fixture
async def client(pool: Pool, keys: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    app = build(Settings(WAFA_API_KEYS_FILE=keys["file"], WAFA_JWT_KEY=SECRET), pool)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://wafa") as http:
        yield http


def customer(customer_id: str) -> dict[str, str]:
    claims = {"sub": customer_id, "scope": "customer", "exp": 4_000_000_000}
    token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))
    return {"Authorization": f"Bearer {token}"}


async def inbox(client: httpx.AsyncClient, customer_id: str, **query: Any) -> dict[str, Any]:
    answer = await client.get(f"/v1/customers/{customer_id}/messages", params=query, headers=customer(customer_id))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_an_inbox_is_newest_first_and_in_the_customers_language(client: httpx.AsyncClient, pool: Pool):
    await handle(pool, registered("mona", locale="ar-EG", email="mona@example.org"))
    await handle(pool, earned("mona", 3))
    newest, oldest = (await inbox(client, "mona"))["data"]
    assert newest == {
        "id": str((await messages(pool, "mona"))[1]["id"]),
        "trigger": "points_earned",
        "title": "حصلت على ٣ نقاط",
        "body": "وذلك عن طلبك \u2068order-1\u2069. رصيدك المتاح الآن: ٣ نقاط.",
        "locale": "ar",
        "created_at": "2026-03-01T12:00:00Z",
    }
    assert oldest["trigger"] == "welcome"


async def test_an_unknown_customer_has_an_empty_inbox(client: httpx.AsyncClient):
    assert await inbox(client, "nobody") == {"data": [], "next": None}


async def test_pages(client: httpx.AsyncClient, pool: Pool):
    await handle(pool, *(earned("mona", number) for number in range(1, 6)), earned("ben", 9))
    titles: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = await inbox(client, "mona", limit=2, **after)
        assert len(page["data"]) <= 2
        titles += [message["title"] for message in page["data"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert titles == [f"You earned {number} points" for number in (5, 4, 3, 2)] + ["You earned 1 point"]


async def test_who_may_read_an_inbox(client: httpx.AsyncClient, keys: dict[str, str], pool: Pool):
    await handle(pool, earned("mona", 3))
    path = "/v1/customers/mona/messages"
    statuses = {
        "nobody": (await client.get(path)).status_code,
        "mona": (await client.get(path, headers=customer("mona"))).status_code,
        "ben": (await client.get(path, headers=customer("ben"))).status_code,
        **{
            scope: (await client.get(path, headers={"Authorization": keys[scope]})).status_code
            for scope in ("read", "support", "admin", "marketing")
        },
    }
    assert statuses == {
        "nobody": 401,
        "mona": 200,
        "ben": 404,
        "read": 200,
        "support": 403,
        "admin": 200,
        "marketing": 403,
    }


async def first_id(pool: Pool, customer_id: str, channel: str = "in_app") -> str:
    return str((await messages(pool, customer_id, channel))[0]["id"])


async def test_reading_is_remembered_and_counts_once(client: httpx.AsyncClient, pool: Pool):
    await handle(pool, earned("mona", 3))
    path = f"/v1/messages/{await first_id(pool, 'mona')}/read"
    first = await client.post(path, headers=customer("mona"))
    again = await client.post(path, headers=customer("mona"))
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json() == (await inbox(client, "mona"))["data"][0]
    assert first.json()["read_at"]


async def test_an_idempotency_key_is_taken(client: httpx.AsyncClient, pool: Pool):
    await handle(pool, earned("mona", 3))
    path = f"/v1/messages/{await first_id(pool, 'mona')}/read"
    headers = customer("mona") | {"Idempotency-Key": "once"}
    first = await client.post(path, headers=headers)
    again = await client.post(path, headers=headers)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()


@pytest.mark.parametrize("who, status", [("mona", 200), ("ben", 404)])
async def test_a_customer_reads_own_messages_only(client: httpx.AsyncClient, pool: Pool, who: str, status: int):
    await handle(pool, earned("mona", 3))
    answer = await client.post(f"/v1/messages/{await first_id(pool, 'mona')}/read", headers=customer(who))
    assert answer.status_code == status
    assert ((await messages(pool, "mona"))[0]["read_at"] is not None) == (status == 200)


@pytest.mark.parametrize("scope, status", [("support", 200), ("admin", 200), ("read", 403), ("marketing", 403)])
async def test_keys_that_may_mark_as_read(
    client: httpx.AsyncClient, keys: dict[str, str], pool: Pool, scope: str, status: int
):
    await handle(pool, earned("mona", 3))
    path = f"/v1/messages/{await first_id(pool, 'mona')}/read"
    assert (await client.post(path, headers={"Authorization": keys[scope]})).status_code == status


async def test_a_mail_is_not_in_the_inbox(client: httpx.AsyncClient, pool: Pool):
    await handle(pool, earned("mona", 3))
    assert [message["trigger"] for message in (await inbox(client, "mona"))["data"]] == ["points_earned"]
    path = f"/v1/messages/{await first_id(pool, 'mona', 'email')}/read"
    assert (await client.post(path, headers=customer("mona"))).status_code == 404


@pytest.mark.parametrize("message_id", ["0190a2c4-0000-7000-8000-000000000000", "nonsense", "%00", "x" * 400])
async def test_unknown_messages(client: httpx.AsyncClient, message_id: str):
    answer = await client.post(f"/v1/messages/{message_id}/read", headers=customer("mona"))
    assert answer.status_code in {404, 422}
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_made_up_cursor_is_refused(client: httpx.AsyncClient):
    answer = await client.get("/v1/customers/mona/messages", params={"after": "WyJ4Il0"}, headers=customer("mona"))
    assert answer.status_code == 400
