"""The referral program over HTTP: version 1, drafts with every default, warnings, and publication."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from services.referrals.store.programs import load_program
from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from shared.programs.store import SINCE_EVER
from tests.points.asking import at, done, pointers, post, refusal
from tests.referrals.conftest import Apply, Headers
from tests.referrals.programs import DEFAULT, MINIMAL, WHOLE
from tests.referrals.shop import bought
from tests.tiers.programs import changed

PROGRAMS = "/v1/referral-programs"
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _clock():
    with at(NOON):
        yield


async def test_version_1_ships_in_force(client: httpx.AsyncClient, marketing: Headers):
    [first] = (await client.get(PROGRAMS, headers=marketing)).json()["data"]
    assert (first["version"], first["status"], first["document"]) == (1, "published", DEFAULT)
    assert first["effective_at"] == format_instant(SINCE_EVER)
    assert "created_by" not in first


async def test_a_document_is_stored_as_a_draft(client: httpx.AsyncClient, marketing: Headers):
    made = await done(client, PROGRAMS, marketing, WHOLE)
    assert (made["version"], made["status"]) == (2, "draft")
    assert [warning["pointer"] for warning in made["warnings"]] == ["/signals", "/signals", "/flag_at"]
    document = made["document"]
    assert document["signals"] == [
        {"id": "same_device", "action": "block", "weight": 0, "threshold": None},
        {"id": "same_ip", "action": "score", "weight": 30, "threshold": None},
    ]
    assert document["caps"] == [WHOLE["caps"][0] | {"points": None}]
    rest = {name: value for name, value in WHOLE.items() if name not in {"signals", "caps"}}
    assert {name: document[name] for name in rest} == rest
    # A document that was read can be sent again unchanged.
    assert (await done(client, PROGRAMS, marketing, document))["document"] == document
    assert (await client.get(f"{PROGRAMS}/2", headers=marketing)).json()["document"] == document


async def test_every_default_is_spelled_out(client: httpx.AsyncClient, marketing: Headers):
    sent = changed(MINIMAL, ("/signals", [{"id": "similar_email", "threshold": 0.85}, {"id": "ip_velocity"}]))
    document = (await done(client, PROGRAMS, marketing, sent))["document"]
    # Also the action and the threshold of a signal, so that a later default changes no published version.
    assert document == DEFAULT | {
        "signals": [
            {"id": "similar_email", "action": "flag", "weight": 0, "threshold": "0.85"},
            {"id": "ip_velocity", "action": "flag", "weight": 0, "threshold": 10},
        ]
    }


async def test_a_draft_is_warned_about_currencies_that_customers_buy_in(
    client: httpx.AsyncClient, apply: Apply, marketing: Headers
):
    await apply([bought("fay", "1", 1), bought("fay", "2", 1, currency="AED"), bought("fay", "3", 1, currency="SAR")])
    made = await done(client, PROGRAMS, marketing, changed(DEFAULT, ("/hold_days", 14), ("/rates", {"SAR": "0.2667"})))
    assert [(warning["pointer"], warning["message"]) for warning in made["warnings"]] == [
        ("/rates", "1 of 3 orders looked at are in AED, which has no rate: they qualify nothing")
    ]


async def test_a_version_is_published_for_an_instant(client: httpx.AsyncClient, pool: Pool, marketing: Headers):
    made = await done(client, PROGRAMS, marketing, WHOLE)
    path, tagged = f"{PROGRAMS}/2/publish", marketing | {"If-Match": made["etag"]}
    past = {"effective_at": format_instant(NOON - HOUR)}
    assert pointers(await post(client, path, marketing, past)) == ["/effective_at"]
    assert refusal(await post(client, path, marketing | {"If-Match": '"x"'})) == (412, "changed_meanwhile")
    answer = await post(client, path, tagged, {"effective_at": format_instant(NOON + HOUR)})
    assert (answer.status_code, answer.json()["status"]) == (200, "published")
    assert answer.json()["warnings"] == made["warnings"]
    assert refusal(await post(client, path, marketing)) == (409, "already_published")
    replaced = await client.put(f"{PROGRAMS}/2", json=WHOLE, headers=marketing | {"If-Match": answer.json()["etag"]})
    assert refusal(replaced) == (409, "already_published")
    async with pool.acquire() as connection:
        assert [(await load_program(connection, NOON + HOUR * hours)).version for hours in (0, 1)] == [1, 2]
