"""Holds, flags and the decisions of people, on a real database."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.referrals.handlers.day import sweep
from services.referrals.handlers.deciding import Call, Decided, Refused, decide_on
from services.referrals.rules.deciding import Decision
from services.referrals.store import steps
from shared.contracts.envelope import Cause
from shared.postgres.pool import Pool
from tests.referrals.conftest import ADA, BEN, apply_to, published, verbs
from tests.referrals.shop import at, bought, refunded, signed_up
from tests.referrals.versions import publish

APPROVE, REJECT = Decision.APPROVE, Decision.REJECT
FLAGGING: dict[str, Any] = {"signals": [{"id": "already_bought", "action": "flag", "weight": 10}], "hold_days": 14}
"""Whoever bought before is flagged once qualified."""


def days(number: float) -> datetime:
    return at(number * 24)


async def decide(pool: Pool, decision: Decision, now: datetime, *ids: UUID, note: str = "seen") -> Decided:
    async with pool.acquire() as connection, connection.transaction():
        call = Call(decision, note, "key:marketing", Cause.of_request("req-1"), now)
        return await decide_on(connection, ids, call, None)


async def referral(pool: Pool, friend: str = "fay") -> Any:
    return await pool.fetchrow("SELECT * FROM referral WHERE friend_id = $1 ORDER BY number DESC LIMIT 1", friend)


async def flagged(pool: Pool, friend: str = "fay", **changes: Any) -> UUID:
    """A referral that is flagged: signed up on day 0, bought on day 1, flagged then."""
    await publish(pool, **FLAGGING, **changes)
    events = [bought(friend, "o0", -5), signed_up(friend, ADA), bought(friend, "o1", 24)]
    await apply_to(pool, events, days(1))
    row = await referral(pool, friend)
    assert row["state"] == "flagged"
    return row["referral_id"]


async def test_a_flagged_referral_tells_its_signals_and_waits(pool: Pool):
    id_ = await flagged(pool)
    assert await verbs(pool) == ["signed_up", "qualified", "flagged"]
    *_, event = await published(pool)
    assert (event["data"]["signals"], event["time"]) == (["already_bought"], "2026-03-02T12:00:00Z")
    row = await referral(pool)
    assert (row["score"], row["due_at"], row["next_at"]) == (10, days(15), days(15))
    await sweep(pool, days(14.9), None)
    assert (await referral(pool))["state"] == "flagged"
    assert [step.state for step in (await steps.load(pool, [id_]))[id_]] == ["signed_up", "qualified", "flagged"]


@pytest.mark.parametrize("then, state", [("approve", "approved"), ("reject", "rejected")])
async def test_a_flag_that_nobody_decides_on_is_settled_by_the_program(pool: Pool, then: str, state: str):
    await flagged(pool, undecided={"after_days": 20, "then": then})
    await sweep(pool, days(20.9), None)
    assert (await referral(pool))["state"] == "flagged"
    assert dict(await sweep(pool, days(30), None)) == {state: 1}
    *_, event = await published(pool)
    # After 20 days from when it was flagged, whenever it is swept.
    assert (event["type"], event["time"]) == (f"loyalty.referral.{state}.v1", "2026-03-22T12:00:00Z")
    assert event["data"]["reason"] == "undecided"
    assert event["correlationid"] == (await published(pool))[-2]["correlationid"]


async def test_an_approval_inside_the_hold_takes_the_flag_away_and_nothing_else(pool: Pool):
    id_ = await flagged(pool)
    assert await decide(pool, APPROVE, days(3), id_) == Decided([id_], [])
    assert (await verbs(pool))[-1] == "qualified"
    assert await decide(pool, REJECT, days(4), id_) == Decided([], [(id_, Refused.NOT_FLAGGED)])
    # It is not flagged again, although the signal still holds.
    assert dict(await sweep(pool, days(15), None)) == {"approved": 1}
    last = (await steps.load(pool, [id_]))[id_]
    assert [(step.state, step.actor, step.note) for step in last[-2:]] == [
        ("qualified", "key:marketing", "seen"),
        ("approved", "system", None),
    ]
    assert (await referral(pool))["approved_at"] == days(15)


async def test_an_approval_after_the_hold_is_of_now(pool: Pool):
    id_ = await flagged(pool, undecided={"after_days": 90, "then": "reject"})
    await decide(pool, APPROVE, days(40), id_)
    *_, event = await published(pool)
    assert (event["type"], event["time"]) == ("loyalty.referral.approved.v1", "2026-04-10T12:00:00Z")
    assert (event["correlationid"], event["data"]["advocate_points"]) == ("req-1", 500)


async def test_a_rejection_is_a_decision(pool: Pool):
    id_ = await flagged(pool)
    await decide(pool, REJECT, days(2), id_)
    *_, event = await published(pool)
    assert (event["data"]["reason"], event["time"]) == ("decision", "2026-03-03T12:00:00Z")
    assert "signals" not in event["data"]
    # What a person rejected no person overturns.
    assert (await decide(pool, APPROVE, days(3), id_)).refused == [(id_, Refused.NOT_FLAGGED)]


async def fraud(pool: Pool, hold: int = 14) -> UUID:
    """A referral that the order qualified and a signal of that day rejected."""
    await publish(pool, hold_days=hold, signals=[{"id": "already_bought", "action": "off"}])
    await apply_to(pool, [bought("fay", "o0", -5), signed_up("fay", ADA)], days(0))
    await publish(pool, hold_days=hold, signals=[{"id": "already_bought", "action": "block"}])
    await apply_to(pool, [bought("fay", "o1", 24)], days(1))
    row = await referral(pool)
    assert (row["state"], row["reason"], row["order_id"]) == ("rejected", "fraud", "o1")
    return row["referral_id"]


async def test_an_automatic_rejection_can_be_overturned(pool: Pool):
    id_ = await fraud(pool)
    assert (await verbs(pool))[-2:] == ["qualified", "rejected"]
    assert await decide(pool, APPROVE, days(2), id_) == Decided([id_], [])
    await apply_to(pool, [refunded("fay", "o1", "r1", 60, "5.00")], days(3))
    assert dict(await sweep(pool, days(15), None)) == {"approved": 1}
    assert await pool.fetchval("SELECT approved FROM advocate WHERE customer_id = 'ada'") == 1


async def test_a_rejection_is_not_overturned_without_an_order_or_when_it_was_returned(pool: Pool):
    id_ = await fraud(pool)
    await apply_to(pool, [refunded("fay", "o1", "r1", 60, "6.00"), signed_up("gil", BEN), signed_up("ben", BEN)])
    own = (await referral(pool, "ben"))["referral_id"]
    assert await decide(pool, APPROVE, days(2), id_, own) == Decided(
        [], [(id_, Refused.NOT_FLAGGED), (own, Refused.NOT_FLAGGED)]
    )


async def test_a_rejection_is_not_overturned_beside_another_referral_that_stands(pool: Pool):
    id_ = await fraud(pool)
    await publish(pool, signals=[{"id": "already_referred", "action": "off"}])
    await apply_to(pool, [signed_up("fay", BEN, 30)], days(2))
    assert (await referral(pool))["state"] == "signed_up"
    assert (await decide(pool, APPROVE, days(3), id_)).refused == [(id_, Refused.NOT_FLAGGED)]


async def test_many_are_decided_on_each_on_its_own(pool: Pool):
    ids = [await flagged(pool, friend) for friend in ("fay", "gil", "hal")]
    await decide(pool, REJECT, days(2), ids[1])
    unknown = uuid4()
    decided = await decide(pool, APPROVE, days(20), ids[0], ids[1], unknown, ids[2], ids[0])
    # Those of day 1 were settled on day 15, before the decision of day 20.
    assert decided == Decided(
        [],
        [
            *((id_, Refused.NOT_FLAGGED) for id_ in ids[:2]),
            (unknown, Refused.NOT_FOUND),
            *((id_, Refused.NOT_FLAGGED) for id_ in (ids[2], ids[0])),
        ],
    )
    assert [(await referral(pool, friend))["state"] for friend in ("fay", "gil", "hal")] == [
        *("approved", "rejected", "approved")
    ]


async def test_one_asked_twice_is_decided_on_once(pool: Pool):
    id_ = await flagged(pool)
    assert await decide(pool, REJECT, days(2), id_, id_) == Decided([id_], [(id_, Refused.NOT_FLAGGED)])


async def together(*calls: Any) -> Sequence[Any]:
    return await asyncio.gather(*calls)


async def test_of_two_editors_one_decides(pool: Pool):
    id_ = await flagged(pool)
    decided = await together(*(decide(pool, decision, days(2), id_) for decision in (REJECT, APPROVE) * 3))
    assert sum(len(each.done) for each in decided) == 1
    assert len([verb for verb in await verbs(pool) if verb in {"approved", "rejected"}]) <= 1


async def test_a_decision_and_the_deadline(pool: Pool):
    id_ = await flagged(pool)
    decided, *_ = await together(
        decide(pool, REJECT, days(15), id_), sweep(pool, days(15), None), sweep(pool, days(15), None)
    )
    assert decided.refused == [(id_, Refused.NOT_FLAGGED)]
    assert (await verbs(pool)).count("approved") == 1


async def test_a_decision_and_a_refund(pool: Pool):
    id_ = await flagged(pool, undecided={"after_days": 90, "then": "approve"})
    back = apply_to(pool, [refunded("fay", "o1", "r1", 30)], days(20))
    decided, _ = await together(decide(pool, APPROVE, days(20), id_), back)
    state = (await referral(pool))["state"]
    assert state == ("voided" if decided.done else "rejected")
    assert (await verbs(pool)).count("approved") == len(decided.done)
