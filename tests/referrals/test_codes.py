"""Codes and links through the routes, on a real database."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import HttpUrl, SecretStr

from deploy.keys import create_key
from services.referrals.api import build
from services.referrals.handlers.codes import MOST_CHOSEN, find_or_make, follow
from services.referrals.rules.codes.code import LENGTH, key_of, parse
from services.referrals.settings import Settings
from services.referrals.store import codes, locks, referrals
from shared.postgres.pool import Pool
from shared.programs import store
from shared.programs.kind import Key, dump
from shared.programs.store import Publication
from tests.referrals import programs
from tests.referrals.conftest import ADA, BEN, Apply
from tests.referrals.shop import START, signed_up

SECRET = "a secret of thirty-two bytes or so"
ROOT = "https://loyal.example.org/club/r/"
SHARE = {"en": "Join me: {link}", "ar": "انضم إليّ: {link}"}


@pytest.fixture
async def client(tmp_path: Path, pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(
        api_keys_file=tmp_path / "keys.json",
        jwt_key=SecretStr(SECRET),
        public_url=HttpUrl("https://loyal.example.org/club"),
        shop_url=HttpUrl("https://shop.example.org/welcome?utm=wafa#top"),
    )
    headers = {"Authorization": f"Bearer {create_key(tmp_path / 'keys.json', ['read'], 'test')}"}
    transport = httpx.ASGITransport(app=build(settings, pool))
    async with httpx.AsyncClient(transport=transport, base_url="http://wafa.example", headers=headers) as opened:
        yield opened


async def publish(pool: Pool, **changes: Any) -> None:
    """Publish a version of the program that is in force now."""
    key = Key("referral_program")
    document = dump(programs.parse({**programs.WHOLE, **changes}))
    async with pool.acquire() as connection, connection.transaction():
        draft = await store.insert(connection, key, document, START, "key:test")
        await store.publish(connection, key, draft.version, Publication(START, START, "key:test"))


async def post(client: httpx.AsyncClient, customer: str, vanity: Any = None, **headers: str) -> httpx.Response:
    body = None if vanity is None else {"vanity": vanity}
    return await client.post(f"/v1/customers/{customer}/referral-code", json=body, headers=headers)


async def code_of(client: httpx.AsyncClient, customer: str, vanity: str | None = None) -> str:
    answer = await post(client, customer, vanity)
    assert answer.status_code == 200, answer.text
    return answer.json()["code"]


async def clicks(pool: Pool) -> dict[str, int]:
    rows = await pool.fetch("SELECT code, sum(clicks)::int AS clicks FROM referral_click GROUP BY 1")
    return {row["code"]: row["clicks"] for row in rows}


async def test_codes_are_one_per_customer_and_unlike_each_other(pool: Pool):
    async with pool.acquire() as connection:
        made = [await find_or_make(connection, f"c{number}", START) for number in range(50)]
        again = [await find_or_make(connection, f"c{number}", START) for number in range(50)]
    assert made == again
    assert len({*made, ADA, BEN}) == 52
    assert all(parse(code) == code and len(code) == LENGTH for code in made)


async def test_a_code_that_was_given_out_before_is_kept(client: httpx.AsyncClient):
    assert await code_of(client, "ada") == ADA


async def test_a_code_comes_with_its_link_and_texts_in_the_language_of_the_request(
    client: httpx.AsyncClient, pool: Pool
):
    await publish(pool, share=SHARE)
    arabic, english = "انضم إليّ: ", "Join me: "
    for language, text in {"ar-SA, en;q=0.5": arabic, "fr": english, "en": english, "": english}.items():
        answer = (await post(client, "ada", **{"Accept-Language": language})).json()
        assert (answer["code"], answer["link"]) == (ADA, ROOT + ADA)
        assert answer["share"].keys() == {"text", "whatsapp", "email", "x"}
        assert answer["share"]["text"] == text + ROOT + ADA


async def test_version_1_has_texts_too(client: httpx.AsyncClient):
    english = (await post(client, "ada")).json()["share"]["text"]
    arabic = (await post(client, "ada", **{"Accept-Language": "ar"})).json()["share"]["text"]
    assert english != arabic
    assert english.count(ROOT + ADA) == arabic.count(ROOT + ADA) == 1


@pytest.mark.parametrize("body", ["", "{}", '{"vanity": null}', "null"])
async def test_without_a_wish_the_customer_gets_a_code(client: httpx.AsyncClient, body: str):
    headers = {"Content-Type": "application/json"} if body else {}
    answer = await client.post("/v1/customers/zoe/referral-code", content=body, headers=headers)
    assert answer.status_code == 200
    assert len(answer.json()["code"]) == LENGTH


async def test_a_chosen_code_is_beside_the_others_and_the_newest_is_shown(
    client: httpx.AsyncClient, pool: Pool, apply: Apply
):
    assert await code_of(client, "ada", "ada-love") == "ADALOVE"
    assert await code_of(client, "ada") == "ADALOVE"
    assert await code_of(client, "ada", "ADA2026") == "ADA2026"
    assert await code_of(client, "ada") == "ADA2026"
    assert await code_of(client, "ada", "Adal0ve") == "ADALOVE", "one's own again, as it was spelled first"
    assert await code_of(client, "ada") == "ADALOVE"
    for number, text in enumerate((ADA.lower(), "ADA-LOVE", "a d a l 0 v e", " ada2026")):
        assert await apply([signed_up(f"friend-{number}", text)]) == []
    rows = await pool.fetch("SELECT advocate_id, code FROM referral ORDER BY number")
    love = key_of("ADALOVE")
    assert [tuple(row) for row in rows] == [("ada", key) for key in (ADA, love, love, key_of("ADA2026"))]


async def test_who_chooses_at_first_has_that_code_alone(client: httpx.AsyncClient, pool: Pool):
    assert await code_of(client, "zoe", "zoe1") == "ZOE1"
    assert await code_of(client, "zoe") == "ZOE1"
    assert await pool.fetchval("SELECT count(*) FROM referral_code WHERE customer_id = 'zoe'") == 1


@pytest.mark.parametrize("text", ["OLIVIA", "0L1V1A", "0llvla", "o-l-i-v-i-a"])
async def test_a_code_of_somebody_else_is_taken_also_one_that_looks_like_it(client: httpx.AsyncClient, text: str):
    assert await code_of(client, "ada", "Olivia") == "OLIVIA"
    answer = await post(client, "ben", text)
    assert (answer.status_code, answer.json()["code"]) == (409, "code_taken")
    assert await code_of(client, "ben") == BEN


@pytest.mark.parametrize(
    "vanity", ["ada", "A" * 21, "A" * 65, "ada love", "آدم2026", "5h1t", ADA, "CDFGHJKMT", 12345, ["A"]]
)
async def test_an_unfit_code_is_refused_at_its_pointer(client: httpx.AsyncClient, pool: Pool, vanity: Any):
    answer = await post(client, "ada", vanity)
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/vanity"]
    assert await pool.fetchval("SELECT count(*) FROM referral_code") == 2


async def test_a_mistyped_field_is_refused(client: httpx.AsyncClient):
    answer = await client.post("/v1/customers/ada/referral-code", json={"Vanity": "ADALOVE"})
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/Vanity"]


async def test_nobody_takes_all_names(client: httpx.AsyncClient):
    for number in range(MOST_CHOSEN):
        await code_of(client, "ada", f"NAME{number}")
    answer = await post(client, "ada", "ONEMORE")
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_codes")
    assert await code_of(client, "ada", "NAME7") == "NAME7"
    assert await code_of(client, "ben", "ONEMORE") == "ONEMORE"


async def test_of_those_who_want_a_code_at_once_one_gets_it(client: httpx.AsyncClient, pool: Pool):
    answers = await asyncio.gather(*(post(client, f"c{number % 4}", "TheName") for number in range(12)))
    winner = await pool.fetchval("SELECT customer_id FROM referral_code WHERE code = 'THENAME'")
    expected = [200 if f"c{number % 4}" == winner else 409 for number in range(12)]
    assert [answer.status_code for answer in answers] == expected


async def test_a_visit_is_counted_for_a_known_code_only(pool: Pool):
    async with pool.acquire() as connection:
        texts = (ADA, ADA.lower(), "CDFG-HJKM", "23456789", "nonsense", "\x00")
        assert [await follow(connection, text, START) for text in texts] == [ADA, ADA, ADA, None, None, None]
    rows = await pool.fetch("SELECT code, day::text, sum(clicks)::int FROM referral_click GROUP BY 1, 2")
    assert [tuple(row) for row in rows] == [(ADA, "2026-03-01", 3)]


async def test_a_link_leads_to_the_page_of_the_version_in_force(client: httpx.AsyncClient, pool: Pool):
    await code_of(client, "ada", "ADALOVE")
    first = await client.get("/r/adal0ve")
    assert first.headers["location"] == "https://shop.example.org/welcome?utm=wafa&ref=ADALOVE#top"
    await publish(pool, link="https://new.example.org/join/{code}?by={code}")
    known, unknown = await client.get("/r/adal0ve"), await client.get("/r/nobody")
    assert known.headers["location"] == "https://new.example.org/join/ADALOVE?by=ADALOVE"
    assert unknown.headers["location"] == "https://new.example.org/"
    for answer in (first, known, unknown):
        assert answer.status_code == 302
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
    assert await clicks(pool) == {key_of("ADALOVE"): 2}


async def test_head_and_bots_are_led_to_the_shop_and_not_counted(client: httpx.AsyncClient, pool: Pool):
    head = await client.head(f"/r/{ADA}")
    bots = [
        await client.get(f"/r/{ADA}", headers={"User-Agent": name})
        for name in ("WhatsApp/2.23.20.0", "facebookexternalhit/1.1", "Mozilla/5.0 (compatible; Googlebot/2.1)")
    ]
    assert await clicks(pool) == {}
    person = await client.get(f"/r/{ADA}")
    assert await clicks(pool) == {ADA: 1}
    for answer in (head, *bots):
        assert (answer.status_code, answer.headers["location"]) == (302, person.headers["location"])
        assert answer.headers["cache-control"] == "no-store"
    assert head.content == b""


PLANS = {
    codes.FIND_CODE_SQL: ("ada",),
    codes.CHOOSE_OWN_SQL: ("ada", "key", START),
    codes.COUNT_CHOSEN_SQL: ("ada",),
    codes.SPELLED_SQL: ([ADA],),
    codes.COUNT_CLICK_SQL: (ADA, START.date(), 1),
    codes.FIND_OWNED_SQL: (ADA,),
    referrals.LOAD_AT_HAND_SQL: (["fay"], ["ada"], START, 3, [ADA]),
    locks.LOCK_SQL: (1, ["ada"], [ADA], 3),
}


@pytest.mark.parametrize("sql", PLANS)
async def test_each_statement_finds_codes_by_an_index(pool: Pool, sql: str):
    async with pool.acquire() as connection, connection.transaction():
        # In a table of two rows, a scan is cheaper: without that choice, it stays where no index fits.
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *PLANS[sql]))
    assert "Seq Scan" not in plan
    assert "referral_code_" in plan
