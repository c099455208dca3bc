"""The inbox: each event (customer, source, id) is applied once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final
from uuid import UUID

from shared.contracts.envelope import Event
from shared.postgres.ids import id_of
from shared.postgres.pool import Connection, Pool

RETENTION: Final = timedelta(days=90)


def digest(event: Event) -> UUID:
    """128 bits of BLAKE2b over customer, source and id (none of which contains NUL)."""
    return id_of(_name(event))


def _name(event: Event) -> bytes:
    """The digest as bytes, which Python hashes and sorts at a third of the cost."""
    name = f"{event.customer_id}\x00{event.source}\x00{event.id}"
    return blake2b(name.encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Claimed:
    """New events, repeats of new events in the same call, and the number of events that were applied before."""

    fresh: list[Event]
    repeats: list[Event]
    applied: int


# It returns the digests that were there before, which are few: reading 500 new ones would cost as much as making them.
CLAIM_SQL = """
WITH entered AS (
    INSERT INTO inbox (digest) SELECT * FROM unnest($1::uuid[]) ON CONFLICT (digest) DO NOTHING RETURNING digest
)
SELECT digest FROM unnest($1::uuid[]) AS claimed (digest) EXCEPT SELECT digest FROM entered
"""


async def claim(connection: Connection, events: Sequence[Event]) -> Claimed:
    """Enter events in the inbox, and drop those that it had before."""
    first: dict[bytes, Event] = {}
    repeats = [event for event in events if first.setdefault(_name(event), event) is not event]
    if not first:
        return Claimed([], [], 0)
    # Sorted, so that two transactions with the same events wait for each other instead of deadlocking.
    rows = await connection.fetch(CLAIM_SQL, list(map(id_of, sorted(first))))
    applied = {row["digest"].bytes for row in rows}
    fresh = [event for name, event in first.items() if name not in applied]
    new_repeats = [event for event in repeats if _name(event) not in applied]
    return Claimed(fresh, new_repeats, len(applied) + len(repeats) - len(new_repeats))


RELEASE_SQL = "DELETE FROM inbox WHERE digest = ANY($1::uuid[])"


async def release(connection: Connection, events: Iterable[Event]) -> set[UUID]:
    """Remove refused events, so that a replay applies them; returns their digests."""
    digests = {digest(event) for event in events}
    if digests:
        await connection.execute(RELEASE_SQL, list(digests))
    return digests


FORGET_SQL = "DELETE FROM inbox WHERE received_on < $1::date"


async def forget(pool: Pool, now: datetime) -> None:
    """Job: delete digests at the end of their retention."""
    await pool.execute(FORGET_SQL, (now - RETENTION).date())
