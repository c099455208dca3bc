"""Checks of the stored state against itself: each statement finds offenders, of which there should be none."""

from collections.abc import Collection, Sequence

from services.referrals.rules.codes.code import LENGTH, OLD_LENGTH, OLD_SYMBOLS, SYMBOLS
from services.referrals.rules.program.compiled import Program
from services.referrals.store.purchases import least_totals
from shared.postgres.checks import Query
from shared.postgres.orders import REFUNDS

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
HAVING count(*) FILTER (WHERE state NOT IN ('rejected', 'expired')) > 1 OR count(approved_at) > 1
LIMIT $1
"""

STATES_SQL = """
SELECT referral_id::text AS id
FROM referral
WHERE NOT coalesce(CASE state
    WHEN 'signed_up' THEN num_nonnulls(order_id, approved_at) = 0
    WHEN 'expired' THEN num_nonnulls(order_id, approved_at) = 0 AND signed_up_at <= closed_at
    WHEN 'qualified' THEN approved_at IS NULL
    WHEN 'flagged' THEN approved_at IS NULL AND qualified_at <= flagged_at
    WHEN 'rejected' THEN approved_at IS NULL AND signed_up_at <= closed_at
                         AND reason IN ('fraud', 'refunded', 'undecided', 'decision')
    WHEN 'approved' THEN due_at <= approved_at
    WHEN 'voided' THEN qualified_at <= closed_at AND reason = 'refunded'
END, false)
   OR signed_up_at > qualified_at OR qualified_at > due_at
   OR num_nonnulls(approved_at, advocate_points, friend_points) NOT IN (0, 3)
LIMIT $1
"""

QUALIFIED_SQL = """
SELECT referral_id::text AS id
FROM referral
LEFT JOIN unnest($2::int[], $3::json[], $4::interval[]) AS program (version, least, within)
    ON program.version = program_version
LEFT JOIN purchase ON purchase.customer_id = friend_id AND purchase.order_id = referral.order_id
WHERE (referral.order_id IS NOT NULL OR referral.state IN ('qualified', 'flagged', 'approved', 'voided'))
  AND NOT coalesce(
      total >= (least ->> currency)::numeric
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
WHERE approved_at IS NOT NULL AND NOT coalesce(
    CASE WHEN reason = 'cap' OR state = 'voided'
         THEN advocate_points - milestone_points <= of_advocate AND friend_points <= of_friend
         ELSE (advocate_points - milestone_points, friend_points) = (of_advocate, of_friend) END,
    false)
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
JOIN unnest($2::int[], $3::json[], $4::interval[]) AS program (version, least, within)
    ON program.version = program_version
JOIN purchase ON purchase.customer_id = friend_id AND purchase.order_id = referral.order_id
LEFT JOIN returned ON returned.customer_id = friend_id AND returned.order_id = referral.order_id
WHERE CASE
    WHEN referral.reason = 'refunded' THEN total - coalesce(returned.amount, 0) >= (least ->> currency)::numeric
    WHEN referral.state = 'rejected' THEN false
    ELSE total - returned.amount < (least ->> currency)::numeric AND NOT (by_line AND purchase.lines IS NOT NULL)
END
LIMIT $1
"""

ACCOUNTS_SQL = """
SELECT coalesce(advocate.customer_id, own.advocate_id) AS id
FROM advocate
FULL JOIN (
    SELECT advocate_id, count(*) FILTER (WHERE state = 'approved') AS approved,
           count(*) FILTER (WHERE advocate_points > milestone_points) AS rewards,
           sum(advocate_points - milestone_points) AS points
    FROM referral
    WHERE approved_at IS NOT NULL
    GROUP BY advocate_id
) AS own ON own.advocate_id = advocate.customer_id
WHERE (coalesce(advocate.approved, 0), coalesce(advocate.rewards, 0), coalesce(advocate.points, 0))
      <> (coalesce(own.approved, 0), coalesce(own.rewards, 0), coalesce(own.points, 0))
LIMIT $1
"""


def queries(programs: Collection[Program]) -> Sequence[Query]:
    """The checks; `programs` are the published versions."""
    versions = [program.version for program in programs]
    least = [least_totals(program) for program in programs]
    counting = (versions, least, [program.within for program in programs])
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
        Query("each qualified referral has an order that qualifies it", QUALIFIED_SQL, counting),
        Query("the points = those of the program, for approved referrals", PAID_SQL, (versions, *points)),
        Query("voided or rejected for refunds = too little is kept of the order", VOIDED_SQL, counting),
        Query("accounts of advocates = sums of their referrals", ACCOUNTS_SQL),
        REFUNDS,
    )
