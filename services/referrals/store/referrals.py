"""Referrals: those of friends, and the list of an advocate."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.referrals.rules.referral import Ground, Referral, State
from shared.postgres.pool import Connection, Pool

LOAD_STANDING_SQL = """
SELECT referral_id, advocate_id, friend_id, code, program_version, state, reason, signed_up_at,
       order_id, qualified_at, approved_at, closed_at, advocate_points, friend_points, kept
FROM referral
WHERE friend_id = ANY($1::text[]) AND state <> 'rejected'
"""


async def load_standing(connection: Connection, friends: Collection[str]) -> dict[str, Referral]:
    """The standing (not rejected) referrals of friends, of which each has at most one, by friend."""
    rows = await connection.fetch(LOAD_STANDING_SQL, friends)
    return {row["friend_id"]: _referral(row) for row in rows}


LOAD_REFERRED_SQL = """
SELECT friend_id
FROM unnest($1::text[]) AS asked (friend_id)
WHERE EXISTS (
    SELECT FROM referral WHERE referral.friend_id = asked.friend_id AND advocate_id <> referral.friend_id
)
"""


async def load_referred(connection: Connection, friends: Collection[str]) -> frozenset[str]:
    """Those of the customers who signed up with another customer's code, whatever became of the referral."""
    return frozenset(row["friend_id"] for row in await connection.fetch(LOAD_REFERRED_SQL, friends))


LOAD_RECORDED_SQL = "SELECT referral_id FROM referral WHERE referral_id = ANY($1::uuid[])"


async def load_recorded(connection: Connection, ids: Collection[UUID]) -> frozenset[UUID]:
    """Those of the referrals that are recorded."""
    return frozenset(row["referral_id"] for row in await connection.fetch(LOAD_RECORDED_SQL, ids))


READ_SQL = """
SELECT referral_id, advocate_id, friend_id, code, program_version, state, reason, signed_up_at,
       order_id, qualified_at, approved_at, closed_at, advocate_points, friend_points, kept,
       EXISTS (
           SELECT FROM referral AS earlier
           WHERE earlier.friend_id = referral.friend_id AND earlier.number < referral.number
             AND earlier.advocate_id <> earlier.friend_id
       ) AS referred
FROM referral
WHERE referral_id = ANY($1::uuid[])
"""


async def read(connection: Connection, ids: Collection[UUID]) -> list[tuple[Referral, bool]]:
    """Referrals, each with whether another customer had referred the friend before."""
    return [(_referral(row), row["referred"]) for row in await connection.fetch(READ_SQL, ids)]


SAVE_SQL = """
INSERT INTO referral (referral_id, advocate_id, friend_id, code, program_version, state, reason, signed_up_at,
                      order_id, qualified_at, approved_at, closed_at, advocate_points, friend_points, kept, recorded_at)
SELECT *, $16
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[], $7::text[], $8::timestamptz[],
            $9::text[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::int[], $14::int[],
            $15::json[])
ON CONFLICT (referral_id) DO UPDATE SET
    state = excluded.state,
    reason = excluded.reason,
    order_id = excluded.order_id,
    qualified_at = excluded.qualified_at,
    approved_at = excluded.approved_at,
    closed_at = excluded.closed_at,
    advocate_points = excluded.advocate_points,
    friend_points = excluded.friend_points,
    kept = excluded.kept
"""


async def save(connection: Connection, referrals: Collection[Referral], now: datetime) -> None:
    """Write referrals; new ones get their number in this order."""
    if referrals:
        await connection.execute(SAVE_SQL, *zip(*map(_row, referrals), strict=True), now)


def _row(referral: Referral) -> tuple[Any, ...]:
    return (
        referral.referral_id,
        referral.advocate_id,
        referral.friend_id,
        referral.code,
        referral.program_version,
        referral.state,
        referral.reason,
        referral.signed_up_at,
        referral.order_id,
        referral.qualified_at,
        referral.approved_at,
        referral.closed_at,
        referral.advocate_points,
        referral.friend_points,
        referral.kept,
    )


def _referral(row: Mapping[str, Any]) -> Referral:
    return Referral(
        referral_id=row["referral_id"],
        advocate_id=row["advocate_id"],
        friend_id=row["friend_id"],
        code=row["code"],
        program_version=row["program_version"],
        state=State(row["state"]),
        signed_up_at=row["signed_up_at"],
        reason=Ground(row["reason"]) if row["reason"] else None,
        order_id=row["order_id"],
        qualified_at=row["qualified_at"],
        approved_at=row["approved_at"],
        closed_at=row["closed_at"],
        advocate_points=row["advocate_points"],
        friend_points=row["friend_points"],
        kept=row["kept"],
    )


@dataclass(frozen=True, slots=True)
class Listed:
    """A referral in its advocate's list; newer referrals have higher numbers."""

    number: int
    referral: Referral


LIST_SQL = """
SELECT number, referral_id, advocate_id, friend_id, code, program_version, state, reason, signed_up_at,
       order_id, qualified_at, approved_at, closed_at, advocate_points, friend_points, kept
FROM referral
WHERE advocate_id = $1 AND number < $2
ORDER BY number DESC
LIMIT $3
"""


async def list_of(pool: Pool, advocate_id: str, before: int, limit: int) -> Sequence[Listed]:
    """Up to `limit` referrals of an advocate with a number below `before`, newest first."""
    rows = await pool.fetch(LIST_SQL, advocate_id, before, limit)
    return [Listed(row["number"], _referral(row)) for row in rows]
