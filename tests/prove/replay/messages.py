"""Replays messages: the expected messages of each customer, one per channel."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from services.notifications.rules.notice import notices
from shared.contracts.envelope import Event
from shared.contracts.shop import CustomerErased, CustomerRegistered
from tests.prove.replay.dedupe import Seen

_CHANNELS: Final = ("in_app", "email")

Message = tuple[str, str, str, str]
"""Customer, channel, trigger, occasion."""


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
        for notice in notices(event):
            for channel in _CHANNELS:
                message = (notice.customer_id, str(channel), str(notice.trigger), notice.key)
                latest[message] = max(latest.get(message, notice.occurred_at), notice.occurred_at)
    last = {customer: max(times) for customer, times in erased.items()}
    gone = {customer for customer, at in last.items() if not any(time > at for time in registered[customer])}
    return {
        message
        for message, at in latest.items()
        if message[0] not in gone and (message[0] not in last or at > last[message[0]])
    }, seen
