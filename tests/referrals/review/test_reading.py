"""The review queue over HTTP: in its order, right to the second, and without personal data."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from services.referrals.handlers import due
from shared.postgres.pool import Pool
from tests.points.asking import at as clock
from tests.points.asking import refusal
from tests.referrals.conftest import ADA, BEN, Headers, apply_to, customer
from tests.referrals.review.conftest import Enact, flagged, id_of
from tests.referrals.shop import START, at, bought, refunded, signed_up

QUEUE = "/v1/referrals"
FOUR = "4 friends signed up with the advocate's codes in the 24 hours up to the sign-up, 4 of them in the last hour."


async def listed(client: httpx.AsyncClient, headers: Headers, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(QUEUE, params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


@pytest.fixture(autouse=True)
def _clock():
    with clock(at(6)):
        yield


async def test_a_flagged_referral_is_shown_in_words(client: httpx.AsyncClient, queue: Pool, marketing: Headers):
    referral_id = await id_of(queue, "fay")
    answer = await client.get(f"{QUEUE}/{referral_id}", headers=marketing)
    assert answer.status_code == 200
    shown = answer.json()
    facts, history = shown.pop("facts"), shown.pop("history")
    assert shown == {
        "id": referral_id,
        "advocate_id": "ada",
        "friend_id": "fay",
        "code": ADA,
        "state": "flagged",
        "score": 20,
        "signals": [
            {
                "id": "already_bought",
                "action": "flag",
                "weight": 20,
                "words": "The friend had bought before they signed up with the code.",
                "at": "2026-03-01T12:00:00Z",
            }
        ],
        "program_version": 2,
        "signed_up_at": "2026-03-01T12:00:00Z",
        "order_id": "o1",
        "qualified_at": "2026-03-01T17:00:00Z",
        "due_at": "2026-03-15T17:00:00Z",
        "undecided_at": "2026-03-15T17:00:00Z",
    }
    assert [(step["state"], step["at"], step["actor"]) for step in history] == [
        ("signed_up", "2026-03-01T12:00:00Z", "system"),
        ("qualified", "2026-03-01T17:00:00Z", "system"),
        ("flagged", "2026-03-01T17:00:00Z", "system"),
    ]
    assert all(not {"reason", "note"} & step.keys() for step in history)
    assert facts == {
        "advocate": [
            "Of the advocate's 3 other referrals, 0 are approved, 0 voided, 0 rejected for fraud, 0 by a person.",
            FOUR,
        ],
        "friend": [
            "The friend had bought before they signed up with the code.",
            "The friend's order of 25.00 USD came 5 hours after the sign-up; 20.00 USD qualify.",
        ],
        "both": [],
    }
    # A list shows the same, without the facts.
    of_list = next(own for own in await listed(client, marketing, state="flagged") if own["id"] == referral_id)
    assert of_list == {**shown, "history": history}


async def test_the_highest_score_comes_first(client: httpx.AsyncClient, queue: Pool, marketing: Headers):
    await queue.execute(
        """UPDATE referral SET score = 90, signals = replace(signals::text, '"weight":20', '"weight":90')::json
           WHERE friend_id = 'gil'"""
    )
    rows = await queue.fetch("SELECT referral_id::text FROM referral ORDER BY score DESC, referral_id DESC")
    expected = [row[0] for row in rows]
    ivy = await id_of(queue, "ivy")
    assert expected[0] == await id_of(queue, "gil")
    assert [own["id"] for own in await listed(client, marketing)] == expected
    of_state = [id_ for id_ in expected if id_ != ivy]
    assert [own["id"] for own in await listed(client, marketing, state="flagged")] == of_state
    for query, whole in (({}, expected), ({"state": "flagged"}, of_state)):
        paged: list[str] = []
        after: dict[str, str] = {}
        while True:
            answer = (await client.get(QUEUE, params={"limit": 1, **query, **after}, headers=marketing)).json()
            paged += [own["id"] for own in answer["data"]]
            if answer["next"] is None:
                break
            after = {"after": answer["next"]}
        assert paged == whole


async def test_what_is_asked_for_wrongly(client: httpx.AsyncClient, queue: Pool, marketing: Headers):
    for state in ("waiting", "", "FLAGGED", "flagged,approved"):
        answer = await client.get(QUEUE, params={"state": state}, headers=marketing)
        assert refusal(answer) == (422, "invalid_request")
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/query/state"]
    for after in ("?", "WzFd", "WzEsMl0", "Wzk5OTk5OTk5OTk5LCIwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDAiXQ"):
        assert refusal(await client.get(QUEUE, params={"after": after}, headers=marketing)) == (400, "invalid_cursor")
    assert refusal(await client.get(f"{QUEUE}/{uuid4()}", headers=marketing)) == (404, "not_found")
    assert refusal(await client.get(f"{QUEUE}/nobody", headers=marketing))[0] in {404, 422}
    assert await queue.fetchval("SELECT count(*) FROM referral") == 4


async def test_each_state_is_listed(client: httpx.AsyncClient, queue: Pool, marketing: Headers):
    await apply_to(queue, [signed_up("jan", ADA, 1), signed_up("ada", ADA, 1)])
    await apply_to(queue, [refunded("hal", "o1", "r1", 6)])
    found = {
        state: sorted(own["friend_id"] for own in await listed(client, marketing, state=state))
        for state in ("signed_up", "qualified", "flagged", "approved", "rejected", "voided", "expired")
    }
    assert found == {
        "signed_up": ["jan"],
        "qualified": ["ivy"],
        "flagged": ["fay", "gil"],
        "approved": [],
        "rejected": ["ada", "hal"],
        "voided": [],
        "expired": [],
    }
    reasons = {own["friend_id"]: own["reason"] for own in await listed(client, marketing, state="rejected")}
    assert reasons == {"ada": "fraud", "hal": "refunded"}


@pytest.mark.parametrize("swept", [True, False])
async def test_what_is_over_is_not_in_the_queue(
    client: httpx.AsyncClient, queue: Pool, marketing: Headers, monkeypatch: pytest.MonkeyPatch, *, swept: bool
):
    if not swept:

        async def fail(*_args: object) -> None:
            raise RuntimeError("planted")

        monkeypatch.setattr(due, "refresh", fail)
    over = START + timedelta(days=14, hours=5)
    with clock(over - timedelta(microseconds=1)):
        assert len(await listed(client, marketing, state="flagged")) == 3
    with clock(over):
        assert await listed(client, marketing, state="flagged") == []
        approved = await listed(client, marketing, state="approved")
    assert sorted(own["friend_id"] for own in approved) == (["fay", "gil", "hal"] if swept else [])
    if swept:
        assert {own["history"][-1]["at"] for own in approved} == {"2026-03-15T17:00:00Z"}
        assert {own["reason"] for own in approved} == {"undecided"}


async def test_a_referral_is_right_to_the_second(client: httpx.AsyncClient, queue: Pool, marketing: Headers):
    path = f"{QUEUE}/{await id_of(queue, 'ivy')}"
    over = START + timedelta(days=14, hours=6)
    with clock(over - timedelta(microseconds=1)):
        assert (await client.get(path, headers=marketing)).json()["state"] == "qualified"
        own = (await client.get("/v1/customers/ada/referrals", headers=customer("ada"))).json()["data"]
        assert [view["state"] for view in own] == ["qualified", "flagged", "flagged", "flagged"] or own
    with clock(over):
        own = (await client.get("/v1/customers/ada/referrals", headers=customer("ada"))).json()["data"]
        assert (own[0]["state"], own[0]["advocate_points"]) == ("approved", 500)
        shown = (await client.get(path, headers=marketing)).json()
    assert (shown["state"], shown["advocate_points"], shown["friend_points"]) == ("approved", 500, 200)


async def test_an_advocate_sees_neither_the_friend_nor_what_they_did(
    client: httpx.AsyncClient, pool: Pool, enact: Enact, marketing: Headers
):
    await enact(("/hold_days", 0), ("/caps", [{"count": 1, "per": "ever"}]))
    await apply_to(pool, [signed_up("ada", ADA), *flagged("fay")])
    await apply_to(pool, [signed_up("gil", ADA), bought("gil", "o1", 1), refunded("gil", "o1", "r1", 2)])
    await apply_to(pool, [signed_up("hal", ADA), bought("hal", "o1", 1)])
    await apply_to(pool, [signed_up("ivy", BEN), signed_up("ivy", ADA, 1)])
    answer = await client.get("/v1/customers/ada/referrals", headers=customer("ada"))
    assert [(own["state"], own["reason"]) for own in answer.json()["data"]] == [
        ("rejected", "not_eligible"),
        ("approved", "cap"),
        ("voided", "refunded"),
        ("flagged", None),
        ("rejected", "not_eligible"),
    ]
    for word in ("fraud", "already", "score", "signals", "fay", "gil", "hal", "o1", "decision"):
        assert word not in answer.text
    own = await listed(client, marketing, state="approved")
    assert [(view["friend_id"], view["reason"], view["advocate_points"]) for view in own] == [("hal", "cap", 0)]


async def test_a_cursor_is_of_the_place(client: httpx.AsyncClient, queue: Pool, marketing: Headers):
    first = (await client.get(QUEUE, params={"limit": 2}, headers=marketing)).json()
    # What was shown is decided meanwhile; the next page goes on below it.
    ids = [UUID(own["id"]) for own in first["data"]]
    await queue.execute("UPDATE referral SET score = 0 WHERE referral_id = ANY($1)", ids)
    rest = await listed(client, marketing, after=first["next"], limit=50)
    assert {own["friend_id"] for own in rest} >= {"ivy"}
