"""Marks: what became of a message after it was sent."""

from enum import StrEnum
from typing import Final


class Mark(StrEnum):
    """What became of a message; each mark is set once."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    """A soft bounce: the provider tries again, or gives up; the address may work later."""
    BOUNCED = "bounced"
    """The address does not exist."""
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    OPENED_BY_MACHINE = "opened_by_machine"
    OPENED = "opened"
    """A person opened it."""
    CLICKED_BY_MACHINE = "clicked_by_machine"
    CLICKED = "clicked"
    """A person followed a link."""


BY_MACHINE: Final = {Mark.OPENED_BY_MACHINE: Mark.OPENED, Mark.CLICKED_BY_MACHINE: Mark.CLICKED}
"""The marks that machines set, with those of people: once a person did it, what machines do is not told."""

UNTOLD: Final = frozenset({Mark.DEFERRED})
"""The marks that stand in the log only."""


def type_of(mark: Mark) -> str:
    """The type of the event that tells of a mark."""
    return f"loyalty.message.{BY_MACHINE.get(mark, mark)}.v1"


def is_human(mark: Mark) -> bool | None:
    """Whether a person did it; None where the event does not say."""
    if mark in BY_MACHINE:
        return False
    return True if mark in BY_MACHINE.values() else None
