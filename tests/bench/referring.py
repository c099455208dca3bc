"""Sign-ups judged by every signal, beside many referrals and much evidence; replays; a worker's rate on purchases."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any, Final
from uuid import uuid4

from msgspec import json

from services.referrals.handlers.events import handle
from services.referrals.rules.codes.code import SYMBOLS, with_check
from services.referrals.rules.evidence.keys import key_of
from services.referrals.rules.program.signals import SIGNALS
from shared.contracts.envelope import Event, Record, decode
from shared.contracts.registry import TYPES
from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from tests.bench import draining, preload, replays, stream
from tests.bench.draining import Drain
from tests.bench.figures import Figure, Measured, rate, ratio
from tests.bench.plan import Plan
from tests.bench.rounds import Side, WrongEffectError, play
from tests.bench.volume import unbounded

REFERRALS: Final = 200_000
ADVOCATES: Final = 2_000
"""Customers whose codes the measured sign-ups name; each told all that an event can tell."""
BATCH: Final = 500
SINGLES: Final = 200
"""Batches of one sign-up in a round."""

KEY: Final = key_of("the key of the evidence of the benchmark")

_TIMEOUT: Final = 1800.0
_numbers: Final = count()

DOCUMENT: Final[dict[str, Any]] = {
    "advocate_points": 500,
    "friend_points": 200,
    "currency": "USD",
    "qualifies": {"amount_at_least": "20.00", "within_days": 30},
    "signals": [{"id": id_, "action": "score", "weight": 1} for id_ in SIGNALS if id_ != "self"],
    "blocklist": {"domains": ["blocked.example"], "cidrs": ["203.0.112.0/24"], "countries": ["XK"]},
    "flag_at": 1_000,
    "block_at": 1_000,
}

PROGRAM_SQL = """
INSERT INTO document_version (kind, id, version, document, created_at, published_at, effective_at)
VALUES ('referral_program', '', 2, $1::json, now(), now(), now() - interval '500 days')
"""

# A tenth as many advocates as referrals; a sign-up every two and a half minutes over the last year.
REFERRALS_SQL = """
INSERT INTO referral (referral_id, advocate_id, friend_id, code, program_version, state, signed_up_at, order_id,
                      qualified_at, due_at, approved_at, advocate_points, friend_points, recorded_at)
SELECT md5('r' || n)::uuid, 'a-' || n % ($1 / 10), 'f-' || n, 'C' || n % ($1 / 10), 2, 'approved', at, 'o-' || n,
       at, at, at, 500, 200, at
FROM generate_series(1, $1::bigint) AS n,
     LATERAL (SELECT $2::timestamptz - interval '1 year' * (1 - n::float8 / $1) AS at) AS signed_up
"""

TRACES_SQL = """
INSERT INTO sign_up_trace (referral_id, mark, friend_id, advocate_id, code, signed_up_at, ip, network)
SELECT referral_id, number, friend_id, advocate_id, code, signed_up_at, md5('ip' || number % ($1 / 3))::uuid,
       md5('network' || number % ($1 / 30))::uuid
FROM referral
"""

# Of each friend five values: half of them are shared by some customers.
EVIDENCE_SQL = """
INSERT INTO evidence (customer_id, kind, hash, mark, until, payload)
SELECT 'f-' || n, kind,
       md5(kind || '/' || CASE WHEN kind % 2 = 0 THEN n % ($1 / 5) ELSE n END)::uuid, n,
       $2::timestamptz - interval '1 year' * (1 - n::float8 / $1),
       CASE WHEN kind = 1 THEN sha256(n::text::bytea) || sha256('x') END
FROM generate_series(1, $1::bigint) AS n, unnest(ARRAY[1, 2, 4, 5, 6]::smallint[]) AS kind
"""

REGISTERED_SQL = """
INSERT INTO customer_registered
SELECT 'f-' || n, $2::timestamptz - interval '1 year' * (1 - n::float8 / $1), n
FROM generate_series(1, $1::bigint) AS n
"""

CODES_SQL = "INSERT INTO referral_code (customer_id, code, created_at) SELECT *, $3 FROM unnest($1::text[], $2::text[])"

COUNT_SQL = """
SELECT (SELECT count(*) FROM referral) AS referrals, (SELECT count(*) FROM evidence) AS evidence,
       (SELECT count(*) FROM referral WHERE score > 0) AS judged
"""


async def measure(plan: Plan) -> list[Figure]:
    """The times of sign-ups and replays, and the rate of a worker of referrals on purchases beside that of points."""
    return [*await _sign_ups(plan), *await _purchases(plan)]


async def _purchases(plan: Plan) -> list[Figure]:
    events = draining.count(plan)

    async def drained(service: str) -> Mapping[str, Measured]:
        return {service: await draining.drain(plan.bed, Drain(events, service=service))}

    sides = [Side("purchases", lambda: drained("points")), Side("purchases", lambda: drained("referrals"))]
    results = await play(plan, sides, {"purchases": lambda: stream.purchases(plan.year, events)})
    return [
        rate("referrals: purchases that concern no referral, 1 worker", results["referrals"], "events/s"),
        ratio("referrals: 1 worker / points on the same purchases", results["referrals"], results["points"], 1.0),
    ]


async def _sign_ups(plan: Plan) -> list[Figure]:
    now, random = datetime.now(UTC), Random(18)
    referrals = plan.events(REFERRALS)
    await preload.hurry(plan.bed)
    async with plan.bed.database("referrals") as (_, pool):
        plan.say(f"filling {referrals:,} referrals and their evidence")
        codes = await fill(pool, referrals, now)
        await preload.hurry_no_more(plan.bed)
        batches: list[float] = []
        singles: list[float] = []
        for number in range(plan.rounds + 1):
            batch = await _seconds(pool, [sign_up(random, codes, now) for _ in range(BATCH)], now)
            alone = sorted([await _seconds(pool, [sign_up(random, codes, now)], now) for _ in range(SINGLES)])
            if number:  # the first round warms up
                batches.append(batch)
                singles.append(alone[SINGLES // 2] * 1000)
                plan.say(f"round {number} of {plan.rounds}: {batch:.2f} s, one alone {singles[-1]:.1f} ms")
        counts = await pool.fetchrow(COUNT_SQL)
        replayed = await replays.measure(plan, pool, DOCUMENT, KEY)
    assert counts is not None, "it has a row"
    if counts["referrals"] != referrals + (plan.rounds + 1) * (BATCH + SINGLES) or not counts["judged"]:
        raise WrongEffectError(f"of the sign-ups came {dict(counts)}")
    beside = f"beside {referrals:,} referrals and {counts['evidence']:,} pieces of evidence"
    return [
        Figure(f"referrals: {BATCH} sign-ups with every signal, {beside}", batches, "s", at_most=1),
        Figure("referrals: one sign-up alone, median", singles, "ms", at_most=5),
        *replayed,
    ]


async def fill(pool: Pool, referrals: int, now: datetime) -> list[str]:
    """Insert referrals and evidence; returns the codes of advocates who told everything."""
    advocates = [f"advocate-{number}" for number in range(ADVOCATES)]
    codes = [with_check("".join(Random(number).choices(SYMBOLS, k=8))) for number in range(ADVOCATES)]
    async with unbounded(pool) as connection:
        await connection.execute(PROGRAM_SQL, DOCUMENT)
        for statement in (REFERRALS_SQL, EVIDENCE_SQL, REGISTERED_SQL):
            await connection.execute(statement, referrals, now, timeout=_TIMEOUT)
        await connection.execute(TRACES_SQL, referrals, timeout=_TIMEOUT)
        await replays.tell_addresses(connection, referrals, KEY)
        await connection.execute("SELECT setval('evidence_mark', $1)", referrals + 1)
        await connection.execute(CODES_SQL, advocates, codes, now)
        random = Random(17)
        for start in range(0, ADVOCATES, BATCH):
            told = [
                event("registered", {"customer_id": name, "name": name, "country": "SA"} | traces(random), now)
                for name in advocates[start : start + BATCH]
            ]
            async with connection.transaction():
                await handle(connection, told, now, KEY)
        await connection.execute("VACUUM (ANALYZE)", timeout=_TIMEOUT)
    return codes


def traces(random: Random) -> dict[str, str]:
    """All that a sign-up can tell; some friends have a value in common with an advocate."""
    number = random.randrange(100_000)
    return {
        "email": f"person.{number}@mail-{number % 50}.example",
        "phone": f"+9665{number:08}",
        "device_id": f"device-{random.randrange(100_000)}",
        "ip": f"8.{number % 200}.{random.randrange(250)}.{random.randrange(1, 250)}",
        "user_agent": f"Mozilla/5.0 ({number % 100})",
        "payment_fingerprint": f"card-{random.randrange(100_000)}",
    }


def sign_up(random: Random, codes: Sequence[str], now: datetime) -> Event:
    """A sign-up of a new friend with the code of any advocate."""
    friend = f"new-{next(_numbers)}"
    return event("signed_up", {"customer_id": friend, "code": random.choice(codes)} | traces(random), now)


def event(verb: str, data: Mapping[str, str], now: datetime) -> Event:
    """An event of the shop about a customer, of a minute ago."""
    type_ = "shop.referral.signed_up.v1" if verb == "signed_up" else f"shop.customer.{verb}.v1"
    envelope = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "/shop/web",
        "type": type_,
        "time": format_instant(now - timedelta(minutes=1)),
        "data": data,
    }
    record = Record(TYPES[type_].topic, 0, 0, data["customer_id"].encode(), json.encode(envelope), (), now)
    decoded = decode(record, frozenset({type_}))
    assert decoded is not None, "it is wanted"
    return decoded


async def _seconds(pool: Pool, events: Sequence[Event], now: datetime) -> float:
    """The seconds of a transaction that handles a batch, as a worker does."""
    async with pool.acquire() as connection:
        began = time.perf_counter()
        async with connection.transaction():
            refused = await handle(connection, events, now, KEY)
        seconds = time.perf_counter() - began
    if refused:
        raise WrongEffectError(f"{len(refused)} sign-ups were refused: {refused[0].error}")
    return seconds
