"""What providers report, signed by an independent implementation of Standard Webhooks."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from services.notifications.rules.message import Channel
from services.notifications.rules.tokens import Keys
from services.notifications.store import suppressions
from shared.postgres.pool import Pool
from tests.notifications.consent.test_tracking import chosen, mail, marks, told
from tests.notifications.consent.world import PROVIDER, SECRET
from tests.notifications.world import NOW, erased, handle, published

PATH = "/v1/provider-events/local"
ADDRESS = "mona@example.org"


def signed(body: str, *, secret: str = PROVIDER, age: float = 0, webhook_id: str | None = None) -> dict[str, str]:
    moment = datetime.now(UTC) - timedelta(seconds=age)
    webhook_id = webhook_id or f"msg_{uuid4()}"
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, moment, body),
        "Content-Type": "application/json",
        "Authorization": "",
    }


def event(type_: str, **changes: Any) -> dict[str, Any]:
    return {"type": type_, "address": ADDRESS, "at": "2026-03-01T13:00:00Z", **changes}


async def report(client: httpx.AsyncClient, *events: dict[str, Any], **how: Any) -> httpx.Response:
    body = json.dumps({"events": events})
    return await client.post(PATH, content=body, headers=signed(body, **how))


async def reasons(pool: Pool) -> list[str]:
    return [row["reason"] for row in await pool.fetch("SELECT reason FROM suppression")]


async def reach(pool: Pool, address: str, channel: Channel = Channel.EMAIL) -> None:
    async with pool.acquire() as connection:
        await suppressions.reach(connection, [Keys(SECRET).hash_address(channel, address)], ["mona"], NOW)


@pytest.mark.parametrize(
    "type_, changes, mark, suppressed, consents",
    [
        ("delivered", {}, "delivered", [], True),
        ("bounced", {"permanent": True}, "bounced", ["bounced"], True),
        ("bounced", {}, "deferred", [], True),
        ("bounced", {"permanent": False}, "deferred", [], True),
        ("complained", {}, "complained", ["complained"], False),
        ("unsubscribed", {}, "unsubscribed", [], False),
    ],
)
async def test_what_a_report_changes(  # noqa: PLR0917
    client: httpx.AsyncClient,
    pool: Pool,
    type_: str,
    changes: dict[str, Any],
    mark: str,
    suppressed: list[str],
    consents: bool,
):
    message_id = await mail(pool)
    answer = await report(client, event(type_, message_id=str(message_id), **changes))
    assert (answer.status_code, answer.json()) == (200, {"state": "handled", "events": 1, "skipped": 0})
    assert (await marks(pool), await reasons(pool)) == ({mark}, suppressed)
    assert await told(pool) == ([] if mark == "deferred" else [(mark, None)])
    assert all(each["time"] == "2026-03-01T13:00:00Z" for each in await published(pool))
    client.headers.pop("Authorization")
    assert (await chosen(client))["marketing_consent"]["email"] is consents
    if not consents:
        actor = await pool.fetchval("SELECT actor FROM consent ORDER BY number DESC LIMIT 1")
        assert actor == "provider:local"


async def test_a_report_counts_once(client: httpx.AsyncClient, pool: Pool):
    message_id = str(await mail(pool))
    assert (await report(client, event("delivered", message_id=message_id), webhook_id="a")).status_code == 200
    again = await report(client, event("complained", message_id=message_id), webhook_id="a")
    assert (again.status_code, again.json()["state"]) == (200, "repeated")
    assert await report(client, event("delivered", message_id=message_id), webhook_id="b")
    assert (await told(pool), await reasons(pool)) == ([("delivered", None)], [])


async def test_without_a_message_the_address_says_whom_it_concerns(client: httpx.AsyncClient, pool: Pool):
    await mail(pool)
    await reach(pool, ADDRESS)
    assert (await report(client, event("complained", address="Mona@Example.org"))).status_code == 200
    client.headers.pop("Authorization")
    assert (await chosen(client))["marketing_consent"]["email"] is False
    assert (await reasons(pool), await told(pool)) == (["complained"], [])


async def test_a_reply_of_stop_withdraws_consent_to_text_messages(client: httpx.AsyncClient, pool: Pool):
    await mail(pool)
    headers = {"Authorization": client.headers["Authorization"]}
    consent = {"marketing_consent": {"sms": True}}
    await client.put("/v1/customers/mona/preferences", json=consent, headers=headers)
    await reach(pool, "+966501234567", Channel.SMS)
    assert (await report(client, event("unsubscribed", address="+966 50 123 4567"))).status_code == 200
    client.headers.pop("Authorization")
    assert (await chosen(client))["marketing_consent"] == {"email": True, "sms": False, "push": False}


async def test_a_complaint_stays_where_the_address_bounces_too(client: httpx.AsyncClient, pool: Pool):
    bounced = event("bounced", permanent=True)
    await report(client, bounced, event("complained"), bounced)
    assert await reasons(pool) == ["complained"]
    await report(client, event("bounced", permanent=True, address="other@example.org"))
    await report(client, event("complained", address="other@example.org"))
    assert await reasons(pool) == ["complained", "complained"]


async def test_unknown_types_and_messages_are_skipped(client: httpx.AsyncClient, pool: Pool):
    message_id = str(await mail(pool))
    events = [
        event("opened", message_id=message_id),
        event("delivered", message_id=str(uuid4())),
        event("delivered", message_id="no id of ours"),
        event("bounced", message_id=message_id, address="not an address", permanent=True),
    ]
    answer = await report(client, *events)
    assert answer.json() == {"state": "handled", "events": 3, "skipped": 1}
    assert await marks(pool) == {"bounced"}


async def test_nothing_is_stored_about_the_erased(client: httpx.AsyncClient, pool: Pool):
    message_id = str(await mail(pool))
    await handle(pool, erased("mona"))
    assert (await report(client, event("complained", message_id=message_id))).status_code == 200
    assert (await marks(pool), await reasons(pool)) == (set(), ["complained"])
    assert await pool.fetchval("SELECT count(*) FROM consent") == 0


@pytest.mark.parametrize(
    "how",
    [
        {"secret": "whsec_" + "QUFB" * 10},
        {"age": 301},
        {"age": -301},
    ],
)
async def test_a_wrong_signature_is_refused(client: httpx.AsyncClient, pool: Pool, how: dict[str, Any]):
    answer = await report(client, event("complained"), **how)
    assert (answer.status_code, await reasons(pool)) == (401, [])


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v2,AAAA v1a,BBBB"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "yesterday"},
        {"webhook-id": ""},
        {"webhook-id": "a" * 1000},
    ],
)
async def test_a_malformed_signature_is_refused(client: httpx.AsyncClient, pool: Pool, changes: dict[str, str]):
    body = json.dumps({"events": [event("complained")]})
    answer = await client.post(PATH, content=body, headers=signed(body) | changes)
    assert (answer.status_code, await reasons(pool)) == (401, [])


async def test_another_body_and_an_unknown_provider_are_refused(client: httpx.AsyncClient, pool: Pool):
    body = json.dumps({"events": [event("complained")]})
    assert (await client.post(PATH, content=body + " ", headers=signed(body))).status_code == 401
    assert (await client.post(PATH, content=b"\xff", headers=signed(body))).is_client_error
    assert (await client.post("/v1/provider-events/other", content=body, headers=signed(body))).status_code == 401
    assert await reasons(pool) == []


@pytest.mark.parametrize(
    "body, status, pointer",
    [
        ("{", 400, None),
        ("[]", 422, ""),
        ("{}", 422, "/events"),
        ('{"events": [{"type": "bounced", "at": "2026-03-01T13:00:00Z"}]}', 422, "/events/0/address"),
        ('{"events": [{"type": "bounced", "address": "a@example.org", "at": "soon"}]}', 422, "/events/0/at"),
        (
            '{"events": [{"type": "bounced", "address": "\\ud800", "at": "2026-03-01T13:00:00Z"}]}',
            422,
            "/events/0/address",
        ),
    ],
)
async def test_a_body_that_does_not_fit(client: httpx.AsyncClient, body: str, status: int, pointer: str | None):
    answer = await client.post(PATH, content=body, headers=signed(body))
    assert answer.status_code == status, answer.text
    if pointer is not None:
        assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("address", ["\\u202e@example.org", "+", "x" * 320])
async def test_hostile_addresses(client: httpx.AsyncClient, address: str):
    body = f'{{"events": [{{"type": "complained", "address": "{address}", "at": "0001-01-01T00:00:00Z"}}]}}'
    assert (await client.post(PATH, content=body, headers=signed(body))).status_code == 200
