"""Referrals: those of friends, those that fall due, and the list of an advocate."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from services.referrals.rules.referral import Counted, Ground, Referral, Signal, State
from shared.contracts.envelope import Cause
from shared.postgres.pool import Connection, Pool

_ENCODER: Final = msgspec.json.Encoder()

OF_FRIEND: Final = 3
"""How many referrals of a friend are read that were not rejected: the one that stands first, then the newest."""


class AtHand(NamedTuple):
    """The referrals of friends that were not rejected, by friend, and the owners of codes, by the codes' keys.

    Of a friend come the referral that stands, then the newest, at most OF_FRIEND. Codes that nobody has are absent.
    `is_due` says whether any of these referrals, or of locked advocates, has fallen due.
    """

    by_friend: dict[str, list[Referral]]
    owners: dict[str, str]
    is_due: bool


# Of the customers who only bought, most have neither a referral of their own nor one that falls due. The owners of
# codes are rows of their own: a statement of their own would be a round trip more.
LOAD_AT_HAND_SQL = """
SELECT own.*, NULL AS key, NULL AS owner_id
FROM (SELECT DISTINCT friend_id FROM referral WHERE friend_id = ANY($1::text[]) AND state <> 'rejected') AS friend
CROSS JOIN LATERAL (
    SELECT * FROM referral
    WHERE friend_id = friend.friend_id AND state <> 'rejected'
    ORDER BY (state = 'expired'), number DESC
    LIMIT $4
) AS own
UNION ALL
(SELECT referral.*, NULL, NULL FROM referral WHERE advocate_id = ANY($2::text[]) AND next_at <= $3 LIMIT 1)
UNION ALL
SELECT (NULL::referral).*, coalesce(key, code), customer_id
FROM referral_code
WHERE coalesce(key, code) = ANY($5::text[])
"""


async def load_at_hand(
    connection: Connection, friends: Collection[str], locked: Collection[str], keys: Collection[str], now: datetime
) -> AtHand:
    """What is stored of friends, of locked advocates, and of codes with these keys."""
    by_friend: dict[str, list[Referral]] = {}
    owners: dict[str, str] = {}
    is_due = False
    asked = set(friends)
    seen: set[UUID] = set()
    for row in await connection.fetch(LOAD_AT_HAND_SQL, list(friends), list(locked), now, OF_FRIEND, list(keys)):
        if row["key"] is not None:
            owners[row["key"]] = row["owner_id"]
            continue
        referral = _referral(row)
        is_due = is_due or (referral.next_at is not None and referral.next_at <= now)
        if referral.friend_id in asked and referral.referral_id not in seen:
            seen.add(referral.referral_id)
            by_friend.setdefault(referral.friend_id, []).append(referral)
    return AtHand(by_friend, owners, is_due)


LOAD_DUE_SQL = """
SELECT *
FROM (
    SELECT due.*
    FROM unnest($1::text[]) AS advocate (customer_id)
    CROSS JOIN LATERAL (
        SELECT * FROM referral
        WHERE advocate_id = advocate.customer_id AND next_at <= $3
        ORDER BY next_at, number
        LIMIT $4
    ) AS due
    UNION ALL
    SELECT * FROM referral
    WHERE friend_id = ANY($2::text[]) AND state NOT IN ('rejected', 'expired') AND next_at <= $3
) AS due
ORDER BY next_at, number
LIMIT $4
"""


async def load_due(
    connection: Connection, advocates: Collection[str], friends: Collection[str], now: datetime, limit: int
) -> list[Referral]:
    """The referrals of locked advocates and of friends that have fallen due, in the order of (instant, recording)."""
    rows = await connection.fetch(LOAD_DUE_SQL, list(advocates), list(friends), now, limit)
    # One whose sides are both among the customers comes twice.
    return list({row["referral_id"]: _referral(row) for row in rows}.values())


DUE_ADVOCATES_SQL = """
SELECT DISTINCT advocate_id
FROM (
    SELECT advocate_id FROM referral
    WHERE next_at <= $1 AND advocate_id <> ALL($2::text[])
    ORDER BY next_at
    LIMIT $3
) AS due
"""


async def due_advocates(connection: Connection, now: datetime, without: Collection[str], limit: int) -> list[str]:
    """Advocates of whom a referral has fallen due, those of the earliest ones."""
    return [row["advocate_id"] for row in await connection.fetch(DUE_ADVOCATES_SQL, now, list(without), limit)]


LOAD_EARLIER_SQL = """
SELECT friend_id, code,
       EXISTS (
           SELECT FROM referral WHERE referral.friend_id = asked.friend_id AND referral.code = asked.code
       ) AS is_recorded,
       EXISTS (
           SELECT FROM referral
           WHERE referral.friend_id = asked.friend_id AND state = 'rejected' AND advocate_id <> referral.friend_id
       ) AS was_rejected
FROM unnest($1::text[], $2::text[]) AS asked (friend_id, code)
"""


async def load_earlier(
    connection: Connection, sign_ups: Collection[tuple[str, str]]
) -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    """Those of the sign-ups, by friend and code, that are recorded; and those of the friends of the others of whom a
    referral by another customer was rejected.
    """
    if not sign_ups:
        return frozenset(), frozenset()
    friends, codes = zip(*sign_ups, strict=True)
    rows = await connection.fetch(LOAD_EARLIER_SQL, list(friends), list(codes))
    recorded = frozenset((row["friend_id"], row["code"]) for row in rows if row["is_recorded"])
    return recorded, frozenset(row["friend_id"] for row in rows if row["was_rejected"] and not row["is_recorded"])


READ_SQL = "SELECT * FROM referral WHERE referral_id = ANY($1::uuid[])"


async def read(connection: Connection, ids: Collection[UUID]) -> dict[UUID, Referral]:
    """Those of the referrals that exist, by id."""
    rows = await connection.fetch(READ_SQL, list(ids))
    return {row["referral_id"]: _referral(row) for row in rows}


SAVE_SQL = """
INSERT INTO referral (
    referral_id, advocate_id, friend_id, code, program_version, state, reason, signed_up_at, order_id, qualified_at,
    due_at, flagged_at, approved_at, closed_at, next_at, advocate_points, friend_points, milestone_points, milestones,
    signals, score, is_cleared, has_bought, was_referred, counted, kept, correlation_id, causation_id, recorded_at
)
SELECT referral_id, advocate_id, friend_id, code, program_version, state, reason, signed_up_at, order_id, qualified_at,
       due_at, flagged_at, approved_at, closed_at, next_at, advocate_points, friend_points, milestone_points,
       milestones::int[], signals::json, score, is_cleared, has_bought, was_referred, counted::json, kept,
       correlation_id, causation_id, $1
FROM unnest(
    $2::uuid[], $3::text[], $4::text[], $5::text[], $6::int[], $7::text[], $8::text[], $9::timestamptz[], $10::text[],
    $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::timestamptz[], $15::timestamptz[],
    $16::timestamptz[], $17::int[], $18::int[], $19::int[], $20::text[], $21::text[], $22::int[], $23::boolean[],
    $24::boolean[], $25::boolean[], $26::text[], $27::json[], $28::text[], $29::text[]
) AS new (
    referral_id, advocate_id, friend_id, code, program_version, state, reason, signed_up_at, order_id, qualified_at,
    due_at, flagged_at, approved_at, closed_at, next_at, advocate_points, friend_points, milestone_points, milestones,
    signals, score, is_cleared, has_bought, was_referred, counted, kept, correlation_id, causation_id
)
ON CONFLICT (referral_id) DO UPDATE SET
    state = excluded.state,
    reason = excluded.reason,
    order_id = excluded.order_id,
    qualified_at = excluded.qualified_at,
    due_at = excluded.due_at,
    flagged_at = excluded.flagged_at,
    approved_at = excluded.approved_at,
    closed_at = excluded.closed_at,
    next_at = excluded.next_at,
    advocate_points = excluded.advocate_points,
    friend_points = excluded.friend_points,
    milestone_points = excluded.milestone_points,
    milestones = excluded.milestones,
    signals = excluded.signals,
    score = excluded.score,
    is_cleared = excluded.is_cleared,
    has_bought = excluded.has_bought,
    was_referred = excluded.was_referred,
    counted = excluded.counted,
    kept = excluded.kept,
    correlation_id = excluded.correlation_id,
    causation_id = excluded.causation_id
"""


async def save(connection: Connection, referrals: Collection[Referral], now: datetime) -> None:
    """Write referrals; new ones get their number in this order.

    A friend's referral that stands no more comes before another one that stands since.
    """
    if referrals:
        await connection.execute(SAVE_SQL, now, *zip(*map(_row, referrals), strict=True))


def _row(referral: Referral) -> tuple[Any, ...]:
    cause = referral.cause
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
        referral.due_at,
        referral.flagged_at,
        referral.approved_at,
        referral.closed_at,
        referral.next_at,
        referral.advocate_points,
        referral.friend_points,
        referral.milestone_points,
        "{" + ",".join(map(str, referral.milestones)) + "}",
        _to_json(referral.signals and [signal._asdict() for signal in referral.signals]),
        referral.score,
        referral.is_cleared,
        referral.has_bought,
        referral.was_referred,
        _to_json(referral.counted),
        referral.kept,
        cause and cause.correlation_id,
        cause and cause.causation_id,
    )


def _to_json(values: Sequence[Any]) -> str | None:
    """Values as JSON; None where there are none."""
    return _ENCODER.encode(values).decode() if values else None


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
        due_at=row["due_at"],
        flagged_at=row["flagged_at"],
        approved_at=row["approved_at"],
        closed_at=row["closed_at"],
        next_at=row["next_at"],
        advocate_points=row["advocate_points"],
        friend_points=row["friend_points"],
        milestone_points=row["milestone_points"],
        milestones=tuple(row["milestones"]),
        signals=tuple(_signal(signal) for signal in row["signals"] or ()),
        is_cleared=row["is_cleared"],
        has_bought=row["has_bought"],
        was_referred=row["was_referred"],
        counted=tuple(Counted(datetime.fromisoformat(at), order_id) for at, order_id in row["counted"] or ()),
        number=row["number"],
        kept=row["kept"],
        cause=Cause(row["correlation_id"], row["causation_id"]) if row["causation_id"] else None,
    )


def _signal(stored: Mapping[str, Any]) -> Signal:
    return Signal(stored["id"], stored["action"], stored["weight"], datetime.fromisoformat(stored["at"]))


@dataclass(frozen=True, slots=True)
class Listed:
    """A referral in its advocate's list; newer referrals have higher numbers."""

    number: int
    referral: Referral


LIST_SQL = """
SELECT *
FROM referral
WHERE advocate_id = $1 AND number < $2
ORDER BY number DESC
LIMIT $3
"""


async def list_of(pool: Pool, advocate_id: str, before: int, limit: int) -> Sequence[Listed]:
    """Up to `limit` referrals of an advocate with a number below `before`, newest first."""
    rows = await pool.fetch(LIST_SQL, advocate_id, before, limit)
    return [Listed(row["number"], _referral(row)) for row in rows]
