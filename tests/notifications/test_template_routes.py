"""The routes of templates: what is refused, and with which pointer."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from deploy.keys import create_key
from services.notifications.api import build
from services.notifications.settings import Settings
from shared.postgres.pool import Pool

KEY = "a key of the tests of thirty-two bytes"


@pytest.fixture
async def client(pool: Pool, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    keys = tmp_path / "keys.json"
    headers = {"Authorization": f"Bearer {create_key(keys, ['marketing'], 'm')}"}
    app = build(Settings(api_keys_file=keys, jwt_key=SecretStr(KEY), secret=SecretStr(KEY)), pool)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://wafa.example", headers=headers) as client:
        yield client


def document(**changes: Any) -> dict[str, Any]:
    return {
        "topic": "points",
        "kind": "transactional",
        "samples": {"points": 120},
        "in_app": {"en": {"title": "{{ points | number }} points", "body": "Well done."}},
        **changes,
    }


def mail(**texts: str) -> dict[str, Any]:
    return {"email": {"en": {"subject": "Hi", **texts}}}


REFUSED = {
    "/kind": document(topic="offers"),
    "/in_app": document(in_app={"ar": {"title": "مرحبا", "body": "مرحبا"}}),
    "/in_app/en/title": document(in_app={"en": {"title": "{{ undeclared }}", "body": "x"}}),
    "/in_app/en/body": document(in_app={"en": {"title": "x", "body": "{{ points | date }}"}}),
    "/email/en/subject": document(email={"en": {"subject": "{% include 'x' %}", "markdown": "x"}}),
    "/email/en/markdown": document(**mail(markdown="{% for i in (1..100000) %}x{% endfor %}")),
    "/email/en/mjml": document(**mail(mjml="<mjml><mj-body><mj-section></mjml>")),
    "/email/en": document(**mail(markdown="x", mjml="<mjml></mjml>")),
    "/sms/en/text": document(sms={"en": {"text": "{{ customer.password }}"}}),
    "/push/ar/title": document(push={"en": {"title": "x", "body": "x"}, "ar": {"title": "{{ x", "body": "x"}}),
}


@pytest.mark.parametrize("pointer", REFUSED)
async def test_a_document_is_refused_with_the_place(client: httpx.AsyncClient, pointer: str):
    answer = await client.post("/v1/templates", json={"id": "news-1", **REFUSED[pointer]})
    assert answer.status_code == 422, answer.text
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


async def test_a_template_goes_from_a_draft_to_its_second_version(client: httpx.AsyncClient):
    created = await client.post("/v1/templates", json={"id": "hello", **document()})
    assert (created.status_code, created.json()["version"]) == (201, 1)
    assert (await client.post("/v1/templates", json={"id": "hello", **document()})).json()["code"] == "exists"
    assert (await client.post("/v1/templates/hello/versions/1/publish")).json()["status"] == "published"
    assert (await client.post("/v1/templates/hello/versions", json=document())).json()["version"] == 2
    listed = {each["id"]: each for each in (await client.get("/v1/templates?limit=200")).json()["data"]}
    assert (listed["hello"]["newest"], listed["hello"]["in_force"]) == (2, 1)
    assert listed["points_earned"]["in_force"] == 1


async def test_a_version_keeps_the_channels_on_which_journeys_send_it(client: httpx.AsyncClient):
    drafted = await client.post("/v1/templates/points_earned/versions", json=document())
    number = drafted.json()["version"]
    answer = await client.post(f"/v1/templates/points_earned/versions/{number}/publish")
    assert (answer.status_code, answer.json()["code"]) == (409, "channel_in_use")
    assert "points_earned (email" in answer.json()["detail"]


@pytest.mark.parametrize(
    "text", ["{{ 'a' | append: 'b' }}" * 50, "{% if customer.name %}x{% endif %}", "**{{ program }}**"]
)
async def test_what_is_fine_is_accepted(client: httpx.AsyncClient, text: str):
    answer = await client.post("/v1/templates", json={"id": "fine", **document(**mail(markdown=text))})
    assert answer.status_code == 201, answer.text
