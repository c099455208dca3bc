"""The examples of the README and of docs/referral-programs.md."""

import json
import re
from typing import Any

import httpx

from services.referrals.handlers.events import handle
from services.referrals.rules.evidence.keys import key_of
from services.referrals.rules.program.lint import lint
from services.referrals.store import codes
from shared.postgres.pool import Pool
from tests.architecture.tree import ROOT
from tests.points.asking import at as clock
from tests.points.asking import post
from tests.referrals.conftest import ADA, BEN, Headers
from tests.referrals.programs import parse
from tests.referrals.review.conftest import Enact
from tests.referrals.shop import START, at, bought, event

CID = "23456789"


def joined(friend: str, code: str, hours: float, **evidence: str) -> Any:
    return event("shop.referral.signed_up.v1", hours, {"customer_id": friend, "code": code, **evidence})


async def test_a_ring_is_stopped(client: httpx.AsyncClient, pool: Pool, enact: Enact, marketing: Headers):
    await enact(("/signals", [{"id": "circle", "action": "block"}, {"id": "same_device"}]))
    key = key_of("a secret of thirty-two bytes or so")
    async with pool.acquire() as connection:
        await codes.add_code(connection, "cid", CID, START)
    events = [
        event("shop.customer.registered.v1", -30, {"customer_id": "ada", "device_id": "phone-1"}),
        joined("ben", ADA, 0),
        joined("cid", BEN, 1),
        joined("ada", CID, 2),
        joined("dan", ADA, 3, device_id="phone-1"),
        bought("dan", "o1", 4),
    ]
    for own in events:
        async with pool.acquire() as connection, connection.transaction():
            await handle(connection, [own], at(4), key)
    with clock(at(5)):
        shown = {own["friend_id"]: own for own in (await client.get("/v1/referrals", headers=marketing)).json()["data"]}
        states = {friend: (own["state"], [signal["id"] for signal in own["signals"]]) for friend, own in shown.items()}
        assert states == {
            "ben": ("signed_up", []),
            "cid": ("signed_up", []),
            "ada": ("rejected", ["circle"]),
            "dan": ("flagged", ["same_device"]),
        }
        assert shown["ada"]["reason"] == "fraud"
        body = {"decision": "reject", "note": "One person, two accounts."}
        decided = await post(client, f"/v1/referrals/{shown['dan']['id']}/decision", marketing, body)
    assert (decided.json()["state"], decided.json()["reason"]) == ("rejected", "decision")
    assert await pool.fetchval("SELECT count(*) FROM referral WHERE approved_at IS NOT NULL") == 0


def test_the_program_of_the_page_is_valid():
    page = (ROOT / "docs" / "referral-programs.md").read_text(encoding="utf-8")
    [sent] = re.findall(r"/v1/referral-programs -d '(\{.*?\})'\)", page, re.DOTALL)
    document = parse(json.loads(sent))
    assert lint(document, START) == []
