"""Replays messages: the expected messages of each customer, one per channel."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Final

from services.notifications.rules.journey.compiled import Journey
from services.notifications.rules.journey.kind import KIND
from services.notifications.rules.journey.machine import field_of
from services.notifications.rules.journey.starting import Live, admits, event_type, trigger_of
from services.notifications.rules.notice import Trigger, notices
from services.notifications.rules.trigger import triggers
from shared.contracts.envelope import Event
from shared.contracts.shop import CustomerErased, CustomerRegistered
from shared.programs.store import SINCE_EVER
from tests.prove.replay.dedupe import Seen

_CHANNELS: Final = ("in_app", "email")

Message = tuple[str, str, str, str]
"""Customer, channel, trigger, occasion."""


def _asked(event: Event) -> Iterator[tuple[str, str, str]]:
    """Customer, journey and key of what an event asks the journeys that ship to send."""
    yield from ((found.customer_id, str(found.trigger), found.key) for found in notices(event))
    for live in _warning_journeys():
        if event_type(live.journey.document.trigger) == event.type:
            for trigger in triggers(event):
                read = partial(field_of, trigger.facts, event.data)
                if admits(live, trigger, read):
                    yield trigger.customer_id, live.id, trigger_of(live, trigger, read).key


@cache
def _warning_journeys() -> Sequence[Live]:
    """The journeys that ship and are enabled, but those of notices."""
    documents = {
        path.stem: KIND.model.model_validate_json(path.read_text(encoding="utf-8"))
        for path in Path("services/notifications/documents/journey").glob("*.json")
        if path.stem not in set(Trigger)
    }
    return [
        Live(id_, Journey.of(1, document), SINCE_EVER, kept=False, unkept=True)
        for id_, document in documents.items()
        if document.enabled
    ]


def replay(events: Iterable[Event]) -> tuple[set[Message], Seen]:
    """The expected messages, whatever the position of erasures in the log.

    An erasure removes the messages about events up to its time, and all of them if the customer does not register
    after it.
    """
    seen = Seen()
    latest: dict[Message, datetime] = {}
    erased: defaultdict[str, list[datetime]] = defaultdict(list)
    registered: defaultdict[str, list[datetime]] = defaultdict(list)
    for event in seen.new_ones(events):
        if isinstance(event.data, CustomerErased):
            erased[event.customer_id].append(event.time)
        if isinstance(event.data, CustomerRegistered):
            registered[event.customer_id].append(event.time)
        for customer_id, journey, key in _asked(event):
            for channel in _CHANNELS:
                message = (customer_id, channel, journey, key)
                latest[message] = max(latest.get(message, event.time), event.time)
    last = {customer: max(times) for customer, times in erased.items()}
    gone = {customer for customer, at in last.items() if not any(time > at for time in registered[customer])}
    return {
        message
        for message, at in latest.items()
        if message[0] not in gone and (message[0] not in last or at > last[message[0]])
    }, seen
