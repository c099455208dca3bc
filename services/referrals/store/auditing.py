"""Checks of the stored state against itself: each statement finds offenders, of which there should be none."""

from collections.abc import Collection, Sequence
from uuid import UUID

from services.referrals.rules.codes.code import LENGTH, OLD_LENGTH, OLD_SYMBOLS, SYMBOLS
from services.referrals.rules.program.compiled import Program
from services.referrals.rules.referral import Ground, State
from shared.postgres.checks import Query
from shared.postgres.orders import REFUNDS
from shared.postgres.pool import Connection

# The weighted sum of a code with a check symbol is 0 modulo the number of symbols: see rules/codes/code.py.
CODES_SQL = """
SELECT min(code) AS id FROM referral_code GROUP BY coalesce(key, code) HAVING count(*) > 1
UNION
SELECT referral_code.code FROM referral_code JOIN retired_code ON retired_code.code = coalesce(key, referral_code.code)
UNION
SELECT customer_id FROM referral_code WHERE key IS NULL GROUP BY customer_id HAVING count(*) > 1
UNION
SELECT code
FROM referral_code
WHERE key IS NULL AND NOT (length(code) = $5 AND translate(code, $4, '') = '') AND (
    length(code) <> $3 OR translate(code, $2, '') <> '' OR (
        SELECT sum(($3::int + 1 - place) * (strpos($2, substr(code, place, 1)) - 1)) % length($2)
        FROM generate_series(1, $3::int) AS place
    ) <> 0
)
UNION
SELECT code
FROM referral_code
WHERE key IS NOT NULL AND (
    code !~ '^[0-9A-Z]{4,20}$'
    OR length(code) = $3 AND translate(code, $2, '') = ''
    OR length(code) = $5 AND translate(code, $4, '') = ''
)
LIMIT $1
"""

ADVOCATES_SQL = """
SELECT referral_id::text AS id
FROM referral
WHERE NOT EXISTS (
    SELECT FROM referral_code
    WHERE coalesce(key, referral_code.code) = referral.code AND referral_code.customer_id = referral.advocate_id
) AND NOT EXISTS (SELECT FROM retired_code WHERE retired_code.code = referral.code)
LIMIT $1
"""

FRIENDS_SQL = """
SELECT friend_id AS id
FROM referral
GROUP BY friend_id
HAVING count(*) FILTER (WHERE state <> 'rejected') > 1 OR count(approved_at) > 1
LIMIT $1
"""

# No referral stays qualified or flagged: the order that qualifies a referral approves it, or has been refunded before.
STATES_SQL = """
SELECT referral_id::text AS id
FROM referral
WHERE NOT coalesce(CASE state
    WHEN 'signed_up' THEN num_nonnulls(order_id, qualified_at, approved_at, closed_at, reason) = 0
    WHEN 'rejected' THEN num_nonnulls(order_id, qualified_at, approved_at) = 0 AND closed_at = signed_up_at
                         AND reason IN ('self_referral', 'referred_before', 'bought_before')
    WHEN 'approved' THEN order_id IS NOT NULL AND signed_up_at <= qualified_at AND approved_at = qualified_at
                         AND num_nonnulls(closed_at, reason) = 0
    WHEN 'voided' THEN order_id IS NOT NULL AND signed_up_at <= qualified_at AND qualified_at <= closed_at
                       AND coalesce(approved_at, qualified_at) = qualified_at AND reason = 'refunded'
END, false)
   OR num_nonnulls(approved_at, advocate_points, friend_points) NOT IN (0, 3)
LIMIT $1
"""

QUALIFIED_SQL = """
SELECT referral_id::text AS id
FROM referral
LEFT JOIN unnest($2::int[], $3::text[], $4::numeric[], $5::interval[])
    AS program (version, accepted, minimum, within) ON program.version = program_version
LEFT JOIN purchase ON purchase.customer_id = friend_id AND purchase.order_id = referral.order_id
WHERE (referral.order_id IS NOT NULL OR referral.state IN ('qualified', 'flagged', 'approved', 'voided'))
  AND NOT coalesce(
      currency = accepted
      AND total >= minimum
      AND purchased_at = qualified_at
      AND purchased_at BETWEEN signed_up_at AND signed_up_at + within,
      false)
LIMIT $1
"""

PAID_SQL = """
SELECT referral_id::text AS id
FROM referral
LEFT JOIN unnest($2::int[], $3::int[], $4::int[]) AS program (version, of_advocate, of_friend)
    ON program.version = program_version
WHERE (advocate_points, friend_points) IS DISTINCT FROM (
    CASE WHEN approved_at IS NOT NULL THEN of_advocate END,
    CASE WHEN approved_at IS NOT NULL THEN of_friend END
) OR (referral.state = 'approved' AND approved_at IS NULL)
LIMIT $1
"""

# A refund by line takes at most what its line has left: more of the order can be kept, never less.
VOIDED_SQL = """
WITH returned AS (
    SELECT customer_id, order_id, sum(amount) AS amount, bool_or(lines IS NOT NULL) AS by_line
    FROM refund
    GROUP BY customer_id, order_id
)
SELECT referral_id::text AS id
FROM referral
JOIN unnest($2::int[], $3::numeric[]) AS program (version, minimum) ON program.version = program_version
JOIN purchase ON purchase.customer_id = friend_id AND purchase.order_id = referral.order_id
LEFT JOIN returned ON returned.customer_id = friend_id AND returned.order_id = referral.order_id
WHERE CASE referral.state
    WHEN 'voided' THEN total - coalesce(returned.amount, 0) >= minimum
    ELSE total - returned.amount < minimum AND NOT (by_line AND purchase.lines IS NOT NULL)
END
LIMIT $1
"""


def queries(programs: Collection[Program]) -> Sequence[Query]:
    """The checks; `programs` are the published versions."""
    versions = [program.version for program in programs]
    minima = [program.document.qualifies.amount_at_least for program in programs]
    qualified = [program.currency for program in programs], minima, [program.within for program in programs]
    points = [program.advocate_points for program in programs], [program.friend_points for program in programs]
    return (
        Query(
            "codes are unique and well formed, and one is given out",
            CODES_SQL,
            (SYMBOLS, LENGTH, OLD_SYMBOLS, OLD_LENGTH),
        ),
        Query("each referral has its advocate's code", ADVOCATES_SQL),
        Query("a friend has one standing referral and is rewarded once", FRIENDS_SQL),
        Query("states are legal, and their times in order", STATES_SQL),
        Query("each qualified referral has an order that qualifies it", QUALIFIED_SQL, (versions, *qualified)),
        Query("the points = those of the program, for approved referrals", PAID_SQL, (versions, *points)),
        Query("voided = too little is kept of the order", VOIDED_SQL, (versions, minima)),
        REFUNDS,
    )


SAMPLE_SQL = """
SELECT referral_id
FROM referral TABLESAMPLE SYSTEM (least(100, 100.0 * $1 / greatest(1, (SELECT count(*) FROM referral))))
WHERE state = ANY($2::text[]) AND (reason IS NULL OR reason = ANY($3::text[]))
LIMIT $1
"""


async def sample(connection: Connection, count: int) -> list[UUID]:
    """The ids of about `count` referrals that the rules can read; of all if there are fewer."""
    rows = await connection.fetch(SAMPLE_SQL, count, list(State), list(Ground))
    return [row["referral_id"] for row in rows]
