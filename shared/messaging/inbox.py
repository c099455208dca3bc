"""The inbox: an event (customer, source, id) has its effect once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final
from uuid import UUID

from shared.contracts.envelope import Event
from shared.postgres.ids import id_of
from shared.postgres.pool import Connection, Pool

REMEMBERED: Final = timedelta(days=90)


def digest(event: Event) -> UUID:
    """The event's name: 128 bits of BLAKE2b over customer, source and id (none of which holds NUL)."""
    return id_of(_name(event))


def _name(event: Event) -> bytes:
    """The same as bytes, which are hashed and sorted at a third of the cost."""
    name = f"{event.customer_id}\x00{event.source}\x00{event.id}"
    return blake2b(name.encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim found: events that are new, and those that repeat one of the same call."""

    fresh: list[Event]
    repeats: list[Event]
    known: int


# It answers with what was known, which is next to nothing: 500 new names would cost as much to read as to make.
CLAIM_SQL = """
WITH entered AS (
    INSERT INTO inbox (digest) SELECT * FROM unnest($1::uuid[]) ON CONFLICT (digest) DO NOTHING RETURNING digest
)
SELECT digest FROM unnest($1::uuid[]) AS claimed (digest) EXCEPT SELECT digest FROM entered
"""


async def claim(connection: Connection, events: Sequence[Event]) -> Claimed:
    """Enter the events in the inbox; those that were there before are known and dropped."""
    first: dict[bytes, Event] = {}
    repeats = [event for event in events if first.setdefault(_name(event), event) is not event]
    if not first:
        return Claimed([], [], 0)
    # Sorted, so that two transactions with the same events wait for each other instead of deadlocking.
    rows = await connection.fetch(CLAIM_SQL, list(map(id_of, sorted(first))))
    known = {row["digest"].bytes for row in rows}
    fresh = [event for name, event in first.items() if name not in known]
    # What repeats an event that was known before is known too.
    open_repeats = [event for event in repeats if _name(event) not in known]
    return Claimed(fresh, open_repeats, len(known) + len(repeats) - len(open_repeats))


RELEASE_SQL = "DELETE FROM inbox WHERE digest = ANY($1::uuid[])"


async def release(connection: Connection, events: Iterable[Event]) -> set[UUID]:
    """Forget events that were refused, so that a replay has its effect; returns their names."""
    names = {digest(event) for event in events}
    if names:
        await connection.execute(RELEASE_SQL, list(names))
    return names


FORGET_SQL = "DELETE FROM inbox WHERE received_on < $1::date"


async def forget(pool: Pool, now: datetime) -> None:
    """The job that drops names older than they have to be remembered."""
    await pool.execute(FORGET_SQL, (now - REMEMBERED).date())
