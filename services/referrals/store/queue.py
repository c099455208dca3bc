"""The review queue: referrals by score, and what is known of an advocate's other referrals."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from services.referrals.rules.describing import Others
from services.referrals.rules.referral import State
from shared.postgres.pool import Connection

MOST_COUNTED: Final = 1_000
"""Of an advocate's referrals the newest so many are counted."""


class Place(NamedTuple):
    """A place in the queue."""

    score: int
    referral_id: UUID


_TOP: Final = Place(2**31 - 1, UUID(int=2**128 - 1))
"""Above every referral."""

# What has fallen due by now is not in its state any more, swept or not.
PAGE_OF_STATE_SQL = """
SELECT score, referral_id
FROM referral
WHERE state = $1 AND (score, referral_id) < ($2, $3) AND (next_at IS NULL OR next_at > $4)
ORDER BY score DESC, referral_id DESC
LIMIT $5
"""


async def page_of_state(
    connection: Connection, state: State, before: Place | None, now: datetime, limit: int
) -> Sequence[Place]:
    """Places of referrals in a state below a place, highest score first."""
    return [Place(*row) for row in await connection.fetch(PAGE_OF_STATE_SQL, state, *(before or _TOP), now, limit)]


PAGE_SQL = """
SELECT score, referral_id
FROM referral
WHERE (score, referral_id) < ($1, $2)
ORDER BY score DESC, referral_id DESC
LIMIT $3
"""


async def page(connection: Connection, before: Place | None, limit: int) -> Sequence[Place]:
    """Places of referrals below a place, highest score first."""
    return [Place(*row) for row in await connection.fetch(PAGE_SQL, *(before or _TOP), limit)]


OTHERS_SQL = """
SELECT count(*), count(*) FILTER (WHERE state = 'approved'), count(*) FILTER (WHERE state = 'voided'),
       count(*) FILTER (WHERE state = 'rejected' AND reason = 'fraud'),
       count(*) FILTER (WHERE state = 'rejected' AND reason = 'decision')
FROM (
    SELECT state, reason FROM referral
    WHERE advocate_id = $1 AND referral_id <> $2
    ORDER BY number DESC
    LIMIT $3
) AS newest
"""


async def count_others(connection: Connection, advocate_id: str, without: UUID) -> Others:
    """What became of an advocate's other referrals, the newest 1,000 of them."""
    row = await connection.fetchrow(OTHERS_SQL, advocate_id, without, MOST_COUNTED)
    assert row is not None, "an aggregate has a row"
    return Others(*row)
