"""Sign-ups in time: what the counts over hours and days are made of."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from services.referrals.rules.evidence.kinds import KEPT_FOR
from services.referrals.rules.program.signals import MOST_COUNTED
from services.referrals.store.evidence import LATEST
from shared.messaging import erasure
from shared.messaging.erasure import Erasure
from shared.postgres.ids import id_of, joined
from shared.postgres.pool import Connection, Pool

_AT_ONCE: Final = 10_000


class Trace(NamedTuple):
    """A sign-up that became a referral; `ip` and `network` are hashes, None where it told no address."""

    referral_id: UUID
    mark: int
    friend_id: str
    advocate_id: str
    code: str
    signed_up_at: datetime
    ip: bytes | None
    network: bytes | None


# Where a friend signed up from before an erasure does not come back.
ADD_SQL = """
INSERT INTO sign_up_trace (referral_id, mark, friend_id, advocate_id, code, signed_up_at, ip, network)
SELECT referral_id, mark, friend_id, advocate_id, code, signed_up_at,
       CASE WHEN NOT is_erased THEN ip END, CASE WHEN NOT is_erased THEN network END
FROM (
    SELECT *, coalesce(
        (SELECT erased_at FROM erasure WHERE erasure.customer_id = new.friend_id) >= signed_up_at, false
    ) AS is_erased
    FROM unnest($1::uuid[], $2::bigint[], string_to_array($3, chr(31)), string_to_array($4, chr(31)),
                string_to_array($5, chr(31)), $6::timestamptz[], $7::uuid[], $8::uuid[])
         AS new (referral_id, mark, friend_id, advocate_id, code, signed_up_at, ip, network)
) AS sign_up
ON CONFLICT (referral_id) DO NOTHING
"""


async def add(connection: Connection, traces: Sequence[Trace]) -> None:
    """Store sign-ups; one that is stored stays as it is."""
    if not traces:
        return
    ids, marks, friends, advocates, codes, times, ips, networks = zip(*traces, strict=True)
    await connection.execute(
        ADD_SQL,
        *(ids, marks, joined(friends), joined(advocates), joined(codes), times),
        *([None if hash_ is None else id_of(hash_) for hash_ in hashes] for hashes in (ips, networks)),
    )


class Asked(NamedTuple):
    """Asks for what is stored about a sign-up, as of a mark in the order of handling.

    `until`: only what people decided before it counts; None: all that they decided.
    """

    referral_id: UUID
    friend_id: str
    advocate_id: str
    code: str
    signed_up_at: datetime
    mark: int = LATEST
    until: datetime | None = None


class Wanted(NamedTuple):
    """Which counts are wanted; of rejections the maximum, 0: none."""

    of_ip: bool
    of_advocate: bool
    of_networks: bool
    rejections: int


class Counts(NamedTuple):
    """Distinct friends and networks in the windows up to a sign-up, itself included, and what else is known of it.

    Counts that are not wanted are 0; registrations are None where they are unknown.
    """

    friends_of_ip: int = 0
    friends_in_hour: int = 0
    friends_in_day: int = 0
    networks: int = 0
    rejections: int = 0
    customer_since: datetime | None = None
    advocate_since: datetime | None = None


# Windows include both ends. A count reads the newest MOST_COUNTED sign-ups of its window at most.
COUNT_SQL = """
SELECT coalesce(of_ip.friends, 0) AS of_ip, coalesce(of_advocate.in_hour, 0) AS in_hour,
       coalesce(of_advocate.in_day, 0) AS in_day, coalesce(of_code.networks, 0) AS networks,
       coalesce(decided.rejections, 0) AS rejections,
       friend.registered_at AS customer_since, advocate.registered_at AS advocate_since
FROM unnest($1::uuid[], string_to_array($2, chr(31)), string_to_array($3, chr(31)), string_to_array($4, chr(31)),
            $5::timestamptz[], $6::bigint[], $12::timestamptz[])
     WITH ORDINALITY AS asked (referral_id, friend_id, advocate_id, code, signed_up_at, mark, until, place)
LEFT JOIN sign_up_trace AS own ON own.referral_id = asked.referral_id
LEFT JOIN LATERAL (
    SELECT registered_at FROM customer_registered
    WHERE customer_id = asked.friend_id AND customer_registered.mark <= asked.mark
    ORDER BY registered_at
    LIMIT 1
) AS friend ON true
LEFT JOIN LATERAL (
    SELECT registered_at FROM customer_registered
    WHERE customer_id = asked.advocate_id AND customer_registered.mark <= asked.mark
    ORDER BY registered_at
    LIMIT 1
) AS advocate ON true
LEFT JOIN LATERAL (
    SELECT count(DISTINCT friend_id) AS friends
    FROM (
        SELECT friend_id
        FROM sign_up_trace
        WHERE $7 AND ip = own.ip AND sign_up_trace.signed_up_at <= asked.signed_up_at
          AND sign_up_trace.signed_up_at >= asked.signed_up_at - interval '7 days' AND sign_up_trace.mark <= asked.mark
        ORDER BY sign_up_trace.signed_up_at DESC
        LIMIT $11
    ) AS recent
) AS of_ip ON true
LEFT JOIN LATERAL (
    SELECT count(DISTINCT friend_id) AS in_day,
           count(DISTINCT friend_id) FILTER (WHERE at >= asked.signed_up_at - interval '1 hour') AS in_hour
    FROM (
        SELECT friend_id, sign_up_trace.signed_up_at AS at
        FROM sign_up_trace
        WHERE $8 AND sign_up_trace.advocate_id = asked.advocate_id AND sign_up_trace.signed_up_at <= asked.signed_up_at
          AND sign_up_trace.signed_up_at >= asked.signed_up_at - interval '1 day' AND sign_up_trace.mark <= asked.mark
        ORDER BY sign_up_trace.signed_up_at DESC
        LIMIT $11
    ) AS recent
) AS of_advocate ON true
LEFT JOIN LATERAL (
    SELECT count(DISTINCT network) AS networks
    FROM (
        SELECT network
        FROM sign_up_trace
        WHERE $9 AND sign_up_trace.code = asked.code AND sign_up_trace.signed_up_at <= asked.signed_up_at
          AND sign_up_trace.signed_up_at >= asked.signed_up_at - interval '7 days' AND sign_up_trace.mark <= asked.mark
        ORDER BY sign_up_trace.signed_up_at DESC
        LIMIT $11
    ) AS recent
) AS of_code ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS rejections
    FROM (
        SELECT FROM referral
        WHERE referral.advocate_id = asked.advocate_id AND state = 'rejected' AND reason = 'decision'
          AND (asked.until IS NULL OR closed_at < asked.until)
        LIMIT $10
    ) AS few
) AS decided ON true
ORDER BY place
"""


async def count(connection: Connection, asked: Collection[Asked], wanted: Wanted) -> list[Counts]:
    """The counts of sign-ups, in the order of `asked`."""
    if not asked:
        return []
    ids, friends, advocates, codes, times, marks, until = zip(*asked, strict=True)
    columns = ids, joined(friends), joined(advocates), joined(codes), times, marks
    rows = await connection.fetch(COUNT_SQL, *columns, *wanted, MOST_COUNTED, until)
    return [Counts(*row) for row in rows]


FORGET_SQL = """
DELETE FROM sign_up_trace
WHERE referral_id = ANY(ARRAY(
    SELECT referral_id FROM sign_up_trace WHERE signed_up_at < $1 ORDER BY signed_up_at LIMIT $2 FOR UPDATE SKIP LOCKED
))
RETURNING referral_id
"""


async def forget(pool: Pool, now: datetime) -> None:
    """Job: delete sign-ups of more than 400 days ago, a bounded number in each transaction."""
    deleted = _AT_ONCE
    while deleted == _AT_ONCE:
        deleted = len(await pool.fetch(FORGET_SQL, now - KEPT_FOR, _AT_ONCE))


ERASE_SQL = """
WITH covered AS (
    SELECT referral_id
    FROM sign_up_trace JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, at)
      ON friend_id = erased.customer_id
    WHERE ip IS NOT NULL AND signed_up_at <= erased.at
    LIMIT $3
    FOR UPDATE OF sign_up_trace SKIP LOCKED
)
UPDATE sign_up_trace SET ip = NULL, network = NULL
FROM covered
WHERE sign_up_trace.referral_id = covered.referral_id
RETURNING sign_up_trace.referral_id
"""


async def erase(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Erase where friends signed up from before their erasure; see `erasure.EraseOwn`."""
    customers, erased_at, _, _ = erasure.columns(erasures)
    return len(await connection.fetch(ERASE_SQL, customers, erased_at, most))
