"""Replays messages: those that each customer has to have, one per channel."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from services.notifications.rules.notice import Channel, notices
from shared.contracts.envelope import Event
from shared.contracts.shop import CustomerErased, CustomerRegistered
from tests.prove.replay.dedupe import Seen

Message = tuple[str, str, str, str]
"""Customer, channel, trigger, occasion."""


def replay(events: Iterable[Event]) -> tuple[set[Message], Seen]:
    """The messages that there have to be, whenever an erasure comes.

    It takes those about what happened up to it; and all, where the customer does not register after it.
    """
    seen = Seen()
    told: dict[Message, datetime] = {}
    erased: defaultdict[str, list[datetime]] = defaultdict(list)
    registered: defaultdict[str, list[datetime]] = defaultdict(list)
    for event in seen.new_ones(events):
        if isinstance(event.data, CustomerErased):
            erased[event.customer_id].append(event.time)
        if isinstance(event.data, CustomerRegistered):
            registered[event.customer_id].append(event.time)
        for notice in notices(event):
            for channel in Channel:
                message = (notice.customer_id, str(channel), str(notice.trigger), notice.occasion)
                told[message] = max(told.get(message, notice.occurred_at), notice.occurred_at)
    last = {customer: max(times) for customer, times in erased.items()}
    gone = {customer for customer, at in last.items() if not any(time > at for time in registered[customer])}
    return {
        message
        for message, at in told.items()
        if message[0] not in gone and (message[0] not in last or at > last[message[0]])
    }, seen
