"""Replays of drafts: their state and result, and the sign-ups that they judge."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from shared.postgres import slices
from shared.postgres.ids import new_id
from shared.postgres.pool import Connection, Pool
from shared.postgres.slices import Slice

KEPT_FOR: Final = timedelta(days=90)

_MOST_FORGOTTEN: Final = 10


class Wanted(NamedTuple):
    """What is replayed: a revision of a draft, over the sign-ups of some days, `since` an instant."""

    version: int
    revision: int
    days: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay, with its result once it is done; `failure` says why there is none."""

    id: UUID
    wanted: Wanted
    created_at: datetime
    state: Literal["running", "done", "failed"]
    result: Mapping[str, Any] | None
    failure: str | None


ADD_SQL = """
INSERT INTO replay (id, version, revision, days, since, created_at, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7)
"""


async def add(connection: Connection, wanted: Wanted, now: datetime, principal: str) -> Replay:
    """Store a replay for the job to run."""
    id_ = new_id()
    await connection.execute(ADD_SQL, id_, *wanted, now, principal)
    return Replay(id_, wanted, now, "running", None, None)


COUNT_RUNNING_SQL = """
SELECT count(*) FROM replay WHERE state = 'running'
"""


async def count_running(connection: Connection) -> int:
    """The number of replays that are not over."""
    return int(await connection.fetchval(COUNT_RUNNING_SQL) or 0)


async def count(pool: Pool) -> int:
    """The number of replays that are not over."""
    async with pool.acquire() as connection:
        return await count_running(connection)


FIND_SQL = """
SELECT id, version, revision, days, since, created_at, state, result, failure FROM replay WHERE id = $1
"""


async def find(pool: Pool, replay_id: UUID) -> Replay | None:
    """A replay by its id."""
    row = await pool.fetchrow(FIND_SQL, replay_id)
    return None if row is None else _replay(row)


NEXT_SQL = """
SELECT id, version, revision, days, since, created_at, state, result, failure
FROM replay
WHERE state = 'running' AND id <> ALL($1::uuid[])
ORDER BY created_at, id
LIMIT 1
"""


async def next_running(pool: Pool, without: Collection[UUID]) -> Replay | None:
    """The oldest running replay besides some."""
    row = await pool.fetchrow(NEXT_SQL, list(without))
    return None if row is None else _replay(row)


LOCK_SQL = """
SELECT state FROM replay WHERE id = $1 FOR UPDATE
"""


async def lock(connection: Connection, replay_id: UUID) -> bool:
    """Lock a replay until the transaction ends; returns whether it is still running."""
    return await connection.fetchval(LOCK_SQL, replay_id) == "running"


END_SQL = """
UPDATE replay SET state = $2, result = $3, failure = $4, finished_at = clock_timestamp()
WHERE id = $1 AND state = 'running'
"""


async def end(connection: Connection, replay_id: UUID, result: Mapping[str, Any] | str) -> None:
    """End a running replay with its result, or with the reason why there is none; its slices are deleted."""
    is_failure = isinstance(result, str)
    found, failure = (None, result) if is_failure else (result, None)
    await connection.execute(END_SQL, replay_id, "failed" if is_failure else "done", found, failure)
    await slices.forget(connection, [replay_id])


FORGET_SQL = """
DELETE FROM replay
WHERE id = ANY(ARRAY(
    SELECT id FROM replay WHERE created_at < $1 AND state <> 'running' ORDER BY created_at LIMIT $2
))
RETURNING id
"""


async def forget(pool: Pool, now: datetime) -> None:
    """Job: delete replays that ended long ago."""
    deleted = _MOST_FORGOTTEN
    while deleted == _MOST_FORGOTTEN:
        deleted = len(await pool.fetch(FORGET_SQL, now - KEPT_FOR, _MOST_FORGOTTEN))


BOUNDS_SQL = """
SELECT signed_up_at, number
FROM (
    SELECT signed_up_at, number, row_number() OVER (ORDER BY signed_up_at, number) AS place
    FROM referral
    WHERE signed_up_at BETWEEN $1 AND $2
) AS placed
WHERE place % $3::bigint = 0
ORDER BY signed_up_at, number
"""


async def cut(connection: Connection, replay: Replay, sign_ups: int) -> None:
    """Cut the sign-ups of a replay into slices of so many each. The caller holds a lock of the replay."""
    since, until = replay.wanted.since, replay.created_at
    places = [_Place(*row) for row in await connection.fetch(BOUNDS_SQL, since, until, sign_ups)]
    bounds = [_Place(since, 0), *places, _Place(until, _LAST)]
    texts = [f"{place.signed_up_at.isoformat()} {place.number}" for place in bounds]
    await slices.add(connection, replay.id, list(pairwise(texts)))


class _Place(NamedTuple):
    """The place of a sign-up among all."""

    signed_up_at: datetime
    number: int

    @classmethod
    def of(cls, text: str) -> "_Place":
        at, _, number = text.partition(" ")
        return cls(datetime.fromisoformat(at), int(number))


_LAST: Final = 2**63 - 1


class Row(NamedTuple):
    """A sign-up of the past, with what became of it; `mark` is its place in the order of handling, if that is known."""

    referral_id: UUID
    friend_id: str
    advocate_id: str
    code: str
    signed_up_at: datetime
    program_version: int
    state: str
    reason: str | None
    signals: Sequence[Mapping[str, Any]] | None
    has_bought: bool
    was_referred: bool
    paid: int
    mark: int | None
    total: str | None
    currency: str | None
    was_flagged: bool
    is_standing: bool


# is_standing: an earlier referral of the friend that was not rejected, and not expired when this one came.
LOAD_SQL = """
SELECT referral_id, referral.friend_id, referral.advocate_id, referral.code, referral.signed_up_at, program_version,
       state, reason, signals, has_bought, was_referred,
       CASE WHEN state = 'approved' THEN advocate_points + friend_points ELSE 0 END AS paid,
       mark, total::text AS total, currency,
       coalesce(was_flagged, false) AS was_flagged,
       state = 'rejected' AND EXISTS (
           SELECT FROM referral AS other
           WHERE other.friend_id = referral.friend_id AND other.number < referral.number
             AND other.state <> 'rejected' AND other.advocate_id <> other.friend_id
             AND (other.state <> 'expired' OR other.closed_at > referral.signed_up_at)
       ) AS is_standing
FROM referral
LEFT JOIN sign_up_trace USING (referral_id)
LEFT JOIN purchase ON purchase.customer_id = referral.friend_id AND purchase.order_id = referral.order_id
LEFT JOIN LATERAL (
    SELECT true AS was_flagged FROM referral_step
    WHERE referral_step.referral_id = referral.referral_id AND referral_step.state = 'flagged'
    LIMIT 1
) AS flagged ON true
WHERE (referral.signed_up_at, number) > ($1, $2) AND (referral.signed_up_at, number) <= ($3, $4)
ORDER BY referral.signed_up_at, number
"""


async def load(connection: Connection, part: Slice) -> list[Row]:
    """The sign-ups of a slice, in their order."""
    assert part.until_id is not None, "a replay ends where it was started"
    rows = await connection.fetch(LOAD_SQL, *_Place.of(part.after_id), *_Place.of(part.until_id))
    return [Row(*row) for row in rows]


def _replay(row: Any) -> Replay:  # noqa: ANN401 asyncpg's Record has no types
    id_, version, revision, days, since, created_at, state, result, failure = row
    return Replay(id_, Wanted(version, revision, days, since), created_at, state, result, failure)
