"""The log of messages: why each was sent, held or skipped."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from services.notifications.rules.message import Reason, State
from shared.postgres.pool import Pool

LATEST: Final = 2**63 - 1
LAST_ID: Final = UUID(int=2**128 - 1)


class Logged(NamedTuple):
    """A message as the log shows it.

    `log` are its states in order: [{"at", "state", "reason"}], null until the first one changes. `unsent` are other
    channels of its step that were tried in vain when it was made: {channel: reason}.
    """

    number: int
    id: UUID
    customer_id: str
    trigger: str
    run_id: UUID | None
    template: str
    template_version: int
    channel: str
    locale: str
    state: State
    reason: Reason | None
    created_at: datetime
    log: Sequence[Mapping[str, Any]] | None
    unsent: Mapping[str, str] | None


class Filter(NamedTuple):
    """Which messages the log shows; null: all. `trigger` is the id of a journey."""

    customer_id: str | None = None
    trigger: str | None = None
    state: State | None = None
    reason: Reason | None = None


class Place(NamedTuple):
    """A place in the log: that of a message."""

    number: int = LATEST
    id: UUID = LAST_ID


_REASONED: Final = (State.HELD, State.SKIPPED, State.FAILED)
"""The states that have a reason."""


async def page(pool: Pool, wanted: Filter, before: Place, limit: int) -> list[Logged]:
    """The messages that a filter lets through, newest first, from before a place on."""
    if wanted.customer_id is not None:
        find = _of_customer
    elif wanted.reason is not None or wanted.state not in {None, State.SENT}:
        find = _unsent
    else:
        find = _all if wanted.trigger is None else _of_journey
    return await load(pool, [row["id"] for row in await find(pool, wanted, before, limit)])


OF_CUSTOMER_SQL = """
SELECT id
FROM message
WHERE customer_id = $6 AND number < $1 AND ($3::text IS NULL OR trigger = $3)
  AND ($4::text IS NULL OR state = $4)
  AND ($5::text IS NULL OR reason = $5 OR (state = 'sent' AND EXISTS (
      SELECT FROM json_each_text(unsent) AS other WHERE other.value = $5)))
ORDER BY number DESC
LIMIT $2
"""


async def _of_customer(pool: Pool, wanted: Filter, before: Place, limit: int) -> Sequence[Any]:
    customer_id, trigger, state, reason = wanted
    return await pool.fetch(OF_CUSTOMER_SQL, before.number, limit, trigger, state, reason, customer_id)


OF_JOURNEY_SQL = """
SELECT id
FROM message
WHERE trigger = $3 AND number < $1
  AND ($4::text IS NULL OR state = $4)
  AND ($5::text IS NULL OR reason = $5 OR (state = 'sent' AND EXISTS (
      SELECT FROM json_each_text(unsent) AS other WHERE other.value = $5)))
ORDER BY number DESC
LIMIT $2
"""


async def _of_journey(pool: Pool, wanted: Filter, before: Place, limit: int) -> Sequence[Any]:
    _, trigger, state, reason = wanted
    return await pool.fetch(OF_JOURNEY_SQL, before.number, limit, trigger, state, reason)


# Ids are in the order of creation, as numbers are, and have an index.
ALL_SQL = """
SELECT id
FROM message
WHERE id < $2 AND ($3::text IS NULL OR state = $3)
ORDER BY id DESC
LIMIT $1
"""


async def _all(pool: Pool, wanted: Filter, before: Place, limit: int) -> Sequence[Any]:
    return await pool.fetch(ALL_SQL, limit, before.id, wanted.state)


# Each combination of state and reason is a range of an index.
UNSENT_SQL = """
SELECT id
FROM (
    SELECT newest.*
    FROM unnest($6::text[], $7::text[]) AS kind (state, reason)
    CROSS JOIN LATERAL (
        SELECT id, number FROM message
        WHERE state = kind.state AND reason = kind.reason AND state <> 'sent' AND number < $1
          AND ($3::text IS NULL OR trigger = $3)
        ORDER BY number DESC
        LIMIT $2
    ) AS newest
    UNION ALL (
        SELECT id, number FROM message
        WHERE state = 'queued' AND reason IS NULL AND number < $1
          AND ($3::text IS NULL OR trigger = $3) AND $4 = 'queued' AND $5::text IS NULL
        ORDER BY number DESC
        LIMIT $2
    )
    UNION ALL (
        SELECT id, number FROM message
        WHERE unsent IS NOT NULL AND number < $1 AND ($3::text IS NULL OR trigger = $3) AND $4::text IS NULL
          AND state = 'sent' AND EXISTS (SELECT FROM json_each_text(unsent) AS other WHERE other.value = $5)
        ORDER BY number DESC
        LIMIT $2
    )
) AS found
ORDER BY number DESC
LIMIT $2
"""


async def _unsent(pool: Pool, wanted: Filter, before: Place, limit: int) -> Sequence[Any]:
    _, trigger, state, reason = wanted
    kinds = [
        (each, why)
        for each in (_REASONED if state is None else (state,))
        for why in (Reason if reason is None else (reason,))
    ]
    states, reasons = [each for each, _ in kinds], [why for _, why in kinds]
    return await pool.fetch(UNSENT_SQL, before.number, limit, trigger, state, reason, states, reasons)


LOAD_SQL = """
SELECT number, message.id, customer_id, trigger, run_id, coalesce(template, trigger), template_version, channel,
       locale, state, reason, created_at, log, unsent
FROM unnest($1::uuid[]) WITH ORDINALITY AS wanted (id, place) JOIN message USING (id)
ORDER BY place
"""


async def load(pool: Pool, ids: Sequence[UUID]) -> list[Logged]:
    """Messages by their ids, in this order, without those that do not exist."""
    return [_logged(row) for row in await pool.fetch(LOAD_SQL, ids)] if ids else []


def _logged(row: Sequence[Any]) -> Logged:
    message = Logged(*row)
    return message._replace(
        state=State(message.state), reason=None if message.reason is None else Reason(message.reason)
    )
