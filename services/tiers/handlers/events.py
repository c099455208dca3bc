"""A batch of events: what counts is recorded, and the customers are judged."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from services.tiers.handlers import recording
from services.tiers.handlers.judging import Arrival, judge
from services.tiers.store import customers, erasing
from services.tiers.store.programs import Programs
from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.messaging import erasure
from shared.postgres.pool import Connection


async def handle(
    connection: Connection, events: Sequence[Event], now: datetime, cached: Programs | None = None
) -> list[Refusal]:
    """Apply a batch: record what counts, and judge; returns the refused events. `cached` saves reading versions again.

    An erasure deletes a customer's stored records and answers, and what support wrote. What counts, and timelines,
    stay, since they hold only ids, amounts and times.
    """
    booked = erasure.others(events)
    refusals = await _book(connection, booked, now, cached or Programs()) if booked else []
    await erasure.apply(connection, events, erasing.erase, now)
    return refusals


async def _book(connection: Connection, events: Sequence[Event], now: datetime, cached: Programs) -> list[Refusal]:
    locked = await customers.lock(connection, (event.customer_id for event in events))
    admission = await recording.record(connection, events)
    arrivals: defaultdict[str, list[Arrival]] = defaultdict(list)
    for step in admission.steps:
        arrivals[step.event.customer_id].append(Arrival.of(step))
    await judge(connection, await cached.load(connection), locked, arrivals, now)
    return list(admission.refusals)
