"""A draft with every signal, replayed over the sign-ups of 90 days."""

import time
from datetime import UTC, datetime
from typing import Any, Final

from services.referrals.handlers.replaying import find, run_replays, start
from services.referrals.rules.evidence.keys import EvidenceKey, LocalPart
from services.referrals.rules.evidence.kinds import Kind
from shared.postgres.pool import Connection, Pool
from shared.programs import store
from shared.programs.drafting import Author
from shared.programs.kind import Key
from tests.bench.figures import Figure
from tests.bench.plan import Plan
from tests.bench.rounds import WrongEffectError

DAYS: Final = 90

_TIMEOUT: Final = 600.0

ADVOCATES_SQL = """
INSERT INTO evidence (customer_id, kind, hash, mark, until)
SELECT 'a-' || n, kind, md5(kind || '/' || CASE WHEN kind % 2 = 0 THEN n % ($1 / 5) ELSE -n END)::uuid, 0,
       now() - interval '1 year'
FROM generate_series(0, $1::bigint / 10 - 1) AS n, unnest(ARRAY[1, 2, 4, 5, 6]::smallint[]) AS kind
"""

ADDRESSES_SQL = "SELECT customer_id, ctid FROM evidence WHERE kind = $1 AND customer_id ~ '^[af]-'"

SEAL_SQL = """
UPDATE evidence SET payload = new.payload
FROM unnest($1::tid[], $2::bytea[]) AS new (place, payload)
WHERE evidence.ctid = new.place
"""

WINDOW_SQL = "SELECT count(*) FROM referral WHERE signed_up_at BETWEEN $1::timestamptz - $3 * interval '1 day' AND $2"


async def tell_addresses(connection: Connection, referrals: int, key: EvidenceKey) -> None:
    """Give advocates evidence too, and all sides local parts of addresses that open with the key."""
    await connection.execute(ADVOCATES_SQL, referrals, timeout=_TIMEOUT)
    rows = await connection.fetch(ADDRESSES_SQL, Kind.EMAIL, timeout=_TIMEOUT)
    sealed = [key.seal(row["customer_id"], _local_part(number, key)) for number, row in enumerate(rows)]
    await connection.execute(SEAL_SQL, [row["ctid"] for row in rows], sealed, timeout=_TIMEOUT)


def _local_part(number: int, key: EvidenceKey) -> LocalPart:
    return LocalPart(key.hash(Kind.DOMAIN, f"mail-{number % 50}.example"), f"person.{number}")


async def measure(plan: Plan, pool: Pool, document: dict[str, Any], key: EvidenceKey) -> list[Figure]:
    """The seconds of replays, on a database that is filled."""
    seconds: list[float] = []
    sign_ups = 0
    for number in range(plan.rounds + 1):
        now = datetime.now(UTC)
        async with pool.acquire() as connection, connection.transaction():
            draft = await store.insert(connection, Key("referral_program"), document, now, "bench")
            replay = await start(connection, draft, DAYS, Author("bench", now))
        began = time.perf_counter()
        await run_replays(pool, now, key)
        elapsed = time.perf_counter() - began
        found = await find(pool, replay.id)
        sign_ups = await pool.fetchval(WINDOW_SQL, now, now, DAYS)
        if found is None or found.result is None or found.result["sign_ups"] != sign_ups or not found.result["signals"]:
            raise WrongEffectError(f"the replay of {sign_ups} sign-ups gave {found}")
        if number:  # the first round warms up
            seconds.append(elapsed)
            plan.say(f"round {number} of {plan.rounds}: replayed in {elapsed:.1f} s")
    return [Figure(f"referrals: replay of {DAYS} days with {sign_ups:,} sign-ups", seconds, "s", at_most=20)]
