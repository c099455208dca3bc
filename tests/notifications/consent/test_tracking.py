"""Opened, followed, unsubscribed: what people do, what machines do, and what each of them changes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from services.notifications.rules.message import Channel, Topic
from services.notifications.rules.tokens import Keys, Purpose, Token
from shared.postgres.pool import Pool
from tests.notifications.consent.world import SECRET, customer, serve
from tests.notifications.world import ago, earned, erased, handle, messages, published, registered

KEYS = Keys(SECRET)
ONE_CLICK = "List-Unsubscribe=One-Click"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PERSON = {
    "User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari"
}
GIF = b"GIF89a"


@pytest.fixture
async def client(pool: Pool, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(pool, tmp_path) as client:
        client.headers.pop("Authorization")
        client.headers.update(PERSON)
        yield client


async def mail(pool: Pool, kind: str = "transactional", locale: str = "en") -> UUID:
    """A mail that Mona was sent an hour ago."""
    await handle(
        pool,
        registered("mona", ago(days=30), email="mona@example.org", locale=locale, marketing_consent={"email": True}),
        earned("mona", 5),
    )
    row = (await messages(pool, "mona", "email"))[-1]
    topic = Topic.OFFERS if kind == "marketing" else Topic.POINTS
    await pool.execute(
        "UPDATE message SET state = 'sent', due_at = NULL, attempts = 1, sent_at = now() - interval '1 hour',"
        " kind = $2, topic = $3 WHERE id = $1",
        row["id"],
        kind,
        topic,
    )
    await pool.execute("DELETE FROM outbox")
    return row["id"]


def link(purpose: Purpose, message_id: UUID, url: str = "") -> str:
    token = KEYS.sign(Token(purpose, message_id, url))
    paths = {Purpose.OPEN: f"/o/{token}.gif", Purpose.CLICK: f"/c/{token}"}
    return paths.get(purpose, f"/u/{token}")


async def told(pool: Pool) -> list[tuple[str, bool | None]]:
    """(verb, human) of each event."""
    return [(event["type"].split(".")[2], event["data"].get("human")) for event in await published(pool)]


async def marks(pool: Pool) -> set[str]:
    return {row["mark"] for row in await pool.fetch("SELECT mark FROM message_mark")}


async def chosen(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/v1/customers/mona/preferences", headers=customer("mona"))
    return answer.json()


async def test_a_mail_that_a_person_opens(client: httpx.AsyncClient, pool: Pool):
    message_id = await mail(pool)
    for _ in range(3):
        answer = await client.get(link(Purpose.OPEN, message_id))
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/gif")
        assert answer.content.startswith(GIF)
        assert answer.headers["Cache-Control"] == "no-store"
    assert await told(pool) == [("opened", True)]
    (event,) = await published(pool)
    assert (event["data"]["message_id"], event["data"]["channel"]) == (str(message_id), "email")
    assert event["correlationid"] == (
        await pool.fetchval("SELECT correlation_id FROM message WHERE id = $1", message_id)
    )


@pytest.mark.parametrize(
    "method, headers",
    [
        ("HEAD", {}),
        ("GET", {"Sec-Purpose": "prefetch;prerender"}),
        ("GET", {"Purpose": "prefetch"}),
        ("GET", {"X-Purpose": "preview"}),
        ("GET", {"X-Moz": "prefetch"}),
        ("GET", {"User-Agent": "Mozilla/5.0"}),
        ("GET", {"User-Agent": ""}),
        ("GET", {"User-Agent": "BarracudaCentral"}),
        ("GET", {"User-Agent": "Microsoft Office Existence Discovery"}),
        ("GET", {"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}),
        ("GET", {"User-Agent": "python-requests/2.32"}),
    ],
)
@pytest.mark.parametrize("purpose", [Purpose.OPEN, Purpose.CLICK])
async def test_machines_are_told_apart(
    client: httpx.AsyncClient, pool: Pool, purpose: Purpose, method: str, headers: dict[str, str]
):
    url = link(purpose, await mail(pool), "https://shop.example.org/")
    verb = "opened" if purpose is Purpose.OPEN else "clicked"
    await client.request(method, url, headers=headers)
    await client.request(method, url, headers=headers)
    assert await told(pool) == [(verb, False)], "once, if a machine was first"
    await client.get(url)
    await client.get(url)
    await client.request(method, url, headers=headers)
    assert await told(pool) == [(verb, False), (verb, True)]


async def test_a_machine_after_a_person_stands_in_the_log_only(client: httpx.AsyncClient, pool: Pool):
    url = link(Purpose.OPEN, await mail(pool))
    await client.get(url)
    await client.get(url, headers={"User-Agent": "Mozilla/5.0"})
    assert await told(pool) == [("opened", True)]
    assert await marks(pool) == {"opened", "opened_by_machine"}


async def test_nobody_opens_a_mail_within_two_seconds(client: httpx.AsyncClient, pool: Pool):
    message_id = await mail(pool)
    await pool.execute("UPDATE message SET sent_at = now() WHERE id = $1", message_id)
    await client.get(link(Purpose.OPEN, message_id))
    assert await told(pool) == [("opened", False)]


async def test_images_fetched_for_people_are_people(client: httpx.AsyncClient, pool: Pool):
    agent = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
    await client.get(link(Purpose.OPEN, await mail(pool)), headers={"User-Agent": agent})
    assert await told(pool) == [("opened", True)]


@pytest.mark.parametrize("token", ["abc", "A" * 4000, "%20", "..%2e"])
async def test_any_token_gets_the_image(client: httpx.AsyncClient, pool: Pool, token: str):
    answer = await client.get(f"/o/{token}.gif")
    assert (answer.status_code, answer.content[:6]) == (200, GIF)
    unknown = await client.get(link(Purpose.OPEN, uuid4()))
    assert (unknown.status_code, await marks(pool)) == (200, set())


@pytest.mark.parametrize("url", ["https://shop.example.org/a?b=1&c=%20#d", "https://shop.example.org/نقاط"])
async def test_a_link_leads_where_the_mail_led(client: httpx.AsyncClient, pool: Pool, url: str):
    answer = await client.get(link(Purpose.CLICK, await mail(pool), url))
    assert answer.status_code == 302
    assert httpx.URL(answer.headers["Location"]) == httpx.URL(url)
    assert answer.headers["Cache-Control"] == "no-store"
    assert await told(pool) == [("clicked", True)]


async def test_a_link_leads_nowhere_else(client: httpx.AsyncClient, pool: Pool):
    message_id = await mail(pool)
    good = link(Purpose.CLICK, message_id, "https://shop.example.org/")
    forged = (
        f"/c/{Keys('another secret of thirty-two bytes').sign(Token(Purpose.CLICK, message_id, 'https://evil.org'))}"
    )
    for url in (forged, good[:-1] + ("A" if good[-1] != "A" else "Q"), "/c/https:%3A%3Fevil.org", "/c/abc"):
        assert (await client.get(url)).status_code == 404, url
    for other in (Purpose.UNSUBSCRIBE, Purpose.OPEN):
        assert (await client.get(f"/c/{KEYS.sign(Token(other, message_id))}")).status_code == 404
    assert await told(pool) == []


async def test_an_erased_message_still_leads_there(client: httpx.AsyncClient, pool: Pool):
    url = link(Purpose.CLICK, await mail(pool), "https://shop.example.org/")
    await handle(pool, erased("mona"))
    assert (await client.get(url)).status_code == 302
    assert await told(pool) == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_looking_at_the_page_changes_nothing(client: httpx.AsyncClient, pool: Pool, method: str):
    url = link(Purpose.UNSUBSCRIBE, await mail(pool, "marketing"))
    before = await chosen(client)
    answer = await client.request(method, url)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "script" not in answer.text
    assert (await told(pool), await marks(pool), await chosen(client)) == ([], set(), before)


BOUNDARY = "----boundary"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
MULTIPART_BODY = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--{BOUNDARY}--\r\n'
)


@pytest.mark.parametrize("headers, body", [(FORM, ONE_CLICK), (MULTIPART, MULTIPART_BODY)])
async def test_one_click_on_marketing_withdraws_consent(
    client: httpx.AsyncClient, pool: Pool, headers: dict[str, str], body: str
):
    url = link(Purpose.UNSUBSCRIBE, message_id := await mail(pool, "marketing"))
    for _ in range(2):
        answer = await client.post(url, content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert not answer.history
    after = await chosen(client)
    assert after["marketing_consent"]["email"] is False
    assert after["topics"]["offers"]["email"] is True
    row = await pool.fetchrow("SELECT * FROM consent ORDER BY number DESC LIMIT 1")
    assert (row["action"], row["how"], row["actor"], row["locale"]) == (
        "withdrawn",
        "one_click",
        f"message:{message_id}",
        "en",
    )
    assert await pool.fetchval("SELECT count(*) FROM consent") == 2
    assert await told(pool) == [("unsubscribed", None)]
    assert (await published(pool))[0]["data"]["reason"] == "one_click"


async def test_one_click_on_another_mail_turns_its_topic_off(client: httpx.AsyncClient, pool: Pool):
    url = link(Purpose.UNSUBSCRIBE, await mail(pool))
    assert (await client.post(url, content=ONE_CLICK, headers=FORM)).status_code == 200
    after = await chosen(client)
    assert after["topics"]["points"] == {"in_app": True, "email": False, "sms": True, "push": True}
    assert (after["marketing_consent"]["email"], after["channels"]["email"]) == (True, True)


@pytest.mark.parametrize(
    "headers, body",
    [
        (FORM, ""),
        (FORM, "list-unsubscribe=one-click"),
        (FORM, "List-Unsubscribe=One-Click&x=y"),
        (FORM, "action=nothing"),
        (FORM, "action=topic&action=everything"),
        (FORM, "&".join(f"a{number}=1" for number in range(500))),
        ({"Content-Type": "text/plain"}, ONE_CLICK),
        ({"Content-Type": "multipart/form-data"}, MULTIPART_BODY),
        ({"Content-Type": "multipart/form-data; boundary=other"}, MULTIPART_BODY),
        ({"Content-Type": "application/json"}, '{"List-Unsubscribe": "One-Click"}'),
    ],
)
async def test_nothing_else_unsubscribes(client: httpx.AsyncClient, pool: Pool, headers: dict[str, str], body: str):
    url = link(Purpose.UNSUBSCRIBE, await mail(pool, "marketing"))
    before = await chosen(client)
    answer = await client.post(url, content=body, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text
    assert (await chosen(client), await told(pool)) == (before, [])


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_wrong_token_is_not_found(client: httpx.AsyncClient, pool: Pool, method: str):
    message_id = await mail(pool)
    for token in ("abc", KEYS.sign(Token(Purpose.OPEN, message_id))):
        answer = await client.request(method, f"/u/{token}", content=ONE_CLICK, headers=FORM)
        assert answer.status_code == 404
    assert await told(pool) == []


async def test_links_of_a_test_and_of_erased_messages_do_nothing(client: httpx.AsyncClient, pool: Pool):
    message_id = await mail(pool, "marketing")
    test = link(Purpose.NOTHING, uuid4())
    assert (await client.get(test)).status_code == 200
    assert (await client.post(test, content=ONE_CLICK, headers=FORM)).status_code == 200
    await handle(pool, erased("mona"))
    url = link(Purpose.UNSUBSCRIBE, message_id)
    assert (await client.get(url)).status_code == 200
    assert (await client.post(url, content=ONE_CLICK, headers=FORM)).status_code == 200
    assert await told(pool) == []
    assert await pool.fetchval("SELECT count(*) FROM preference") == 0


@pytest.mark.parametrize(
    "action, consent, topic, channel",
    [("topic", True, False, True), ("marketing", False, True, True), ("everything", False, True, False)],
)
async def test_the_buttons_of_the_page(  # noqa: PLR0917
    client: httpx.AsyncClient, pool: Pool, action: str, consent: bool, topic: bool, channel: bool
):
    url = link(Purpose.UNSUBSCRIBE, await mail(pool))
    answer = await client.post(url, data={"action": action})
    assert answer.status_code == 200
    assert "Your choice is stored." in answer.text
    after = await chosen(client)
    assert after["marketing_consent"]["email"] is consent
    assert after["topics"]["points"]["email"] is topic
    assert after["channels"]["email"] is channel
    assert (await published(pool))[-1]["data"]["reason"] == "page"


async def test_choices_on_the_page(client: httpx.AsyncClient, pool: Pool):
    url = link(Purpose.UNSUBSCRIBE, await mail(pool))
    every = [f"{topic}/{channel}" for topic in Topic for channel in Channel]
    on = ["email", "push", *(choice for choice in every if choice not in {"offers/email", "news/sms"})]
    assert (await client.post(url, data={"action": "save", "on": on})).status_code == 200
    after = await chosen(client)
    assert after["channels"] == {"email": True, "sms": False, "push": True}
    off = [f"{topic}/{one}" for topic, row in after["topics"].items() for one, is_on in row.items() if not is_on]
    assert sorted(off) == ["news/sms", "offers/email"]
    assert await told(pool) == [("unsubscribed", None)]
    assert (await client.post(url, data={"action": "save", "on": ["email", "sms", "push", *every]})).status_code == 200
    after = await chosen(client)
    assert after["channels"] == {"email": True, "sms": True, "push": True}
    assert all(all(row.values()) for row in after["topics"].values())
    assert after["marketing_consent"]["email"] is True, "the page gives no consent and takes none by its boxes"


@pytest.mark.parametrize(
    "locale, start, button",
    [("ar-EG", '<html lang="ar" dir="rtl">', "حفظ"), ("fr", '<html lang="en" dir="ltr">', "Save")],
)
async def test_the_language_of_the_page(client: httpx.AsyncClient, pool: Pool, locale: str, start: str, button: str):
    answer = await client.get(link(Purpose.UNSUBSCRIBE, await mail(pool, locale=locale)))
    assert start in answer.text
    assert f">{button}</button>" in answer.text
    assert answer.text.count('type="checkbox"') == len(Topic) * len(Channel) + 3


async def test_without_a_secret_no_link_is_valid(pool: Pool, tmp_path: Path):
    message_id = await mail(pool)
    async with serve(pool, tmp_path, secret=None) as client:
        token = Keys("").sign(Token(Purpose.UNSUBSCRIBE, message_id))
        assert (await client.get(f"/u/{token}")).status_code == 404
        assert (await client.post(f"/u/{token}", content=ONE_CLICK, headers=FORM)).status_code == 404
