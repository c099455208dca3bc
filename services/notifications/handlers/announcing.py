"""The events that tell what became of messages."""

from datetime import datetime
from typing import Final

from services.notifications.store.messages import State
from shared.contracts.envelope import Cause, Publication, publication
from shared.contracts.loyalty import MessageChanged

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
