"""Decisions of people over HTTP: one or many, once, by whom, and against what happens meanwhile."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.postgres.pool import Pool
from tests.points.asking import at as clock
from tests.points.asking import pointers, post, refusal
from tests.referrals.conftest import ADA, Headers, Key, apply_to, customer, published
from tests.referrals.review.conftest import Enact, flagged, id_of
from tests.referrals.shop import START, at, bought, event, refunded, signed_up

MANY = "/v1/referrals/decisions"
APPROVE: Any = {"decision": "approve", "note": "A family."}
REJECT: Any = {"decision": "reject", "note": "One person with three phones."}
OVER = START + timedelta(days=14, hours=5)


@pytest.fixture(autouse=True)
def _clock():
    with clock(at(8)):
        yield


async def decision(pool: Pool, friend: str) -> str:
    return f"/v1/referrals/{await id_of(pool, friend)}/decision"


async def state_of(pool: Pool, friend: str) -> tuple[str, str | None]:
    row = await pool.fetchrow("SELECT state, reason FROM referral WHERE friend_id = $1", friend)
    assert row is not None
    return row["state"], row["reason"]


async def test_reject_is_final_and_recorded(client: httpx.AsyncClient, queue: Pool, marketing: Headers):
    path = await decision(queue, "fay")
    answer = await post(client, path, marketing, REJECT)
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["state"], shown["reason"], shown["closed_at"]) == ("rejected", "decision", "2026-03-01T20:00:00Z")
    assert "note" not in shown["history"][-1]
    last = (await client.get(path.removesuffix("/decision"), headers=marketing)).json()["history"][-1]
    assert last["actor"].startswith("key:")
    assert {name: last[name] for name in ("at", "recorded_at", "state", "reason", "note")} == {
        "at": "2026-03-01T20:00:00Z",
        "recorded_at": "2026-03-01T20:00:00Z",
        "state": "rejected",
        "reason": "decision",
        "note": REJECT["note"],
    }
    event = (await published(queue))[-1]
    assert (event["type"], event["time"]) == ("loyalty.referral.rejected.v1", "2026-03-01T20:00:00Z")
    assert event["data"]["reason"] == "decision"
    for again in (REJECT, APPROVE):
        assert refusal(await post(client, path, marketing, again)) == (409, "not_flagged")


async def test_approve_takes_the_flag_away_and_nothing_else(client: httpx.AsyncClient, queue: Pool, marketing: Headers):
    path = await decision(queue, "fay")
    shown = (await post(client, path, marketing, APPROVE)).json()
    assert (shown["state"], shown["due_at"]) == ("qualified", "2026-03-15T17:00:00Z")
    assert "undecided_at" not in shown
    assert refusal(await post(client, path, marketing, APPROVE)) == (409, "not_flagged")
    with clock(OVER):
        shown = (await client.get(path.removesuffix("/decision"), headers=marketing)).json()
    # It is not flagged a second time.
    assert [step["state"] for step in shown["history"]] == [
        "signed_up",
        "qualified",
        "flagged",
        "qualified",
        "approved",
    ]
    assert [step["actor"] == "system" for step in shown["history"]] == [True, True, True, False, True]
    assert (shown["approved_at"], shown["advocate_points"]) == ("2026-03-15T17:00:00Z", 500)


async def test_after_the_hold_an_approval_pays_at_once(
    client: httpx.AsyncClient, pool: Pool, enact: Enact, marketing: Headers
):
    await enact(("/hold_days", 0))
    await apply_to(pool, flagged("fay"))
    shown = (await post(client, await decision(pool, "fay"), marketing, APPROVE)).json()
    assert (shown["state"], shown["approved_at"], shown["friend_points"]) == ("approved", "2026-03-01T20:00:00Z", 200)


async def test_a_rejection_without_a_person_is_overturned_while_its_order_is_known(
    client: httpx.AsyncClient, pool: Pool, enact: Enact, marketing: Headers
):
    await enact(("/signals/0/action", "block"), ("/hold_days", 0))
    # Blocked by what came after the order, and blocked before there was one.
    await apply_to(pool, [signed_up("fay", ADA), *flagged("gil")])
    await pool.execute("UPDATE referral SET has_bought = true WHERE friend_id = 'fay'")
    await apply_to(pool, [bought("fay", "o1", 5)])
    assert [await state_of(pool, friend) for friend in ("fay", "gil")] == [("rejected", "fraud")] * 2
    shown = (await post(client, await decision(pool, "fay"), marketing, APPROVE)).json()
    assert (shown["state"], shown["advocate_points"]) == ("approved", 500)
    assert "reason" not in shown
    for body in (APPROVE, REJECT):
        assert refusal(await post(client, await decision(pool, "gil"), marketing, body)) == (409, "not_flagged")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"decision": "approve"}, "/note"),
        *(
            ({"decision": "approve", "note": note}, "/note")
            for note in ("", "  ", "\u00a0\n", "x" * 501, None, 5, "\x00")
        ),
        ({"note": "Why."}, "/decision"),
        *(({"decision": decided, "note": "Why."}, "/decision") for decided in ("void", "APPROVE", "", None, True)),
        ({**APPROVE, "reason": "x"}, "/reason"),
    ],
)
async def test_a_decision_says_what_and_why(
    client: httpx.AsyncClient, queue: Pool, marketing: Headers, body: Any, pointer: str
):
    assert pointers(await post(client, await decision(queue, "fay"), marketing, body)) == [pointer]
    many = {**body, "ids": [await id_of(queue, "fay")]}
    assert pointers(await post(client, MANY, marketing, many)) == [pointer]
    assert await state_of(queue, "fay") == ("flagged", None)


async def test_the_longest_note_is_kept(client: httpx.AsyncClient, queue: Pool, marketing: Headers):
    note = "ش" * 500
    path = await decision(queue, "fay")
    await post(client, path, marketing, {**REJECT, "note": note})
    shown = (await client.get(path.removesuffix("/decision"), headers=marketing)).json()
    assert shown["history"][-1]["note"] == note


async def test_of_many_each_stands_for_itself(client: httpx.AsyncClient, queue: Pool, marketing: Headers):
    ids = [await id_of(queue, friend) for friend in ("fay", "ivy", "gil")]
    unknown = str(uuid4())
    answer = await post(client, MANY, marketing, {**APPROVE, "ids": [ids[0], unknown, *ids, ids[2]]})
    assert answer.status_code == 200
    found = answer.json()
    assert found["done"] == [ids[0], ids[2]]
    assert [(own["id"], own["code"]) for own in found["refused"]] == [
        (unknown, "not_found"),
        (ids[0], "not_flagged"),
        (ids[1], "not_flagged"),
        (ids[2], "not_flagged"),
    ]
    assert [await state_of(queue, friend) for friend in ("fay", "gil", "hal")] == [
        ("qualified", None),
        ("qualified", None),
        ("flagged", None),
    ]
    notes = await queue.fetch("SELECT note FROM referral_step WHERE actor <> 'system'")
    assert [row["note"] for row in notes] == [APPROVE["note"]] * 2


async def test_at_most_200_at_once(client: httpx.AsyncClient, queue: Pool, marketing: Headers):
    ids = [str(uuid4()) for _ in range(201)]
    assert pointers(await post(client, MANY, marketing, {**REJECT, "ids": ids})) == ["/ids"]
    assert pointers(await post(client, MANY, marketing, {**REJECT, "ids": []})) == ["/ids"]
    assert pointers(await post(client, MANY, marketing, {**REJECT, "ids": ["x"]}))[0] == "/ids/0"
    found = (await post(client, MANY, marketing, {**REJECT, "ids": ids[:200]})).json()
    assert (found["done"], len(found["refused"])) == ([], 200)


async def test_the_same_key_decides_once(client: httpx.AsyncClient, queue: Pool, marketing: Headers):
    path = await decision(queue, "fay")
    first = await post(client, path, marketing, APPROVE, name="once")
    again = await post(client, path, marketing, APPROVE, name="once")
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert refusal(await post(client, path, marketing, REJECT, name="once"))[0] == 422
    many: Any = {**REJECT, "ids": [await id_of(queue, "gil")]}
    answers = [await post(client, MANY, marketing, many, name="many") for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["refused"] == []
    # Without a key too.
    assert (await client.post(MANY, json=many, headers=marketing)).json()["done"] == []


async def test_who_may_decide(client: httpx.AsyncClient, queue: Pool, key: Key):
    path = await decision(queue, "fay")
    for headers in (key("read"), key("support"), key("redeem"), customer("ada"), customer("fay")):
        assert refusal(await post(client, path, headers, REJECT)) == (403, "missing_scope")
        assert refusal(await post(client, MANY, headers, REJECT)) == (403, "missing_scope")
    assert (await post(client, path, {}, REJECT)).status_code == 401
    assert refusal(await post(client, f"/v1/referrals/{uuid4()}/decision", key("marketing"), REJECT)) == (
        404,
        "not_found",
    )
    assert await state_of(queue, "fay") == ("flagged", None)


async def test_the_deadline_comes_before_a_decision(client: httpx.AsyncClient, queue: Pool, marketing: Headers):
    with clock(OVER):
        for body in (REJECT, APPROVE):
            assert refusal(await post(client, await decision(queue, "fay"), marketing, body)) == (409, "not_flagged")
        refused = (await post(client, MANY, marketing, {**REJECT, "ids": [await id_of(queue, "gil")]})).json()[
            "refused"
        ]
    assert [own["code"] for own in refused] == ["not_flagged"]


async def test_a_refund_comes_before_a_decision(client: httpx.AsyncClient, queue: Pool, marketing: Headers):
    await apply_to(queue, [refunded("fay", "o1", "r1", 6)])
    assert refusal(await post(client, await decision(queue, "fay"), marketing, APPROVE)) == (409, "not_flagged")
    assert await state_of(queue, "fay") == ("rejected", "refunded")


async def test_of_two_editors_one_decides(client: httpx.AsyncClient, queue: Pool, marketing: Headers):
    path = await decision(queue, "fay")
    many = {**APPROVE, "ids": [await id_of(queue, "fay"), await id_of(queue, "gil")]}
    one, other, both = await asyncio.gather(
        post(client, path, marketing, REJECT),
        post(client, path, marketing, APPROVE),
        post(client, MANY, marketing, many),
    )
    won = [answer.status_code for answer in (one, other)].count(200) + (len(both.json()["done"]) - 1)
    assert won == 1
    steps = await queue.fetchval(
        "SELECT count(*) FROM referral_step WHERE referral_id::text = $1 AND actor <> 'system'", many["ids"][0]
    )
    assert steps == 1


@pytest.mark.parametrize("side", ["fay", "ada"])
async def test_what_people_wrote_goes_with_an_erasure(
    client: httpx.AsyncClient, queue: Pool, marketing: Headers, side: str
):
    await post(client, await decision(queue, "fay"), marketing, REJECT)
    await post(client, await decision(queue, "gil"), marketing, REJECT)
    await apply_to(queue, [event("shop.customer.erased.v1", 10, {"customer_id": side})])
    notes = await queue.fetch(
        "SELECT friend_id FROM referral_step JOIN referral USING (referral_id) WHERE note IS NOT NULL"
    )
    assert [row["friend_id"] for row in notes] == (["gil"] if side == "fay" else [])
    stored = await queue.fetchval("SELECT string_agg(body::text, '') FROM idempotency_key")
    assert REJECT["note"] not in stored
    assert await state_of(queue, "fay") == ("rejected", "decision")
