"""Preferences and consents over HTTP, and that the next message obeys them."""

from typing import Any

import httpx
import pytest

from services.notifications.handlers import verifying
from services.notifications.rules.message import Channel, Topic
from services.notifications.store import suppressions
from services.notifications.store.suppressions import Cause
from shared.messaging import erasure
from shared.postgres.pool import Pool
from tests.notifications.consent.world import customer
from tests.notifications.mail_server import MailServer
from tests.notifications.test_sending import sender
from tests.notifications.world import (
    NOW,
    ago,
    earned,
    erased,
    handle,
    judge,
    library,
    messages,
    registered,
    states,
    updated,
)

MONA = {"email": "mona@example.org", "phone": "+966501234567"}
ON = {"email": True, "sms": True, "push": True}
EVERYTHING = {
    "channels": ON,
    "topics": {str(topic): {"in_app": True, **ON} for topic in Topic},
    "marketing_consent": dict.fromkeys(ON, False),
}


async def get(client: httpx.AsyncClient, customer_id: str = "mona") -> dict[str, Any]:
    answer = await client.get(f"/v1/customers/{customer_id}/preferences", headers=customer(customer_id))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def put(client: httpx.AsyncClient, document: object, customer_id: str = "mona") -> httpx.Response:
    return await client.put(f"/v1/customers/{customer_id}/preferences", json=document, headers=customer(customer_id))


async def ledger(client: httpx.AsyncClient, customer_id: str = "mona", **query: Any) -> list[tuple[str, str, str]]:
    answer = await client.get(f"/v1/customers/{customer_id}/consents", params=query, headers=customer(customer_id))
    assert answer.status_code == 200, answer.text
    return [(row["channel"], row["action"], row["how"]) for row in answer.json()["data"]]


async def test_an_unknown_customer_has_the_defaults(client: httpx.AsyncClient):
    assert await get(client) == EVERYTHING
    assert await ledger(client) == []


async def test_what_is_put_is_got_and_can_be_put_again(client: httpx.AsyncClient):
    wanted = {
        "locale": "ar-EG",
        "time_zone": "Africa/Cairo",
        "quiet_hours": {"from": "22:30", "to": "07:00"},
        "channels": {"sms": False},
        "topics": {"offers": {"email": False, "in_app": False}},
        "marketing_consent": {"email": True},
    }
    answer = await put(client, wanted)
    assert answer.status_code == 200, answer.text
    expected = {
        **{name: wanted[name] for name in ("locale", "time_zone", "quiet_hours")},
        "channels": ON | {"sms": False},
        "topics": EVERYTHING["topics"] | {"offers": {"in_app": False, "email": False, "sms": True, "push": True}},
        "marketing_consent": {"email": True, "sms": False, "push": False},
    }
    assert answer.json() == expected == await get(client)
    assert (await put(client, expected)).json() == expected
    assert await ledger(client) == [("email", "granted", "api")], "only changes reach the ledger"


async def test_put_replaces_all_but_consents(client: httpx.AsyncClient):
    await put(client, {"channels": {"email": False}, "locale": "ar", "marketing_consent": {"email": True, "sms": True}})
    await put(client, {"marketing_consent": {"sms": False}})
    assert await get(client) == EVERYTHING | {"marketing_consent": {"email": True, "sms": False, "push": False}}
    assert await ledger(client) == [("sms", "withdrawn", "api"), ("sms", "granted", "api"), ("email", "granted", "api")]


async def test_an_entry_of_the_ledger(client: httpx.AsyncClient, pool: Pool):
    await handle(pool, registered("mona", ago(hours=1), locale="ar", marketing_consent={"push": True}))
    await put(client, {"locale": "en-GB", "marketing_consent": {"email": True}})
    answer = await client.get("/v1/customers/mona/consents", headers=customer("mona"))
    newest, oldest = answer.json()["data"]
    assert newest | {"at": "", "recorded_at": ""} == {
        "channel": "email",
        "action": "granted",
        "how": "api",
        "at": "",
        "recorded_at": "",
        "actor": "customer:mona",
        "locale": "en-GB",
    }
    assert (oldest["how"], oldest["at"], oldest["locale"]) == ("event", "2026-03-01T11:00:00Z", "ar")
    assert oldest["actor"].startswith("/test#event-")
    page = await client.get("/v1/customers/mona/consents", params={"limit": 1}, headers=customer("mona"))
    assert page.json()["data"] == [newest]
    assert await ledger(client, after=page.json()["next"]) == [("push", "granted", "event")]


async def test_a_synchronization_does_not_bring_back_what_was_withdrawn(client: httpx.AsyncClient, pool: Pool):
    await handle(pool, registered("mona", ago(hours=3), marketing_consent={"email": True}))
    await put(client, {"marketing_consent": {"email": False}})
    await handle(pool, updated("mona", NOW, marketing_consent={"email": True}))
    assert (await get(client))["marketing_consent"]["email"] is False


@pytest.mark.parametrize(
    "document, pointer",
    [
        ({"topics": {"gossip": {"email": False}}}, "/topics/gossip"),
        ({"topics": {"offers": {"pigeon": False}}}, "/topics/offers/pigeon"),
        ({"topics": {"offers": {"email": "no"}}}, "/topics/offers/email"),
        ({"channels": {"pigeon": True}}, "/channels/pigeon"),
        ({"channels": {"in_app": False}}, "/channels/in_app"),
        ({"channels": {"email": None}}, "/channels/email"),
        ({"marketing_consent": {"pigeon": True}}, "/marketing_consent/pigeon"),
        ({"marketing_consent": {"email": 1}}, "/marketing_consent/email"),
        ({"time_zone": "Mars/Base"}, "/time_zone"),
        ({"locale": "no tag"}, "/locale"),
        ({"quiet_hours": {"from": "24:00", "to": "08:00"}}, "/quiet_hours/from"),
        ({"quiet_hours": {"from": "21:00"}}, "/quiet_hours/to"),
        ({"quiet_hours": {"from": "21:00:30", "to": "8:00"}}, "/quiet_hours/from"),
        ({"language": "ar"}, "/language"),
        ([], ""),
    ],
)
async def test_what_does_not_fit_is_refused_with_its_pointer(client: httpx.AsyncClient, document: object, pointer: str):
    answer = await put(client, document)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert await get(client) == EVERYTHING


async def test_equal_hours_are_none_and_null_is_the_default(client: httpx.AsyncClient):
    await put(client, {"quiet_hours": {"from": "09:00", "to": "09:00"}})
    assert (await get(client))["quiet_hours"] == {"from": "09:00", "to": "09:00"}
    await put(client, {"quiet_hours": None})
    assert "quiet_hours" not in await get(client)


async def test_a_change_is_obeyed_by_the_very_next_mail(client: httpx.AsyncClient, pool: Pool, mail_server: MailServer):
    await handle(pool, registered("mona", ago(days=30), **MONA), registered("ben", ago(days=30), email="b@example.org"))
    await handle(pool, earned("mona", 5), earned("ben", 5))
    assert (await put(client, {"topics": {"points": {"email": False}}})).status_code == 200
    await sender(mail_server).run(pool, NOW)
    assert [mail["To"] for mail in mail_server.taken] == ["b@example.org"]
    assert (await states(pool, "mona"))[-1] == ("points_earned", "skipped", "topic_opted_out")


@pytest.mark.parametrize(
    "document, expected",
    [
        ({}, None),
        ({"channels": {"email": False}}, "opted_out"),
        ({"channels": {"sms": False}}, None),
        ({"topics": {"points": {"email": False}}}, "topic_opted_out"),
        ({"topics": {"tiers": {"email": False}}}, None),
    ],
)
async def test_mails_that_nobody_wants_are_not_queued(
    client: httpx.AsyncClient, pool: Pool, document: dict[str, Any], expected: str | None
):
    await handle(pool, registered("mona", ago(days=30), **MONA))
    await put(client, document)
    await handle(pool, earned("mona", 5))
    assert (await states(pool, "mona"))[-1] == ("points_earned", "skipped" if expected else "queued", expected)


async def test_a_topic_can_be_turned_off_in_the_inbox(client: httpx.AsyncClient, pool: Pool):
    await put(client, {"topics": {"points": {"in_app": False}}})
    await handle(pool, registered("mona"), earned("mona", 5))
    rows = [(row["trigger"], row["state"], row["reason"]) for row in await messages(pool, "mona")]
    assert rows == [("welcome", "sent", None), ("points_earned", "skipped", "topic_opted_out")]
    inbox = await client.get("/v1/customers/mona/messages", headers=customer("mona"))
    assert [row["trigger"] for row in inbox.json()["data"]] == ["welcome"]


async def test_chosen_locale_and_zone_override_the_profile(client: httpx.AsyncClient, pool: Pool):
    await put(client, {"locale": "ar"})
    await handle(pool, registered("mona", locale="en"), updated("mona", locale="fr"))
    assert [row["locale"] for row in await messages(pool, "mona")] == ["ar"]
    await put(client, {})
    await handle(pool, earned("mona", 5))
    assert (await messages(pool, "mona"))[-1]["locale"] == "en", "no template is in French"


async def suppress(pool: Pool, cause: Cause) -> None:
    async with pool.acquire() as connection:
        hashes = [judge().keys.hash_address(Channel.EMAIL, "Mona@example.org")]
        await suppressions.suppress(connection, hashes, [cause], NOW)


@pytest.mark.parametrize("cause", Cause)
async def test_a_suppressed_address_gets_nothing_until_a_bounce_is_forgiven(
    client: httpx.AsyncClient, pool: Pool, mail_server: MailServer, cause: Cause
):
    await handle(pool, registered("mona", ago(days=30), **MONA))
    await suppress(pool, cause)
    expected = [("points_earned", "skipped", "suppressed")]

    async def deliver() -> None:
        await handle(pool, earned("mona", 5))
        await sender(mail_server).run(pool, NOW)

    await deliver()
    assert await states(pool, "mona") == expected
    # Somebody else turns e-mail on, or the customer keeps it off: the address stays suppressed.
    await client.put("/v1/customers/mona/preferences", json={})
    await put(client, {"channels": {"email": False}})
    await put(client, {"topics": {}, "channels": {"email": False}})
    await client.put("/v1/customers/mona/preferences", json={})
    await deliver()
    assert (await states(pool, "mona"))[-1] == expected[-1]
    await put(client, {"channels": {"email": True}})
    await deliver()
    assert (await states(pool, "mona"))[-1][1:] == (
        ("sent", None) if cause is Cause.BOUNCED else ("skipped", "suppressed")
    )


async def test_another_address_is_not_suppressed(pool: Pool, mail_server: MailServer):
    await handle(pool, registered("mona", ago(days=30), **MONA))
    await suppress(pool, Cause.COMPLAINED)
    await handle(pool, updated("mona", email="new@example.org"), earned("mona", 5))
    await sender(mail_server).run(pool, NOW)
    assert [mail["To"] for mail in mail_server.taken] == ["new@example.org"]


async def test_an_erasure_leaves_nothing_and_nothing_is_stored_after_it(client: httpx.AsyncClient, pool: Pool):
    await handle(pool, registered("mona", ago(hours=2), marketing_consent={"email": True}, **MONA))
    assert (await put(client, {"locale": "ar", "marketing_consent": {"sms": True}})).status_code == 200
    await handle(pool, erased("mona"))
    for table in ("consent", "preference", "push_subscription", "reached"):
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    assert await get(client) == EVERYTHING
    answer = await put(client, {"locale": "ar"})
    assert (answer.status_code, answer.json()["code"]) == (409, "erased")
    await erasure.finish(pool, NOW, erasure.erase_nothing)
    assert [check.name async for check in verifying.verify(library(), pool, 10, NOW) if check.offenders] == []
