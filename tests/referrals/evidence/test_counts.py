"""Counts over hours and days, registrations, rejections and circles, as they are stored."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from services.referrals.rules.circle import AdvocatesOf, closes_ring
from services.referrals.store import sign_ups
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.referrals.evidence.documents import every_signal
from tests.referrals.evidence.told import asked, facts_now, facts_of, referral_of, signed_up, store

EVERY = every_signal()
HOUR, DAY, WEEK = 1, 24, 7 * 24
TICK = timedelta(microseconds=1) / timedelta(hours=1)

IP = "203.0.113.9"


async def counts(pool: Pool, last: Event, *earlier: Event) -> tuple[int, int, int, int]:
    """Friends of the address, in the hour and in the day, and networks of the code, of the last sign-up."""
    await store(pool, *earlier, last)
    facts = await facts_now(pool, EVERY, last)
    return facts.friends_of_ip, facts.friends_in_hour, facts.friends_in_day, facts.networks


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (0, (2, 2, 2, 1)),
        (-HOUR, (2, 2, 2, 1)),
        (-HOUR - TICK, (2, 1, 2, 1)),
        (-DAY, (2, 1, 2, 1)),
        (-DAY - TICK, (2, 1, 1, 1)),
        (-WEEK, (2, 1, 1, 1)),
        (-WEEK - TICK, (1, 1, 1, 1)),
        (TICK, (1, 1, 1, 1)),
        (HOUR, (1, 1, 1, 1)),
    ],
)
async def test_windows_look_back_from_the_sign_up_with_both_ends(
    referrals_pool: Pool, hours: float, expected: tuple[int, ...]
):
    assert await counts(referrals_pool, signed_up("fay", ip=IP), signed_up("gus", hours, ip=IP)) == expected


@pytest.mark.parametrize(("hours", "networks"), [(-WEEK, 2), (-WEEK - TICK, 1), (TICK, 1)])
async def test_networks_are_those_of_a_code_in_seven_days(referrals_pool: Pool, hours: float, networks: int):
    earlier = [signed_up("gus", hours, ip="198.51.100.7"), signed_up("hal", hours, "BEN", ip="192.0.2.7")]
    earlier += [signed_up("ian", hours, ip="198.51.100.8"), signed_up("joe", hours)]
    assert (await counts(referrals_pool, signed_up("fay", ip=IP), *earlier))[3] == networks


async def test_friends_count_once_and_by_the_same_advocate_or_address(referrals_pool: Pool):
    earlier = [
        signed_up("gus", ip=IP),
        signed_up("gus", 0, "BEN", ip=IP),
        signed_up("hal", ip="203.0.113.8"),
        signed_up("ian"),
        signed_up("joe", 0, "BEN", ip=f"::ffff:{IP}"),
        signed_up("kim", 0, "BEN", ip="10.0.0.1"),
    ]
    assert await counts(referrals_pool, signed_up("fay", ip=IP), *earlier) == (3, 4, 4, 1)
    assert await counts(referrals_pool, signed_up("leo")) == (0, 5, 5, 1)
    assert await counts(referrals_pool, signed_up("max", ip="10.0.0.1")) == (0, 6, 6, 1)


async def test_an_address_counts_however_many_share_it(referrals_pool: Pool):
    crowd = [signed_up(f"c{number}", ip=IP) for number in range(60)]
    assert await counts(referrals_pool, signed_up("fay", ip=IP), *crowd) == (61, 61, 61, 1)
    assert (await facts_now(referrals_pool, EVERY, signed_up("fay"))).same == set()


async def test_of_very_many_sign_ups_the_newest_count(referrals_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sign_ups, "MOST_COUNTED", 5)
    crowd = [signed_up(f"c{number}", -number / 1000, ip=IP) for number in range(1, 20)]
    assert await counts(referrals_pool, signed_up("fay", ip=IP), *crowd) == (5, 5, 5, 1)


async def test_later_sign_ups_and_repeats_change_no_trace(referrals_pool: Pool):
    marks = await store(referrals_pool, signed_up("gus", ip=IP), signed_up("fay", ip=IP), signed_up("hal", ip=IP))
    (facts,) = await facts_of(referrals_pool, EVERY, asked(signed_up("fay"), marks.at(1)))
    assert facts.friends_in_hour == facts.friends_of_ip == 2
    await store(referrals_pool, signed_up("fay", 1, ip="203.0.113.8"))
    (again,) = await facts_of(referrals_pool, EVERY, asked(signed_up("fay"), marks.at(1)))
    assert again == facts


ADD_REFERRAL_SQL = """
INSERT INTO referral (referral_id, advocate_id, friend_id, code, program_version, state, reason, signed_up_at,
                      closed_at, next_at, recorded_at)
SELECT $1, $2, $3, $4, 1, $5, $6, now(), CASE WHEN $6::text IS NOT NULL THEN now() END,
       CASE WHEN $6::text IS NULL THEN now() + interval '9 days' END, now()
"""


def lookup(edges: Mapping[str, Collection[str]]) -> AdvocatesOf:
    return lambda customer: edges.get(customer, ())


async def refer(pool: Pool, advocate: str, friend: str, state: str = "signed_up", reason: str | None = None) -> None:
    code = advocate.upper()
    await pool.execute(ADD_REFERRAL_SQL, referral_of(friend, code), advocate, friend, code, state, reason)


async def test_people_s_rejections_of_the_advocate_count_up_to_the_threshold(referrals_pool: Pool):
    program = every_signal()
    for number, (state, reason) in enumerate(
        [("rejected", "decision"), ("rejected", "fraud"), ("rejected", "decision"), ("signed_up", None)]
    ):
        await refer(referrals_pool, "ada", f"f{number}", state, reason)
    await refer(referrals_pool, "ben", "f9", "rejected", "decision")
    assert (await facts_now(referrals_pool, program, signed_up("fay"))).rejections == 2
    for number in range(5):
        await refer(referrals_pool, "ada", f"g{number}", "rejected", "decision")
    assert (await facts_now(referrals_pool, program, signed_up("fay"))).rejections == 3  # the default threshold


@pytest.mark.parametrize("people", [2, 3, 4, 5, 6])
async def test_stored_referrals_close_circles_of_two_to_five(referrals_pool: Pool, people: int):
    """Everybody brings the next; the last one's code is the first one's."""
    names = [f"c{number}" for number in range(people)]
    for advocate, friend in pairwise(names):
        await refer(referrals_pool, advocate, friend)
    closing = signed_up("c0", 0, names[-1].upper())
    facts = await facts_now(referrals_pool, EVERY, closing)
    assert closes_ring(lookup(facts.edges), names[-1], "c0") == (people <= 5)


@pytest.mark.parametrize(
    ("edges", "is_closed"),
    [
        ([("fay", "ada", "signed_up", None)], True),
        ([("fay", "ada", "rejected", "fraud")], False),
        ([("ada", "fay", "signed_up", None)], False),
        ([("fay", "ben", "signed_up", None), ("ben", "ada", "signed_up", None)], True),
        ([("fay", "ben", "rejected", "fraud"), ("ben", "ada", "signed_up", None)], False),
        ([("ada", "ada", "rejected", "fraud"), ("ada", "fay", "rejected", "fraud")], False),
    ],
)
async def test_rejected_referrals_close_no_circle(
    referrals_pool: Pool, edges: list[tuple[Any, ...]], *, is_closed: bool
):
    for edge in edges:
        await refer(referrals_pool, *edge)
    facts = await facts_now(referrals_pool, EVERY, signed_up("fay", 0, "ADA"))
    assert closes_ring(lookup(facts.edges), "ada", "fay") == is_closed


async def test_a_referral_that_was_recorded_later_closes_no_circle_of_the_first(referrals_pool: Pool):
    await refer(referrals_pool, "ada", "fay")
    await refer(referrals_pool, "fay", "ada")
    first, second = await facts_of(
        referrals_pool, EVERY, asked(signed_up("fay", 0, "ADA")), asked(signed_up("ada", 0, "FAY"))
    )
    assert not closes_ring(lookup(first.edges), "ada", "fay")
    assert closes_ring(lookup(second.edges), "fay", "ada")
