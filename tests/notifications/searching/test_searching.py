"""Customers are found by id, address, phone number and words of the name; erased ones are not."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.keys import create_key
from services.notifications.api import build
from services.notifications.handlers.searching import refresh
from services.notifications.rules import searching
from services.notifications.rules.searching import Wanted
from services.notifications.settings import Settings
from services.notifications.store import searching as store
from shared.http.paging import encode_cursor
from shared.postgres import checks
from shared.postgres.pool import Pool
from tests.notifications.world import NOW, ago, earned, erased, handle, registered, updated

MONA: dict[str, Any] = {
    "name": "Mona Al-Sayed",
    "email": "Mona.S@Example.org",
    "phone": "0100 123 4567",
    "country": "EG",
}


@pytest.fixture
async def client(pool: Pool, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    keys = tmp_path / "keys.json"
    app = build(Settings.model_validate({"api_keys_file": keys}), pool)
    headers = {"Authorization": f"Bearer {create_key(keys, ['read'], 'read')}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://wafa", headers=headers) as http:
        yield http


async def found(client: httpx.AsyncClient, query: str) -> list[tuple[str, str]]:
    answer = await client.get("/v1/customers", params={"q": query})
    assert answer.status_code == 200, answer.text
    return [(entry["id"], entry["found_by"]) for entry in answer.json()["data"]]


@pytest.mark.parametrize(
    "query, by",
    [
        ("mona-1", "id"),
        (" mona-1 ", "id"),
        ("mona.s@example.org", "email"),
        ("MONA.S@EXAMPLE.ORG", "email"),
        ("0100 123 4567", "phone"),
        ("+20 100 123 4567", "phone"),
        ("0020-100-123-4567", "phone"),
        ("(0100) 123.4567", "phone"),
        ("٠١٠٠١٢٣٤٥٦٧", "phone"),
        ("mona", "name"),
        ("SAYED mon", "name"),
        ("al say", "name"),
        ("Móna", "name"),
    ],
)
async def test_a_customer_is_found(client: httpx.AsyncClient, pool: Pool, query: str, by: str):
    await handle(pool, registered("mona-1", **MONA), registered("ben", name="Ben", email="ben@example.org"))
    assert await found(client, query) == [("mona-1", by)]


@pytest.mark.parametrize(
    "query",
    ["mona-2", "s@example.org", "mona.s@example.or", "100 123", "01001234568", "ona", "mona ben", "@", "%", "'"],
)
async def test_what_nobody_is_finds_nobody(client: httpx.AsyncClient, pool: Pool, query: str):
    await handle(pool, registered("mona-1", **MONA), registered("ben", name="Ben"))
    assert await found(client, query) == []


@pytest.mark.parametrize(
    "name, query",
    [
        ("أحمد عبد الله", "احمد"),
        ("احمد", "أحْمَد"),
        ("فاطمة الزهراء", "فاطمه"),
        ("منى", "مني"),
        ("مـنـى", "منى"),
        ("O'Neil", "oneil"),
        ("O’Neil", "O'Nei"),
        ("Jürgen Groß", "jurgen gross"),
        ("Nguyễn Văn", "nguyen"),
        ("山田 太郎", "山田"),
        ("محمد\u200f علي", "محمد علي"),
    ],
)
async def test_spellings_of_a_name_are_alike(client: httpx.AsyncClient, pool: Pool, name: str, query: str):
    await handle(pool, registered("c", name=name))
    assert await found(client, query) == [("c", "name")]


async def test_what_is_shown(client: httpx.AsyncClient, pool: Pool):
    await handle(pool, registered("mona", ago(days=1), locale="ar-EG", **MONA), earned("new", 5))
    (entry,) = (await client.get("/v1/customers", params={"q": "mona"})).json()["data"]
    assert entry == {
        "id": "mona",
        "found_by": "id",
        "locale": "ar-EG",
        "registered_at": "2026-02-28T12:00:00Z",
        **MONA,
    }
    assert (await client.get("/v1/customers", params={"q": "new"})).json()["data"] == [{"id": "new", "found_by": "id"}]


async def test_a_changed_profile_is_found_by_what_it_is_now(client: httpx.AsyncClient, pool: Pool):
    await handle(pool, registered("mona", ago(days=1), **MONA))
    await handle(pool, updated("mona", name="Huda", email=None, phone="+49 30 1234567"))
    assert await found(client, "huda") == [("mona", "name")]
    assert await found(client, "030 1234567") == [("mona", "phone")]
    for old in ("sayed", "mona.s@example.org", "01001234567"):
        assert await found(client, old) == []


async def test_an_erased_customer_is_not_found_until_a_new_registration(client: httpx.AsyncClient, pool: Pool):
    await handle(pool, registered("mona", ago(days=2), **MONA))
    await handle(pool, erased("mona", ago(days=1)))
    for query in ("mona", "sayed", "mona.s@example.org", "01001234567"):
        assert await found(client, query) == []
    assert await pool.fetchval("SELECT count(*) FROM customer_search") == 0
    await handle(pool, registered("mona", name="Mona New"))
    assert await found(client, "new") == [("mona", "name")]


async def test_pages_go_from_the_best_match_on(client: httpx.AsyncClient, pool: Pool):
    people = [registered(f"c-{number}", name="Mona") for number in range(5)]
    await handle(pool, *people, registered("mona", name="Mona"), registered("x", email="mona@x.org", name="Mona"))
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = (await client.get("/v1/customers", params={"q": "mona", "limit": "3", **after})).json()
        seen += [entry["id"] for entry in page["data"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == ["mona", *(f"c-{number}" for number in range(5)), "x"]


@pytest.mark.parametrize("query", [{}, {"q": ""}, {"q": "  "}, {"q": "a\x01b"}, {"q": "a\nb"}, {"q": "x" * 201}])
async def test_wrong_queries_are_refused(client: httpx.AsyncClient, query: dict[str, str]):
    refused = await client.get("/v1/customers", params=query)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/query/q")


@pytest.mark.parametrize("cursor", [encode_cursor((2**62, "x")), encode_cursor((1, ""))])
async def test_made_up_cursors_are_no_error(client: httpx.AsyncClient, cursor: str):
    assert (await client.get("/v1/customers", params={"q": "x", "after": cursor})).status_code == 200


async def test_rows_from_before_are_made_by_a_job(client: httpx.AsyncClient, pool: Pool):
    await handle(pool, registered("mona", **MONA), registered("ben", name="Ben"))
    await pool.execute("UPDATE customer_search SET version = 0, email = NULL, phones = '{}', words = ''")
    assert await found(client, "sayed") == []
    await refresh(pool, NOW)
    assert await found(client, "sayed") == [("mona", "name")]
    async with pool.acquire() as connection:
        assert await store.outdated(connection, 10) == []


async def test_each_way_has_an_index(pool: Pool):
    await handle(
        pool, *(registered(f"c-{number}", name=f"N{number}", email=f"e{number}@x.org") for number in range(200))
    )
    await pool.execute("VACUUM ANALYZE customer_search")
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        arguments = ("c-1", "e1@x.org", ["12345"], "'n1':*", 0, "", 50)
        plan = "\n".join(row[0] for row in await connection.fetch("EXPLAIN " + store.FIND_SQL, *arguments))
    for index in ("customer_search_email", "customer_search_phones", "customer_search_words"):
        assert index in plan


@given(st.text(max_size=300))
def test_any_text_is_searched(text: str):
    asked = searching.wanted(text)
    assert isinstance(asked, Wanted)
    assert all(word.isalnum() and len(word) <= 64 for word in asked.words)
    assert len(asked.words) <= 16
    assert asked.words == searching.words_of(" ".join(asked.words))


@pytest.mark.parametrize(
    "query", ["ǅ", "ﷺ", "½ ²", "x\u0301", "a:b & c | !d", "\\", "''", "İstanbul", "①②", "\u200fمنى\u200f", "x" * 200]
)
async def test_any_query_is_taken_by_postgresql(client: httpx.AsyncClient, pool: Pool, query: str):
    await handle(pool, registered("c", name=query[:120]))
    await found(client, query)


VIOLATIONS = {
    "DELETE FROM customer_search": ["mona"],
    "UPDATE customer SET seen_at = NULL, registered_at = NULL": ["mona"],
    "UPDATE customer_search SET version = 0": [],
}


@pytest.mark.parametrize("change, offenders", VIOLATIONS.items())
async def test_verify_finds_customers_that_are_not_found(pool: Pool, change: str, offenders: list[str]):
    await handle(pool, registered("mona", **MONA))
    async with checks.snapshot(pool) as connection:
        assert [check.offenders async for check in checks.ask(connection, (store.QUERY,))] == [[]]
    await pool.execute(change)
    async with checks.snapshot(pool) as connection:
        assert [check.offenders async for check in checks.ask(connection, (store.QUERY,))] == [offenders]
