"""The log of messages over HTTP: what is listed, with each step; and what the inbox records when it has no text."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from shared.postgres.pool import Pool
from tests.notifications.test_api import client, customer, keys
from tests.notifications.world import ago, earned, erased, handle, messages, published, registered, summarize, tier

__all__ = ["client", "keys"]

GOLD = [("ben", "tier_reached", "email"), ("ben", "tier_reached", "in_app")]


@pytest.fixture
def reader(keys: dict[str, str]) -> dict[str, str]:
    return {"Authorization": keys["read"]}


async def listed(http: httpx.AsyncClient, reader: dict[str, str], **query: Any) -> list[dict[str, Any]]:
    """All messages that the log lists, two at a time."""
    found: list[dict[str, Any]] = []
    while True:
        answer = await http.get("/v1/messages", params={**query, "limit": 2}, headers=reader)
        assert answer.status_code == 200, answer.text
        found += answer.json()["data"]
        query["after"] = answer.json()["next"]
        if query["after"] is None:
            return found


def names(found: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(each["customer_id"], each["journey"], each["channel"]) for each in found]


@pytest.fixture
async def world(pool: Pool) -> None:
    await handle(pool, registered("mona", email="mona@example.org"), registered("ben"))
    await handle(pool, earned("mona", 3), earned("mona", 5, ago(days=3)))
    await handle(pool, tier("promoted", "ben", "gold"))


@pytest.mark.usefixtures("world")
async def test_everything_newest_first(client: httpx.AsyncClient, reader: dict[str, str]):
    found = await listed(client, reader)
    assert len({each["id"] for each in found}) == len(found) == 9
    assert found[0]["customer_id"] == "ben"
    (single,) = [await client.get(f"/v1/messages/{found[-1]['id']}", headers=reader)]
    assert single.json() == found[-1]


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    "query, expected",
    [
        (
            {"customer_id": "ben", "trigger": "tier_reached"},
            GOLD,
        ),
        ({"trigger": "tier_reached"}, GOLD),
        ({"trigger": "tier_reached", "state": "sent"}, [("ben", "tier_reached", "in_app")]),
        ({"state": "skipped", "reason": "no_address"}, [("ben", "tier_reached", "email"), ("ben", "welcome", "email")]),
        ({"reason": "no_address", "trigger": "welcome"}, [("ben", "welcome", "email")]),
        ({"reason": "no_address", "customer_id": "ben", "trigger": "welcome"}, [("ben", "welcome", "email")]),
        ({"state": "queued"}, [("mona", "points_earned", "email"), ("mona", "welcome", "email")]),
        ({"reason": "too_old"}, [("mona", "points_earned", "in_app")]),
        ({"reason": "too_old", "customer_id": "mona"}, [("mona", "points_earned", "in_app")]),
        ({"reason": "too_old", "state": "skipped"}, []),
        ({"customer_id": "nobody"}, []),
        ({"trigger": "nothing"}, []),
        ({"state": "failed"}, []),
    ],
    ids=str,
)
async def test_filters(
    client: httpx.AsyncClient, reader: dict[str, str], query: dict[str, str], expected: list[tuple[str, str, str]]
):
    assert names(await listed(client, reader, **query)) == expected


@pytest.mark.usefixtures("world")
async def test_a_message_says_what_became_of_it(client: httpx.AsyncClient, reader: dict[str, str]):
    (late,) = await listed(client, reader, reason="too_old")
    at = late["created_at"]
    assert late["steps"] == [
        {"at": at, "state": "skipped", "reason": "too_old", "channel": "email"},
        {"at": at, "state": "sent"},
    ]
    assert late["trigger"] == late["journey"] == late["template"] == "points_earned"
    assert (late["template_version"], late["state"]) == (1, "sent")
    assert "reason" not in late
    (skipped,) = await listed(client, reader, reason="no_address", trigger="welcome")
    assert skipped["steps"] == [{"at": skipped["created_at"], "state": "skipped", "reason": "no_address"}]


async def test_a_message_without_text_is_left_out_of_the_inbox_and_has_failed(
    client: httpx.AsyncClient, pool: Pool, reader: dict[str, str]
):
    await handle(pool, registered("mona"), earned("mona", 3))
    message = (await messages(pool, "mona"))[-1]["id"]
    await pool.execute("UPDATE message SET facts = '{}' WHERE id = $1", message)
    for _ in range(2):
        answer = await client.get("/v1/customers/mona/messages", headers=customer("mona"))
        assert [each["trigger"] for each in answer.json()["data"]] == ["welcome"]
    logged = (await client.get(f"/v1/messages/{message}", headers=reader)).json()
    assert (logged["state"], logged["reason"]) == ("failed", "template_error")
    assert [(step["state"], step.get("reason")) for step in logged["steps"]] == [
        ("sent", None),
        ("failed", "template_error"),
    ]
    assert summarize(await published(pool))[-1] == ("failed", "mona", "in_app")


async def test_what_is_not_in_the_log(client: httpx.AsyncClient, pool: Pool, reader: dict[str, str]):
    await handle(pool, registered("mona"))
    await handle(pool, erased("mona"))
    for unknown in (str(UUID(int=0)), "no id", "x" * 128):
        assert (await client.get(f"/v1/messages/{unknown}", headers=reader)).status_code == 404
    for query in ({"state": "lost"}, {"reason": "why"}, {"customer_id": "a/b"}, {"trigger": ""}, {"after": "x"}):
        assert (await client.get("/v1/messages", params=query, headers=reader)).status_code in {400, 422}
    assert (await client.get("/v1/messages", headers=customer("mona"))).status_code == 403
