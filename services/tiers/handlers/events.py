"""A batch of events: what counts is recorded, and the customers are marked to be judged."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from services.tiers.handlers import recording
from services.tiers.store import customers, erasing
from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.messaging import erasure
from shared.postgres.pool import Connection

SOURCE: Final = "/wafa/tiers"


async def handle(connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
    """Apply a batch: record what counts; returns the refused events.

    An erasure deletes a customer's stored records and answers, and what support wrote. What counts, and timelines,
    stay, since they hold only ids, amounts and times.
    """
    booked = erasure.others(events)
    refusals = await _book(connection, booked) if booked else []
    await erasure.apply(connection, events, erasing.erase, now)
    return refusals


async def _book(connection: Connection, events: Sequence[Event]) -> list[Refusal]:
    await customers.lock(connection, (event.customer_id for event in events))
    admission = await recording.record(connection, events)
    since: dict[str, datetime] = {}
    for step in admission.steps:
        first = min(change.at for change in step.changes)
        since[step.event.customer_id] = min(first, since.get(step.event.customer_id, first))
    await customers.mark(connection, since)
    return list(admission.refusals)
