"""The tier program over HTTP: drafted, checked, warned about, and published in the order of instants.

Planted and caught here: a version that takes effect before one that is published; two that are published together; a
tier that goes without a move; a draft that is published unsimulated and without a note.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.tiers.handlers import publishing
from services.tiers.rules.program.kind import KIND
from services.tiers.store import programs
from services.tiers.store.programs import load_program
from shared.contracts.values import format_instant
from shared.postgres.pool import Connection, Pool
from shared.programs.faults import DocumentError
from shared.programs.kind import Key as DocumentKey
from shared.programs.store import SINCE_EVER, Version, find
from tests.points.asking import at, done, pointers, post, refusal
from tests.tiers.applied import apply
from tests.tiers.program.conftest import Headers, Key, customer
from tests.tiers.program.drafting import PROGRAMS, publish, put
from tests.tiers.programs import DEFAULT, MINIMAL, WHOLE, changed
from tests.tiers.shop import purchase

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
RENAMED = changed(MINIMAL, ("/tiers/1/id", "plus"))


@pytest.fixture(autouse=True)
def _clock():
    with at(NOON):
        yield


async def test_version_1_ships_in_force(client: httpx.AsyncClient, reader: Headers):
    answer = await client.get(PROGRAMS, headers=reader)
    assert answer.status_code == 200
    [first] = answer.json()["data"]
    assert (first["version"], first["status"], first["document"]) == (1, "published", DEFAULT)
    assert first["effective_at"] == format_instant(SINCE_EVER)
    shown = await client.get(f"{PROGRAMS}/1", headers=reader)
    assert (shown.json(), shown.headers["ETag"]) == (first, first["etag"])


async def test_a_document_is_stored_as_a_draft(client: httpx.AsyncClient, marketing: Headers, reader: Headers):
    answer = await post(client, PROGRAMS, marketing, WHOLE)
    assert answer.status_code == 201
    made = answer.json()
    assert (made["version"], made["status"], made["warnings"]) == (2, "draft", [])
    document = made["document"]
    for sent, kept in zip(WHOLE["tiers"], document["tiers"], strict=True):
        assert {name: kept[name] for name in sent if name != "benefits"} == {
            name: value for name, value in sent.items() if name != "benefits"
        }
    assert document["tiers"][2]["benefits"][1] == WHOLE["tiers"][2]["benefits"][1] | {"from": None, "to": None}
    assert {name: document[name] for name in WHOLE if name != "tiers"} == {
        name: value for name, value in WHOLE.items() if name != "tiers"
    }
    # A document that was read can be sent again unchanged.
    assert (await done(client, PROGRAMS, marketing, document))["document"] == document
    assert (await client.get(f"{PROGRAMS}/2", headers=reader)).json()["document"] == document


async def test_every_default_is_spelled_out(client: httpx.AsyncClient, marketing: Headers):
    document = (await done(client, PROGRAMS, marketing, MINIMAL))["document"]
    assert document == changed(
        DEFAULT,
        *((f"/tiers/{rank}/points_multiplier", "1") for rank in (1, 2)),
        *((f"/tiers/{rank}/name", {"en": name}) for rank, name in enumerate(("Member", "Silver", "Gold"))),
        ("/downgrade/to", "one_step"),
    )


async def test_a_draft_is_warned_about(client: httpx.AsyncClient, tiers_pool: Pool, marketing: Headers):
    await apply(tiers_pool, purchase("1", "10.00"), purchase("2", "10.00", currency="AED"))
    sent = changed(RENAMED, ("/moves", {"bronze": "plus"}), ("/at_risk_days", [400]))
    made = await done(client, PROGRAMS, marketing, sent)
    told = {warning["pointer"]: warning["message"] for warning in made["warnings"]}
    assert list(told) == ["/downgrade/on_refund", "/at_risk_days/0", "/moves", "/moves/bronze", "/rates"]
    assert "tier silver of version 1 is gone" in told["/moves"]
    assert "version 1 has no tier bronze" in told["/moves/bronze"]
    assert told["/rates"].startswith("1 of 2 orders looked at are in AED")
    answer = await put(client, marketing, 2, changed(sent, ("/moves", {"silver": "plus"})), made["etag"])
    kept = [warning["pointer"] for warning in answer.json()["warnings"]]
    assert kept == ["/downgrade/on_refund", "/at_risk_days/0", "/rates"]
    published = await publish(client, marketing, 2)
    assert [warning["pointer"] for warning in published.json()["warnings"]] == kept


async def test_a_version_is_published_with_a_note(
    client: httpx.AsyncClient, tiers_pool: Pool, marketing: Headers, reader: Headers
):
    made = await done(client, PROGRAMS, marketing, WHOLE)
    assert refusal(await publish(client, marketing | {"If-Match": '"x"'}, 2)) == (412, "changed_meanwhile")
    answer = await publish(client, marketing | {"If-Match": made["etag"]}, 2, note="Agreed on Monday.")
    assert answer.status_code == 200
    published = answer.json()
    assert (published["status"], published["effective_at"]) == ("published", format_instant(NOON))
    shown = (await client.get(f"{PROGRAMS}/2", headers=reader)).json()
    assert (shown["note"], shown["etag"]) == ("Agreed on Monday.", published["etag"])
    assert refusal(await publish(client, marketing, 2)) == (409, "already_published")
    assert refusal(await put(client, marketing, 2, WHOLE, published["etag"])) == (409, "already_published")
    async with tiers_pool.acquire() as connection:
        assert [(await load_program(connection, NOON - HOUR * hours)).version for hours in (0, 1)] == [2, 1]


async def test_a_draft_needs_a_simulation_or_a_note(
    client: httpx.AsyncClient, tiers_pool: Pool, marketing: Headers, monkeypatch: pytest.MonkeyPatch
):
    await done(client, PROGRAMS, marketing, WHOLE)
    path = f"{PROGRAMS}/2/publish"
    for body in (None, {}, {"without_simulation": False, "note": "Trust me."}):
        assert refusal(await post(client, path, marketing, body)) == (409, "simulation_required")
    for note in ({}, {"note": ""}, {"note": "  "}, {"note": None}, {"note": "x" * 501}, {"note": 5}):
        assert pointers(await post(client, path, marketing, {"without_simulation": True, **note})) == ["/note"]
    assert pointers(await publish(client, marketing, 2, without_simulation="yes")) == ["/without_simulation"]
    assert pointers(await publish(client, marketing, 2, simulated=True)) == ["/simulated"]
    assert await tiers_pool.fetchval("SELECT count(*) FROM document_version WHERE effective_at IS NOT NULL") == 1

    async def is_simulated(_connection: Connection, draft: Version) -> bool:
        return (draft.version, draft.revision) == (2, 1)

    monkeypatch.setattr(publishing, "is_simulated", is_simulated)
    assert (await post(client, path, marketing)).status_code == 200


async def test_each_version_takes_effect_after_all_that_are_published(client: httpx.AsyncClient, marketing: Headers):
    for _ in range(4):
        await done(client, PROGRAMS, marketing, MINIMAL)
    later = format_instant(NOON + 2 * HOUR)
    assert pointers(await publish(client, marketing, 2, effective_at=format_instant(NOON - HOUR))) == ["/effective_at"]
    assert (await publish(client, marketing, 3, effective_at=later)).status_code == 200
    # Neither before it (also now), nor at the same instant.
    for fields in ({}, {"effective_at": format_instant(NOON + HOUR)}, {"effective_at": later}):
        assert pointers(await publish(client, marketing, 2, **fields)) == ["/effective_at"]
    after = format_instant(NOON + 2 * HOUR + timedelta(microseconds=1))
    assert (await publish(client, marketing, 2, effective_at=after)).status_code == 200


async def test_of_versions_published_together_each_takes_effect_after_the_others(
    client: httpx.AsyncClient, marketing: Headers, monkeypatch: pytest.MonkeyPatch
):
    for _ in range(2):
        await done(client, PROGRAMS, marketing, MINIMAL)

    async def load_slowly(connection: Connection, other_than: int | None) -> programs.Effective:
        last = await load_last(connection, other_than)
        await asyncio.sleep(0.1)
        return last

    load_last = programs.load_last
    monkeypatch.setattr(programs, "load_last", load_slowly)
    answers = await asyncio.gather(*(publish(client, marketing, version) for version in (2, 3)))
    assert sorted(answer.status_code for answer in answers) == [200, 422]


async def test_the_members_of_a_tier_that_goes_have_to_move(
    client: httpx.AsyncClient, tiers_pool: Pool, marketing: Headers
):
    made = await done(client, PROGRAMS, marketing, RENAMED)
    assert pointers(await publish(client, marketing, 2)) == ["/moves"]
    # All that is wrong is told at once.
    sent = await post(client, f"{PROGRAMS}/2/publish", marketing, {"without_simulation": True})
    assert pointers(sent) == ["/moves", "/note"]
    draft = await find(tiers_pool, DocumentKey(KIND.name), 2)
    assert draft is not None
    async with tiers_pool.acquire() as connection:
        with pytest.raises(DocumentError, match="/moves: tier silver of version 1 is gone"):
            await publishing.check_moves(connection, draft)
    moving = changed(RENAMED, ("/moves", {"silver": "plus"}))
    assert (await put(client, marketing, 2, moving, made["etag"])).status_code == 200
    assert (await publish(client, marketing, 2, effective_at=format_instant(NOON + HOUR))).status_code == 200
    # The version before is the one that takes effect last, whenever that is.
    await done(client, PROGRAMS, marketing, MINIMAL)
    late = format_instant(NOON + 2 * HOUR)
    assert pointers(await publish(client, marketing, 3, effective_at=late)) == ["/moves"]
    await done(client, PROGRAMS, marketing, changed(MINIMAL, ("/moves", {"plus": "gold"})))
    assert (await publish(client, marketing, 4, effective_at=late)).status_code == 200


async def test_the_same_key_publishes_once(client: httpx.AsyncClient, marketing: Headers):
    await done(client, PROGRAMS, marketing, MINIMAL)
    body: dict[str, Any] = {"without_simulation": True, "note": "Now."}
    first = await post(client, f"{PROGRAMS}/2/publish", marketing, body, name="publish")
    again = await post(client, f"{PROGRAMS}/2/publish", marketing, body, name="publish")
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_who_may_read_and_write_programs(client: httpx.AsyncClient, key: Key):
    made = await done(client, PROGRAMS, key("marketing"), MINIMAL)
    who = {
        "nobody": ({}, 401, 401),
        "ann": (customer("ann"), 403, 403),
        "read": (key("read"), 200, 403),
        "redeem": (key("redeem"), 403, 403),
        "support": (key("support"), 403, 403),
        "marketing": (key("marketing"), 200, 200),
    }
    for name, (headers, reads, writes) in who.items():
        for path in (PROGRAMS, f"{PROGRAMS}/1", f"{PROGRAMS}/2"):
            assert (await client.get(path, headers=headers)).status_code == reads, name
        assert (await post(client, PROGRAMS, headers, MINIMAL)).status_code == {200: 201}.get(writes, writes), name
        assert (await put(client, headers, 2, MINIMAL, made["etag"])).status_code == writes, name
        assert (await publish(client, headers, 2)).status_code == writes, name
    assert (await post(client, PROGRAMS, key("admin"), MINIMAL)).status_code == 201
