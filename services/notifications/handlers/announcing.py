"""The events that tell what became of messages."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from services.notifications.handlers import webhooks
from services.notifications.rules.message import State
from shared.contracts.envelope import Cause, Event, Publication, publication
from shared.contracts.loyalty import MessageChanged
from shared.messaging import outbox
from shared.postgres.pool import Connection

SOURCE: Final = "/wafa/notifications"

TYPES: Final = {
    State.HELD: "loyalty.message.held.v1",
    State.SENT: "loyalty.message.sent.v1",
    State.SKIPPED: "loyalty.message.skipped.v1",
    State.FAILED: "loyalty.message.failed.v1",
}
"""The states that are announced, with the type of the event."""


def publish(state: State, time: datetime, data: MessageChanged, cause: Cause) -> Publication:
    """The event that a message is in a state."""
    return publication(TYPES[state], time, data, cause, SOURCE)


async def announce(connection: Connection, publications: Sequence[Publication], heard: Sequence[Event] = ()) -> None:
    """Publish events of locked customers, in order, on Kafka and to the endpoints of webhooks.

    Of the events that were `heard`, webhooks tell too.
    """
    await outbox.announce(connection, publications)
    await webhooks.tell(connection, heard, publications)
