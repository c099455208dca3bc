"""What the rules ask the database for: the handler answers the questions of all customers of a batch at once."""

from collections.abc import Generator
from datetime import datetime
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Ask(NamedTuple):
    """Asks for the events of a type that happened to a customer after an instant, and not after another one.

    `besides` is the key of an event that does not count. Events recorded after the number `upto` do not count.
    """

    customer_id: str
    type: str
    after: datetime
    until: datetime | None = None
    besides: str | None = None
    upto: int | None = None


class Answer(NamedTuple):
    """The number of the events, up to 1,000, and the time of the first."""

    times: int = 0
    first: datetime | None = None


class AskArm(NamedTuple):
    """Asks for the customer's arm of an experiment that the run reaches at an instant; `arms` are those of the step."""

    customer_id: str
    experiment: str
    arms: tuple[str, ...]
    at: datetime


class ArmAnswer(NamedTuple):
    """The arm; None: the customer is held out."""

    arm: str | None


Question = Ask | AskArm
Reply = Answer | ArmAnswer
Asking = Generator[Question, Reply, T]
"""A computation that asks, and returns a T."""
