"""Previews of templates, and messages that are sent as a test."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from deploy.keys import create_key
from services.notifications.api import build
from services.notifications.settings import Settings
from shared.postgres.pool import Pool
from tests.notifications.mail_server import MailServer
from tests.notifications.world import handle, registered, tier

KEY = "a key of the tests of thirty-two bytes"
LINK = "{{ links.unsubscribe }}"
DOCUMENT: dict[str, Any] = {
    "topic": "offers",
    "kind": "marketing",
    "samples": {"points": 1234},
    "in_app": {
        "en": {"title": "{{ points | number }}", "body": "{{ customer.first_name | default: 'you' }}"},
        "ar": {"title": "{{ points | number }}", "body": "{{ customer.tier | default: 'لا' }}"},
    },
    "email": {"en": {"subject": "{{ points | number }} points", "preheader": "P", "markdown": f"[x]({LINK})"}},
    "sms": {"en": {"text": "{{ points | number }}"}},
    "push": {"en": {"title": "T", "body": "{{ points | number }}", "url": "/points"}},
}
WINDOW = "/v1/templates/news/versions/1"

Open = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def as_(pool: Pool, tmp_path: Path, mail_server: MailServer) -> Open:
    file = tmp_path / "keys.json"

    @asynccontextmanager
    async def opened(*scopes: str) -> AsyncIterator[httpx.AsyncClient]:
        headers = {"Authorization": f"Bearer {create_key(file, list(scopes), '-'.join(scopes))}"}
        settings = Settings(
            api_keys_file=file,
            jwt_key=SecretStr(KEY),
            secret=SecretStr(KEY),
            smtp_host="127.0.0.1",
            smtp_port=mail_server.port,
        )
        transport = httpx.ASGITransport(build(settings, pool))
        async with httpx.AsyncClient(transport=transport, base_url="http://wafa.example", headers=headers) as client:
            await client.post("/v1/templates", json={"id": "news", **DOCUMENT})
            yield client

    return opened


async def test_a_preview_on_each_channel(as_: Open):
    async with as_("marketing") as client:

        async def preview(channel: str, locale: str = "en", **more: Any) -> Any:
            body = {"channel": channel, "locale": locale, **more}
            return (await client.post(f"{WINDOW}/preview", json=body)).json()

        assert await preview("in_app") == {"title": "1,234", "body": "Lina", "locale": "en"}
        assert await preview("in_app", "ar-EG") == {"title": "١٬٢٣٤", "body": "silver", "locale": "ar"}
        assert await preview("in_app", event={"points": 7}) == {"title": "7", "body": "Lina", "locale": "en"}
        assert await preview("sms", "fr") == {"text": "1,234", "segments": 1, "locale": "en"}
        assert await preview("push") == {"title": "T", "body": "1,234", "url": "/points", "locale": "en"}
        mail = await preview("email")
        assert set(mail) == {"subject", "preheader", "html", "text", "locale"}
        assert (mail["subject"], mail["preheader"]) == ("1,234 points", "P")


async def test_a_preview_for_a_customer_needs_read_besides(as_: Open, pool: Pool):
    await handle(pool, registered("mona", name="Dr. Mona Ali", locale="ar-EG"), tier("promoted", "mona", "gold"))
    body = {"channel": "in_app", "locale": "en", "customer_id": "mona"}
    async with as_("marketing") as client:
        assert (await client.post(f"{WINDOW}/preview", json=body)).status_code == 403
    async with as_("marketing", "read") as client:
        assert (await client.post(f"{WINDOW}/preview", json=body)).json()["body"] == "Mona"
        shown = await client.post(f"{WINDOW}/preview", json=body | {"customer_id": "nobody"})
        assert shown.json()["body"] == "you"


@pytest.mark.parametrize(
    "body, pointer",
    [
        ({"channel": "in_app", "event": {}}, "/in_app/en/title"),
        ({"channel": "in_app", "event": {"points": "many"}}, "/in_app/en/title"),
        ({"channel": "in_app", "event": {"points": "x" * 20_000}}, "/event"),
        ({"channel": "fax"}, "/channel"),
        ({"channel": "in_app", "locale": ""}, "/locale"),
        ({"channel": "in_app", "customer_id": "a/b"}, "/customer_id"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_wrong_previews(as_: Open, body: dict[str, Any], pointer: str):
    async with as_("marketing", "read") as client:
        answer = await client.post(f"{WINDOW}/preview", json={"locale": "en"} | body)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
        unknown = await client.post("/v1/templates/news/versions/9/preview", json={"channel": "sms", "locale": "en"})
        assert unknown.status_code == 404


async def test_a_mail_is_sent_as_a_test(as_: Open, mail_server: MailServer):
    async with as_("marketing") as client:
        body = {"to": "lina@example.org", "channel": "email", "locale": "ar"}
        answer = await client.post(f"{WINDOW}/test-send", json=body)
        assert answer.status_code == 200, answer.text
        (mail,) = mail_server.taken
        assert mail["Subject"] == "[Test] 1,234 points"
        assert mail["To"] == "lina@example.org"
        page = mail["List-Unsubscribe"].strip("<>")
        assert page in mail.get_body(("plain",)).get_content().replace("=\n", "")
        # The token does nothing, however it is used.
        path = page.removeprefix("http://localhost:8080") if page.startswith("http://localhost:8080") else page
        assert (await client.post(path, data={"List-Unsubscribe": "One-Click"})).status_code == 200


@pytest.mark.parametrize(
    "body, pointer",
    [
        ({"to": "nobody"}, "/to"),
        ({"to": "a@example.org\r\nBcc: b@example.org"}, "/to"),
        ({"to": "12", "channel": "sms"}, "/to"),
        ({"channel": "push"}, "/channel"),
        ({"channel": "in_app"}, "/channel"),
    ],
    ids=str,
)
async def test_wrong_tests(as_: Open, mail_server: MailServer, body: dict[str, str], pointer: str):
    async with as_("marketing") as client:
        sent = {"to": "lina@example.org", "channel": "email", "locale": "en"} | body
        answer = await client.post(f"{WINDOW}/test-send", json=sent)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert not mail_server.taken


async def test_a_caller_sends_twenty_tests_an_hour(as_: Open, pool: Pool):
    body = {"to": "lina@example.org", "channel": "email", "locale": "en"}
    async with as_("marketing") as client:
        await client.post(f"{WINDOW}/test-send", json=body)
        await pool.execute("INSERT INTO test_send SELECT principal, at FROM test_send, generate_series(1, 19)")
        answer = await client.post(f"{WINDOW}/test-send", json=body)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3600")
        await pool.execute("UPDATE test_send SET at = at - interval '61 minutes'")
        assert (await client.post(f"{WINDOW}/test-send", json=body)).status_code == 200
        assert await pool.fetchval("SELECT count(*) FROM test_send") == 1
