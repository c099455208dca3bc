"""A past of sign-ups, stored as the worker stores them, and drafts that are replayed over it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from services.referrals.handlers import replaying
from services.referrals.rules.evidence.keys import EvidenceKey
from services.referrals.store import sign_ups
from services.referrals.store.replays import Replay
from services.referrals.store.sign_ups import Trace
from shared.postgres.pool import Pool
from shared.programs import store
from shared.programs.drafting import Author
from shared.programs.kind import Key, dump
from shared.programs.store import Publication, Version
from tests.referrals import programs
from tests.referrals.evidence.told import KEY, referral_of
from tests.referrals.shop import at

PROGRAM = Key("referral_program")
DOCUMENT: Mapping[str, Any] = programs.MINIMAL


class SignUp(NamedTuple):
    """A sign-up of the past with the code of an advocate, and what became of it."""

    friend: str
    advocate: str = "ada"
    hours: float = 0
    mark: int | None = 0
    state: str = "signed_up"
    reason: str | None = None
    signals: Sequence[Mapping[str, Any]] = ()
    order: tuple[str, str] | None = None
    points: tuple[int, int] = (500, 200)
    has_bought: bool = False
    was_referred: bool = False
    was_flagged: bool = False

    @property
    def id(self) -> UUID:
        """The id of the referral."""
        return referral_of(self.friend, self.advocate.upper())


ADD_SQL = """
INSERT INTO referral (referral_id, advocate_id, friend_id, code, program_version, state, reason, signed_up_at, order_id,
                      qualified_at, due_at, approved_at, closed_at, advocate_points, friend_points, signals, score,
                      has_bought, was_referred, next_at, flagged_at, recorded_at)
VALUES ($1, $2, $3, upper($2), 1, $4, $5, $6, $7, $8, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $6)
"""

STEP_SQL = """
INSERT INTO referral_step (referral_id, at, recorded_at, state, actor) VALUES ($1, $2, $2, 'flagged', 'system')
"""

ORDER_SQL = """
INSERT INTO purchase (customer_id, order_id, source, purchased_at, currency, total)
VALUES ($1, $2, '/shop', $3, $4, $5::text::numeric)
"""


async def store_all(pool: Pool, sign_ups_: Sequence[SignUp]) -> None:
    """Store sign-ups, in the order of handling."""
    for sign_up in sign_ups_:
        await _store(pool, sign_up)


async def _store(pool: Pool, sign_up: SignUp) -> None:
    time = at(sign_up.hours)
    is_paid, is_closed = sign_up.state in {"approved", "voided"}, sign_up.state in {"rejected", "voided", "expired"}
    is_open = sign_up.state in {"signed_up", "qualified", "flagged"}
    bought = time if sign_up.order else None
    order_id = f"order of {sign_up.friend}" if sign_up.order else None
    points = sign_up.points if is_paid else (None, None)
    await pool.execute(
        ADD_SQL,
        *(sign_up.id, sign_up.advocate, sign_up.friend, sign_up.state, sign_up.reason, time, order_id, bought),
        *(time if is_paid else None, time if is_closed else None, *points, list(sign_up.signals)),
        *(sum(signal["weight"] for signal in sign_up.signals), sign_up.has_bought, sign_up.was_referred),
        *(time + timedelta(days=30) if is_open else None, time if sign_up.state == "flagged" else None),
    )
    if sign_up.order:
        await pool.execute(ORDER_SQL, sign_up.friend, order_id, bought, *reversed(sign_up.order))
    if sign_up.was_flagged:
        await pool.execute(STEP_SQL, sign_up.id, time)
    if sign_up.mark is not None:
        trace = Trace(
            *(sign_up.id, sign_up.mark, sign_up.friend, sign_up.advocate, sign_up.advocate.upper(), time, None, None)
        )
        async with pool.acquire() as connection:
            await sign_ups.add(connection, [trace])


async def draft(pool: Pool, *signals: Mapping[str, Any], **fields: Any) -> Version:
    """Store a draft with these signals."""
    document = programs.parse({**DOCUMENT, "signals": list(signals), **fields})
    async with pool.acquire() as connection, connection.transaction():
        return await store.insert(connection, PROGRAM, dump(document), at(0), "tests")


async def rewrite(pool: Pool, version: int, **fields: Any) -> None:
    """Replace the document of a draft."""
    document = programs.parse({**DOCUMENT, **fields})
    async with pool.acquire() as connection, connection.transaction():
        await store.update(connection, PROGRAM, version, dump(document), "tests")


async def start(pool: Pool, version: Version, now: datetime, days: int = 90) -> Replay:
    """Store a replay for the job."""
    async with pool.acquire() as connection, connection.transaction():
        return await replaying.start(connection, version, days, Author("tests", now))


async def find(pool: Pool, replay: Replay) -> Replay:
    """A replay as it is now."""
    found = await replaying.find(pool, replay.id)
    assert found is not None
    return found


async def replayed(
    pool: Pool,
    *signals: Mapping[str, Any],
    now: datetime,
    days: int = 90,
    key: EvidenceKey | None = KEY,
    **fields: Any,
) -> Mapping[str, Any]:
    """The result of replaying a draft with these signals."""
    started = await start(pool, await draft(pool, *signals, **fields), now, days)
    await replaying.run_replays(pool, now, key)
    found = await find(pool, started)
    assert found.result is not None, found.failure
    return found.result


async def publish(pool: Pool, version: Version, moment: datetime) -> None:
    """Publish a draft, in force from an instant on."""
    async with pool.acquire() as connection, connection.transaction():
        await store.publish(connection, PROGRAM, version.version, Publication(moment, moment, "tests"))
