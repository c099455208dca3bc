"""`verify` finds every kind of broken state, and no fault in what events leave."""

import random
from collections.abc import Mapping, Sequence

from services.referrals.handlers.verifying import verify
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from shared.programs.kind import dump
from tests.referrals.conftest import ADA, BEN, Apply
from tests.referrals.programs import DEFAULT, parse
from tests.referrals.shop import START, at, bought, refunded, signed_up
from tests.support.broken import broken
from tests.support.documents import put_into_force
from tests.tiers.programs import changed

CODES = "codes are unique and well formed, and one is given out"
ADVOCATES = "each referral has its advocate's code"
FRIENDS = "a friend has one standing referral and is rewarded once"
STATES = "states are legal, and their times in order"
QUALIFIED = "each qualified referral has an order that qualifies it"
PAID = "the points = those of the program, for approved referrals"
VOIDED = "voided or rejected for refunds = too little is kept of the order"
ACCOUNTS = "accounts of advocates = sums of their referrals"
REFUNDS = "refunds have their order, and none waits for a recorded one"
HISTORY = "history has legal steps, and ends with the state"
DUE = "what has fallen due is applied, and the next instant is right"
SCORES = "scores = sums of the weights of signals"
BUCKETS = "what the program paid = approved rewards"
EVIDENCE = "evidence is kept for 400 days"
ERASED = "nothing is left of erased customers"
JUDGED = "states = those that orders and signals explain"
REWARDS = "rewards = those that caps and milestones leave"
ALL = [
    *(CODES, ADVOCATES, FRIENDS, STATES, QUALIFIED, PAID, VOIDED, ACCOUNTS, REFUNDS),
    *(HISTORY, DUE, SCORES, BUCKETS, EVIDENCE, ERASED, JUDGED, REWARDS),
]

# One referral in each of its states, named by the friend.
LIFE = (
    *(signed_up("new", ADA), bought("new", "o1", 1, "19.99"), bought("new", "o2", 1, currency="EUR")),
    *(signed_up("paid", ADA), bought("paid", "o1", 719), refunded("paid", "o1", "r1", 730, "5.00")),
    *(signed_up("void", BEN), bought("void", "o1", 5, lines=[("a", "5.00"), ("b", "20.00")])),
    refunded("void", "o1", "r1", 7, "5.01", lines=[("a", "5.00"), ("b", "0.01")]),
    refunded("early", "o1", "r1", 7, "9.00"),
    *(signed_up("early", BEN), bought("early", "o1", 5)),
    *(bought("late", "o0", -1, "1.00"), signed_up("late", BEN), bought("late", "o1", 9)),
    *(signed_up("twice", BEN), signed_up("twice", ADA, 1)),
    signed_up("ada", ADA),
    refunded("new", "o9", "r9", 3),
)

# Statements that break the database, and the offenders that each check finds then.
BROKEN: Mapping[str, Mapping[str, Sequence[str]]] = {
    """ALTER TABLE referral_code DROP CONSTRAINT referral_code_pkey; DROP INDEX referral_code_key;
       INSERT INTO referral_code VALUES ('cy', 'CDFGHJKM', now())""": {CODES: ["CDFGHJKM"]},
    """DROP INDEX referral_code_given_out;
       INSERT INTO referral_code VALUES ('ada', '23456789', now())""": {CODES: ["ada"]},
    "INSERT INTO referral_code VALUES ('cy', 'CDFGHJK', now())": {CODES: ["CDFGHJK"]},
    "INSERT INTO referral_code VALUES ('cy', 'CDFGHJK0', now())": {CODES: ["CDFGHJK0"]},
    "INSERT INTO referral_code VALUES ('cy', 'RJ6HG5PF3', now())": {CODES: ["RJ6HG5PF3"]},
    "INSERT INTO referral_code VALUES ('cy', 'FRIEND!', now(), 'f', now())": {CODES: ["FRIEND!"]},
    "INSERT INTO referral_code VALUES ('cy', '23456789', now(), 'f', now())": {CODES: ["23456789"]},
    "UPDATE referral SET code = '23456789' WHERE friend_id = 'new'": {ADVOCATES: ["new"]},
    "UPDATE referral SET advocate_id = 'ben' WHERE friend_id = 'new'": {ADVOCATES: ["new"]},
    "DELETE FROM referral_code WHERE customer_id = 'ada'": {ADVOCATES: ["ada", "new", "paid", "twice"]},
    """DROP INDEX referral_standing;
       UPDATE referral SET state = 'signed_up', reason = NULL, closed_at = NULL, next_at = now()
       WHERE friend_id = 'twice' AND advocate_id = 'ada'""": {FRIENDS: ["twice"], HISTORY: ["twice"], DUE: ["twice"]},
    "UPDATE referral SET closed_at = signed_up_at - interval '1 hour' WHERE friend_id = 'late'": {
        STATES: ["late"],
        HISTORY: ["late"],
    },
    "UPDATE referral SET reason = 'cap' WHERE friend_id = 'late'": {STATES: ["late"], HISTORY: ["late"]},
    "UPDATE referral SET closed_at = qualified_at - interval '1 hour' WHERE friend_id = 'void'": {
        STATES: ["void"],
        HISTORY: ["void"],
        JUDGED: ["void"],
    },
    "UPDATE referral SET order_id = 'o9' WHERE friend_id = 'paid'": {QUALIFIED: ["paid"], JUDGED: ["paid"]},
    "UPDATE purchase SET total = 19.99 WHERE customer_id = 'paid'": {
        QUALIFIED: ["paid"],
        VOIDED: ["paid"],
        JUDGED: ["paid"],
    },
    "UPDATE purchase SET currency = 'EUR' WHERE customer_id = 'paid'": {QUALIFIED: ["paid"], JUDGED: ["paid"]},
    "UPDATE referral SET qualified_at = qualified_at - interval '1 hour' WHERE friend_id = 'paid'": {
        QUALIFIED: ["paid"],
        JUDGED: ["paid"],
    },
    "DELETE FROM purchase WHERE customer_id = 'void'": {QUALIFIED: ["void"], REFUNDS: ["void/o1/r1"], JUDGED: ["void"]},
    "UPDATE referral SET advocate_points = 600 WHERE friend_id = 'paid'": {
        PAID: ["paid"],
        ACCOUNTS: ["ada"],
        BUCKETS: ["-infinity", "2026-03-31 11:00:00+00"],
        REWARDS: ["paid"],
    },
    "UPDATE referral SET friend_points = 201 WHERE friend_id = 'paid'": {
        PAID: ["paid"],
        BUCKETS: ["-infinity", "2026-03-31 11:00:00+00"],
        REWARDS: ["paid"],
    },
    "UPDATE referral SET program_version = 2 WHERE friend_id = 'paid'": {QUALIFIED: ["paid"], PAID: ["paid"]},
    "UPDATE refund SET amount = 5.01 WHERE customer_id = 'paid'": {VOIDED: ["paid"], JUDGED: ["paid"]},
    "UPDATE refund SET amount = 5.00 WHERE customer_id = 'void'": {VOIDED: ["void"]},
    "DELETE FROM refund WHERE customer_id = 'early'": {VOIDED: ["early"], JUDGED: ["early"]},
    "UPDATE waiting SET about = 'order/o1'": {REFUNDS: ["new/o1/refund/r9"]},
    "UPDATE advocate SET approved = approved + 1 WHERE customer_id = 'ada'": {ACCOUNTS: ["ada"]},
    "DELETE FROM referral_step WHERE state = 'approved'": {HISTORY: ["paid"]},
    "UPDATE referral_step SET state = 'expired' WHERE state = 'qualified'": {HISTORY: ["early", "paid", "void"]},
    "UPDATE referral_step SET reason = 'cap' WHERE state = 'approved'": {HISTORY: ["paid"]},
    "UPDATE referral_step SET at = at + interval '1 hour' WHERE state = 'approved'": {HISTORY: ["paid"]},
    "UPDATE referral_step SET note = 'Why.' WHERE state = 'voided'": {HISTORY: ["void"]},
    """UPDATE referral SET reason = 'decision' WHERE friend_id = 'late';
       UPDATE referral_step SET reason = 'decision' WHERE reason = 'fraud'""": {HISTORY: ["ada", "late", "twice"]},
    "UPDATE referral SET next_at = next_at - interval '1 second' WHERE friend_id = 'new'": {DUE: ["new"]},
    """UPDATE referral SET signed_up_at = signed_up_at - interval '40 days', next_at = next_at - interval '40 days',
                           recorded_at = recorded_at - interval '2 hours'
       WHERE friend_id = 'new';
       UPDATE referral_step AS step
       SET at = at - interval '40 days', recorded_at = step.recorded_at - interval '2 hours'
       FROM referral
       WHERE referral.referral_id = step.referral_id AND friend_id = 'new'""": {DUE: ["new"]},
    "UPDATE referral SET score = 5 WHERE friend_id = 'paid'": {SCORES: ["paid"]},
    "UPDATE reward_bucket SET points = points + 1 WHERE start = '-infinity'": {BUCKETS: ["-infinity"]},
    "DELETE FROM reward_bucket": {BUCKETS: ["-infinity", "2026-03-01 17:00:00+00", "2026-03-31 11:00:00+00"]},
    "INSERT INTO evidence VALUES ('fay', 1, gen_random_uuid(), 1, '2025-01-20 12:00Z')": {EVIDENCE: ["fay"]},
    """INSERT INTO sign_up_trace
       VALUES ('00000000-0000-0000-0000-000000000001', 1, 'x', 'ada', 'c', '2025-01-20 12:00Z', NULL, NULL)""": {
        EVIDENCE: ["00000000-0000-0000-0000-000000000001"]
    },
    """INSERT INTO erasure (customer_id, erased_at, published_at, recorded_at) VALUES ('fay', now(), now(), now());
       INSERT INTO evidence VALUES ('fay', 1, gen_random_uuid(), 1, '2026-02-25 12:00Z')""": {ERASED: ["fay"]},
    """INSERT INTO erasure (customer_id, erased_at, published_at, recorded_at) VALUES ('fay', now(), now(), now());
       INSERT INTO customer_registered VALUES ('fay', '2026-02-25 12:00Z', 1)""": {ERASED: ["fay"]},
    """INSERT INTO erasure (customer_id, erased_at, published_at, recorded_at) VALUES ('ben', now(), now(), now())""": {
        ERASED: ["ben"]
    },
    """INSERT INTO erasure (customer_id, erased_at, published_at, recorded_at) VALUES ('void', now(), now(), now());
       UPDATE referral_step SET note = 'Why.', actor = 'key:ann' WHERE state = 'voided'""": {ERASED: ["void"]},
    "UPDATE referral SET has_bought = true WHERE friend_id = 'new'": {JUDGED: ["new"]},
    "UPDATE purchase SET total = 20 WHERE customer_id = 'new' AND currency = 'USD'": {JUDGED: ["new"]},
    "UPDATE referral SET signals = NULL WHERE friend_id = 'late'": {JUDGED: ["late"]},
    "UPDATE referral SET due_at = due_at + interval '1 hour' WHERE friend_id = 'void'": {JUDGED: ["void"]},
    """UPDATE refund SET lines = '{"a": "5.01"}' WHERE customer_id = 'void'""": {JUDGED: ["void"]},
    """UPDATE refund SET lines = '{"c": "5.01"}' WHERE customer_id = 'void'""": {JUDGED: ["void"]},
    "UPDATE referral SET milestones = '{1}' WHERE friend_id = 'paid'": {REWARDS: ["paid"]},
}


async def offenders(pool: Pool) -> dict[str, list[str]]:
    """The offenders by check, where there are any; referrals by their friends."""
    async with pool.acquire() as connection:
        friends = {str(row[0]): row[1] for row in await connection.fetch("SELECT referral_id, friend_id FROM referral")}
    return {
        check.name: sorted(friends.get(offender, offender) for offender in check.offenders)
        async for check in verify(pool, 1000, at(1))
        if check.offenders
    }


async def test_every_kind_of_broken_state_is_found(pool: Pool, apply: Apply):
    await apply(*([event] for event in LIFE))
    assert await offenders(pool) == {}
    named: dict[str, Mapping[str, Sequence[str]]] = {}
    for statements in BROKEN:
        async with broken(pool, statements) as broken_pool:
            named[statements] = await offenders(broken_pool)
    assert named == BROKEN
    assert await offenders(pool) == {}


def test_every_check_can_fail():
    assert {name for named in BROKEN.values() for name in named} == set(ALL)


async def test_an_empty_database_is_sound(referrals_pool: Pool):
    assert [(check.name, check.offenders) async for check in verify(referrals_pool, 100, at(1))] == [
        (name, []) for name in ALL
    ]


def history(chance: random.Random, friend: str) -> list[Event]:
    """A friend's sign-ups, orders and refunds, by lines and by share, in any order of arrival."""
    events = [signed_up(friend, chance.choice((ADA, BEN, "23456789")), hours) for hours in range(chance.randint(0, 2))]
    for number in range(chance.randint(0, 3)):
        order, hours = f"o{number}", chance.choice((-1, 0, 1, 719, 720, 720.01, chance.uniform(0, 720)))
        lines = chance.choice(((), (("a", "5.00"), ("b", "17.00")), (("a", "40.00"),)))
        total = f"{sum(float(amount) for _, amount in lines):.2f}" if lines else chance.choice(("19.99", "20.00", "50"))
        events.append(bought(friend, order, hours, total, lines=lines, currency=chance.choice(("USD", "USD", "EUR"))))
        for nth in range(chance.choice((0, 0, 1, 3))):
            amount = chance.choice(("1.00", "2.01", "16.00"))
            by_line = (("a", amount),) if lines and chance.random() < 0.5 else ()
            later = hours + chance.uniform(-10, 900)
            events.append(refunded(friend, order, f"r{nth}", later, amount, lines=by_line))
    return chance.sample(events, len(events))


async def test_the_state_that_random_events_leave_is_sound(pool: Pool, apply: Apply):
    chance = random.Random(7)
    events = [event for number in range(400) for event in history(chance, f"c{number}")]
    await apply(*(events[start : start + 50] for start in range(0, len(events), 50)))
    await apply([signed_up("ada", ADA)])
    reached = await pool.fetch("SELECT DISTINCT state, reason, approved_at IS NULL FROM referral")
    assert len(reached) == 5
    assert await offenders(pool) == {}


async def test_an_order_from_before_the_sign_up_flags_a_held_referral_soundly(pool: Pool, apply: Apply):
    flag = [{"id": "already_bought", "action": "flag"}]
    document = changed(DEFAULT, ("/hold_days", 14), ("/signals", flag))
    await put_into_force(pool, "referral_program", dump(parse(document)), START)
    await apply([signed_up("fay", ADA), bought("fay", "o1", 24)], [bought("fay", "o0", -1)])
    steps = await pool.fetch("SELECT state, at FROM referral_step ORDER BY number")
    # As if the earlier order had arrived first: a referral is flagged once it is qualified.
    assert [tuple(row) for row in steps] == [("signed_up", at(0)), ("qualified", at(24)), ("flagged", at(24))]
    assert await offenders(pool) == {}


async def test_the_state_that_a_program_of_all_kinds_leaves_is_sound(pool: Pool, apply: Apply):
    document = changed(
        DEFAULT,
        ("/rates", {"EUR": "1.1"}),
        ("/qualifies", {"nth_order": 2, "amount_at_least": "10.00", "within_days": 30}),
        ("/milestones", [{"count": 3, "points": 77}, {"count": 5, "points": 33}]),
        ("/caps", [{"count": 8, "per": "week"}, {"points": 9_000, "per": "ever"}]),
        ("/signals", [{"id": "already_bought", "action": "flag"}, {"id": "already_referred", "action": "off"}]),
    )
    await put_into_force(pool, "referral_program", dump(parse(document)), START)
    chance = random.Random(11)
    events = [event for number in range(400) for event in history(chance, f"c{number}")]
    await apply(*(events[start : start + 50] for start in range(0, len(events), 50)))
    for friend in ("v1", "v2", "v3"):
        await apply([signed_up(friend, BEN), bought(friend, "o1", 1), bought(friend, "o2", 2)])
    await apply([refunded("v2", "o2", "r1", 3)])
    rows = await pool.fetch("SELECT DISTINCT state, reason FROM referral")
    assert {tuple(row) for row in rows} >= {
        ("signed_up", None),
        ("flagged", None),
        ("approved", None),
        ("approved", "cap"),
        ("voided", "refunded"),
        ("rejected", "refunded"),
    }
    assert await pool.fetchval("SELECT count(*) FROM referral WHERE milestone_points > 0") > 2
    assert await offenders(pool) == {}
    # An approval that pays too much for its place among the advocate's others.
    async with broken(
        pool, "UPDATE referral SET advocate_points = 500 WHERE reason = 'cap' AND advocate_points = 0"
    ) as bad:
        assert REWARDS in await offenders(bad)
