"""The port that every channel implements: send one rendered message, and tell what the provider answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar
from uuid import UUID


class UnreachableError(Exception):
    """The provider does not answer, or rejects the credentials or the sender: the message is not the cause."""


class UnsendableError(Exception):
    """The message does not fit its channel, such as a subject of two lines: the template is the cause."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail to one address.

    `topic` is for List-ID; `unsubscribe` is the URL of one click (RFC 8058), None where no such header is wanted. `at`
    is the Date. The same `id` always gives the same Message-ID.
    """

    id: UUID
    address: str
    topic: str
    subject: str
    html: str
    text: str
    language: str
    unsubscribe: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Sms:
    """A text message to a phone number in E.164."""

    id: UUID
    address: str
    text: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """A push subscription as the browser gave it; the keys are base64url."""

    id: UUID
    endpoint: str
    p256dh: str
    auth: str


@dataclass(frozen=True, slots=True)
class Push:
    """A notification for all browsers of a customer.

    A push service keeps it for a browser that is offline until `ttl` is over. `is_urgent`: it may wake a device that
    saves power.
    """

    id: UUID
    subscriptions: Sequence[Subscription]
    title: str
    body: str
    url: str | None
    language: str
    ttl: timedelta
    is_urgent: bool = True


@dataclass(frozen=True, slots=True)
class Taken:
    """The provider accepted the message. `gone`: push subscriptions that ended; delete them."""

    provider_id: str | None = None
    gone: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class PutOff:
    """The provider deferred the message (a transient error), and may have said for how long at least."""

    error: str
    retry_after: timedelta | None = None
    gone: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider rejected the message (a permanent error).

    `bounced`: the address does not exist, so that nothing should be sent to it again. `opted_out`: the recipient told
    the provider to stop. `gone`: push subscriptions that ended; delete them.
    """

    error: str
    bounced: bool = False
    opted_out: bool = False
    gone: tuple[UUID, ...] = ()


Answer = Taken | PutOff | Refused

MessageT_contra = TypeVar("MessageT_contra", contravariant=True)


class Port(Protocol[MessageT_contra]):
    """A channel with a pool of connections of its own. Errors in answers contain no address and no text."""

    @property
    def connections(self) -> int:
        """How many messages can be sent at a time; further ones wait for a connection."""
        ...

    async def send(self, message: MessageT_contra) -> Answer:
        """Send a message.

        After an answer that got lost, the message counts as put off, so that it may be sent twice.

        Raises:
            UnreachableError: nothing can be sent now; the message was not sent.
            UnsendableError: the message can never be sent.
        """
        ...

    async def rest(self) -> None:
        """Close the connections that were not used for a while. Call it now and then."""
        ...

    async def close(self) -> None:
        """Close all connections; a later message opens new ones."""
        ...
