"""Batches of events on a real database: what they record, announce, refuse and leave waiting."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from services.referrals.handlers.events import handle
from shared import telemetry
from shared.contracts.envelope import Event
from shared.contracts.reasons import Reason
from shared.postgres.pool import Pool
from tests.referrals.conftest import ADA, BEN, Apply, apply_to, give_codes, published, verbs
from tests.referrals.shop import START, bought, refunded, signed_up
from tests.support import postgres


async def test_a_sign_up_and_an_order_are_announced_to_the_advocate(pool: Pool, apply: Apply):
    sign_up, order = signed_up("fay", ADA), bought("fay", "o1", 5)
    assert await apply([sign_up], [order]) == []
    first, second, third = await published(pool)
    referral_id = first["data"]["referral_id"]
    assert first["data"] == {"customer_id": "ada", "referral_id": referral_id, "friend_id": "fay"}
    assert second["data"] == {**first["data"], "order_id": "o1"}
    assert third["data"] == {**second["data"], "advocate_points": 500, "friend_points": 200}
    assert [event["type"].split(".")[2] for event in (first, second, third)] == ["signed_up", "qualified", "approved"]
    assert {event["source"] for event in (first, second, third)} == {"/wafa/referrals"}
    assert [event["causationid"] for event in (first, second, third)] == [sign_up.id, order.id, order.id]
    assert [event["time"] for event in (first, second, third)] == [
        "2026-03-01T12:00:00Z",
        "2026-03-01T17:00:00Z",
        "2026-03-01T17:00:00Z",
    ]


async def test_a_void_tells_what_it_takes_back(pool: Pool, apply: Apply):
    await apply([signed_up("fay", ADA), bought("fay", "o1", 5)], [refunded("fay", "o1", "r1", 9)])
    *_, voided = await published(pool)
    assert voided["type"] == "loyalty.referral.voided.v1"
    assert voided["time"] == "2026-03-01T21:00:00Z"
    assert (voided["data"]["advocate_points"], voided["data"]["friend_points"]) == (500, 200)
    assert (voided["data"]["reason"], voided["data"]["order_id"]) == ("refunded", "o1")


async def test_where_the_refund_came_first_nothing_is_approved_or_taken_back(pool: Pool, apply: Apply):
    await apply([refunded("fay", "o1", "r1", 9)], [signed_up("fay", ADA)], [bought("fay", "o1", 5)])
    assert await verbs(pool) == ["signed_up", "qualified", "rejected"]
    *_, rejected = await published(pool)
    assert (rejected["data"]["reason"], "advocate_points" in rejected["data"]) == ("refunded", False)
    assert await pool.fetchval("SELECT count(*) FROM waiting") == 0


async def test_refunds_that_are_stored_count_when_the_sign_up_comes_last(pool: Pool, apply: Apply):
    order = bought("fay", "o1", 5, "30.00", lines=[("1", "10.00"), ("2", "20.00")])
    refund = refunded("fay", "o1", "r1", 9, "10.01", lines=[("1", "10.00"), ("2", "0.01")])
    await apply([order], [refund], [signed_up("fay", ADA)])
    assert await verbs(pool) == ["signed_up", "qualified", "rejected"]


async def test_stored_refunds_add_up_with_new_ones(pool: Pool, apply: Apply):
    await apply([signed_up("fay", ADA), bought("fay", "o1", 5)], [refunded("fay", "o1", "r1", 9, "3.00")])
    assert (await verbs(pool))[-1] == "approved"
    await apply([refunded("fay", "o1", "r2", 8, "2.01")])
    assert (await verbs(pool))[-1] == "voided"


@pytest.mark.parametrize(
    "events, signal",
    [
        ([signed_up("ada", ADA)], "self"),
        ([signed_up("fay", ADA), signed_up("fay", BEN, 1)], "already_referred"),
        ([bought("fay", "o0", -400, "0"), bought("fay", "o1", 1), signed_up("fay", ADA)], "already_bought"),
        ([signed_up("fay", ADA), bought("fay", "o1", -0.001, "0")], "already_bought"),
    ],
)
async def test_rejections_are_recorded_with_their_signal(pool: Pool, apply: Apply, events: list[Event], signal: str):
    assert await apply(*([event] for event in events)) == []
    *_, rejected = await published(pool)
    assert rejected["type"] == "loyalty.referral.rejected.v1"
    assert (rejected["data"]["reason"], rejected["data"]["signals"]) == ("fraud", [signal])
    rows = await pool.fetch("SELECT signals FROM referral WHERE state = 'rejected' AND reason = 'fraud'")
    assert [[found["id"] for found in row["signals"]] for row in rows] == [[signal]]


async def test_an_unknown_code_is_refused_and_works_once_it_is_known(pool: Pool, apply: Apply):
    sign_up = signed_up("fay", "23456789")
    (refusal,) = await apply([sign_up])
    assert (refusal.event, refusal.reason) == (sign_up, Reason.UNKNOWN_CODE)
    assert await verbs(pool) == []
    await pool.execute("INSERT INTO referral_code VALUES ('cy', '23456789', now())")
    assert await apply([sign_up]) == []
    assert await verbs(pool) == ["signed_up"]


async def test_an_order_again_has_no_effect_and_from_another_source_is_refused(pool: Pool, apply: Apply):
    first = bought("fay", "o1", 5)
    elsewhere = bought("fay", "o1", 6, source="/market")
    refusals = await apply([first, bought("fay", "o1", 5), elsewhere], [bought("fay", "o1", 5, "99.00"), elsewhere])
    assert [(refusal.event, refusal.reason) for refusal in refusals] == [(elsewhere, Reason.ORDER_CONFLICT)] * 2
    assert await pool.fetch("SELECT total::text, source FROM purchase") == [("25.00", "/shop")]
    # The same number of another customer is another order.
    assert await apply([bought("gil", "o1", 5, source="/market")]) == []


def counted() -> dict[str, float]:
    return {kind: telemetry.DUPLICATES.labels(kind)._value.get() for kind in ("natural_key", "repeat_differs")}


@pytest.mark.parametrize("together", [True, False])
async def test_repeats_are_counted_and_apart_where_anything_that_counts_differs(pool: Pool, *, together: bool):
    lines = [("1", "25.00")]
    events = [
        bought("fay", "o1", 5, lines=lines),
        bought("fay", "o1", 5, lines=lines),
        bought("fay", "o1", 5, lines=[("2", "25.00")]),
        bought("fay", "o1", 5, lines=lines, sku="another"),
        bought("fay", "o1", 6, lines=lines),
        refunded("fay", "o1", "r1", 7, "5.00"),
        refunded("fay", "o1", "r1", 7, "5.00"),
        refunded("fay", "o1", "r1", 7, "5.00", lines=[("1", "5.00")]),
        refunded("fay", "o1", "r1", 8, "5.00"),
    ]
    before = counted()
    for batch in [events] if together else [[event] for event in events]:
        assert await apply_to(pool, batch) == []
    assert {kind: count - before[kind] for kind, count in counted().items()} == {"natural_key": 2, "repeat_differs": 5}


async def test_refunds_wait_for_their_order_and_misfits_are_refused_then(pool: Pool, apply: Apply):
    fits = refunded("fay", "o1", "r1", 6, "1.00")
    misfits = [
        refunded("fay", "o1", "r2", 6, "1.00", currency="EUR"),
        refunded("fay", "o1", "r3", 6, "1.00", lines=[("9", "1.00")]),
    ]
    assert await apply([fits, *misfits], [fits]) == []
    assert await pool.fetchval("SELECT count(*) FROM waiting") == 4
    refusals = await apply([bought("fay", "o1", 5, lines=[("1", "25.00")])])
    assert {(refusal.event.id, refusal.reason) for refusal in refusals} == {
        (misfits[0].id, Reason.CURRENCY_MISMATCH),
        (misfits[1].id, Reason.UNKNOWN_LINE),
    }
    assert all(
        refusal.event.record.value == misfit.record.value for refusal, misfit in zip(refusals, misfits, strict=True)
    )
    assert await pool.fetch("SELECT refund_id, amount::text FROM refund") == [("r1", "1.00")]
    assert await pool.fetchval("SELECT count(*) FROM waiting") == 0


async def test_the_same_sign_up_after_the_inbox_forgot_it_changes_nothing(pool: Pool, apply: Apply):
    sign_up = signed_up("fay", ADA)
    await apply([sign_up, bought("fay", "o1", 5)], [sign_up])
    assert await verbs(pool) == ["signed_up", "qualified", "approved"]
    assert await pool.fetch("SELECT state FROM referral") == [("approved",)]


async def test_an_order_after_the_sign_up_in_one_batch_counts_as_later(pool: Pool, apply: Apply):
    # At the sign-up only the order of hour 9 is recorded, although the batch has an earlier one.
    await apply([bought("fay", "o9", 9), signed_up("fay", ADA), bought("fay", "o1", 1)])
    assert (await published(pool))[-1]["data"]["order_id"] == "o9"


async def test_purchases_of_customers_without_a_referral_cost_four_statements_and_a_savepoint(pool: Pool):
    statements = await _statements(pool, *([bought(f"c{n}", order, 1) for n in range(100)] for order in ("o1", "o2")))
    assert len(statements) == 5


async def test_a_sign_up_alone_costs_ten_statements_a_savepoint_and_the_copy_of_its_event(pool: Pool):
    statements = await _statements(pool, [signed_up("fay", ADA)], [signed_up("gus", ADA)])
    assert len(statements) == 11, "besides COPY, which the driver does not log"


async def _statements(pool: Pool, *batches: list[Event]) -> list[str]:
    """The statements of the last of some batches, each a transaction; the first one looks types up besides."""
    statements: list[str] = []
    async with pool.acquire() as connection:
        for batch in batches:
            async with connection.transaction():
                statements.clear()
                with connection.query_logger(lambda query: statements.append(query.query)):
                    await handle(connection, batch, START)
                    await asyncio.sleep(0.01)  # the driver logs a little later
    return statements


def _log(chance: random.Random) -> list[Event]:
    """A shuffled log of customers who buy, return, refer each other twice and are refused."""
    events: list[Event] = []
    for friend in ("ada", "ben", *(f"c{number}" for number in range(12))):
        for number in range(chance.randint(0, 4)):
            total = chance.choice(["5.00", "20.00", "40.00"])
            order = bought(friend, f"o{number}", chance.randint(-2, 700), total)
            events += [order, *[bought(friend, f"o{number}", 1, total, source="/market")] * chance.randint(0, 1)]
            for refund in range(chance.randint(0, 2)):
                amount = chance.choice(["1.00", "19.00", "21.00"])
                events.append(refunded(friend, f"o{number}", f"r{refund}", chance.randint(1, 900), amount))
        for hours in range(chance.randint(0, 2)):
            events.append(signed_up(friend, chance.choice([ADA, BEN, "23456789"]), hours))
    chance.shuffle(events)
    return events


async def _books(pool: Pool, log: Sequence[Event], size: int) -> dict[str, Any]:
    refused: Counter[tuple[str, str]] = Counter()
    for start in range(0, len(log), size):
        refused.update(
            (refusal.event.id, refusal.reason) for refusal in await apply_to(pool, log[start : start + size])
        )
    events = [
        {name: event[name] for name in ("type", "time", "data", "causationid")} for event in await published(pool)
    ]
    # One batch lets misfits out in another order than many; each referral's own story is in order.
    story = sorted(events, key=lambda event: event["data"]["referral_id"])
    stored = await pool.fetch("SELECT referral_id, state, reason, order_id, closed_at FROM referral ORDER BY 1")
    refunds = await pool.fetch("SELECT * FROM refund ORDER BY customer_id, order_id, refund_id")
    waits = await pool.fetchval("SELECT count(*) FROM waiting")
    return {"refused": refused, "story": story, "stored": stored, "refunds": refunds, "waits": waits}


@pytest.mark.parametrize("seed", range(4))
async def test_the_size_of_batches_makes_no_difference(postgres_url: str, seed: int):
    events = _log(random.Random(seed))
    books: list[dict[str, Any]] = []
    for size in (1, 7, len(events)):
        async with postgres.database(postgres_url, "referrals") as fresh:
            await give_codes(fresh)
            books.append(await _books(fresh, events, size))
    assert books[0] == books[1] == books[2]
    assert books[0]["story"]
