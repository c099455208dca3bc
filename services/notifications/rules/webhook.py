"""Outgoing webhooks (Standard Webhooks 1.0): what an endpoint hears, how it is signed, when it is tried again."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.contracts.registry import TYPES

PAUSES: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
"""The pause after each failed attempt; after the last attempt there is none."""

GRACE: Final = timedelta(hours=24)
"""How long an old secret signs beside the new one."""

PATIENCE: Final = timedelta(days=5)
"""How long an endpoint may fail without a success before it is disabled."""

LONGEST_EXCERPT: Final = 500
"""Characters of an answer that are kept."""

HEARD: Final = frozenset(name for name in TYPES if name.startswith("loyalty."))
"""The event types that webhooks are sent for."""

FROM_KAFKA: Final = frozenset(name for name in HEARD if not name.startswith("loyalty.message."))
"""Those of them that other services publish."""

_JITTER: Final = 0.2
# More than the longest pause between two attempts: failures further apart than that are no row of failures.
_ROW: Final = timedelta(hours=30)
_SECRET_BYTES: Final = 32
_MOST_OLD_SECRETS: Final = 4
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_ALL_OF: Final = ".*"
_PREFIX: Final = "whsec_"


class State(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Disabled(StrEnum):
    """Why Wafa disabled an endpoint by itself."""

    GONE = "gone"
    """It answered 410."""
    FAILING = "failing"
    """It failed for five days."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint. `rotated_at` has the instants at which its last secrets were replaced, oldest first.

    `failing_since` and `failed_at` are its first and last failure since the last success.
    """

    id: UUID
    url: str
    types: Sequence[str]
    description: str | None
    enabled: bool
    disabled_reason: Disabled | None
    generation: int
    rotated_at: Sequence[datetime]
    failing_since: datetime | None
    failed_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Health:
    """The failures of an endpoint since its last success, and why it is to be disabled now."""

    failing_since: datetime | None
    failed_at: datetime | None
    disable: Disabled | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an attempt: a status, or the error that prevented one."""

    at: datetime
    seconds: float
    status: int | None = None
    error: str | None = None
    excerpt: str | None = None
    retry_after: timedelta | None = None

    @property
    def is_success(self) -> bool:
        """Whether the endpoint took the webhook."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the endpoint wants no more webhooks."""
        return self.status == HTTPStatus.GONE


def check_type(name: str) -> str:
    """A type of event, or all that begin alike, such as `loyalty.points.*`.

    Raises:
        ValueError: there are no such events.
    """
    if not heard((name,)):
        raise ValueError("has to be a type such as `loyalty.points.earned.v1`, or several such as `loyalty.points.*`")
    return name


@lru_cache(maxsize=256)
def heard(types: tuple[str, ...]) -> frozenset[str]:
    """The event types that an endpoint hears: all where it names none."""
    if not types:
        return HEARD
    prefixes = tuple(name.removesuffix("*") for name in types if name.endswith(_ALL_OF))
    return frozenset(name for name in HEARD if name in types or (prefixes and name.startswith(prefixes)))


def secret(master: str, endpoint_id: UUID, generation: int) -> bytes:
    """The secret of a generation of an endpoint: it follows from the secret of the settings and is stored nowhere."""
    purpose = f"wafa notifications: webhook {endpoint_id} {generation}".encode()
    return HKDF(algorithm=SHA256(), length=_SECRET_BYTES, salt=None, info=purpose).derive(master.encode())


def in_words(secret: bytes) -> str:
    """A secret as libraries take it."""
    return _PREFIX + base64.b64encode(secret).decode()


def signing_generations(endpoint: Endpoint, now: datetime) -> Sequence[int]:
    """The generations whose secrets sign: the newest, then those that were replaced within the last 24 hours."""
    replaced = enumerate(reversed(endpoint.rotated_at), start=1)
    return [endpoint.generation, *(endpoint.generation - back for back, at in replaced if now < at + GRACE)]


def rotated(endpoint: Endpoint, now: datetime) -> Sequence[datetime]:
    """`rotated_at` after a rotation: at most four old secrets sign beside the new one."""
    return [*[at for at in endpoint.rotated_at if now < at + GRACE][1 - _MOST_OLD_SECRETS :], now]


def webhook_id(source: str, event_id: str) -> str:
    """The `webhook-id` of an event: its id, or a hash where that cannot be a header."""
    if _PLAIN_ID.fullmatch(event_id):
        return event_id
    return f"event_{sha256(f'{source} {event_id}'.encode()).hexdigest()[:32]}"


def pause_after(tries: int, random: float, retry_after: timedelta | None) -> timedelta | None:
    """How long to wait after so many failed attempts; None: it was the last one. `random` (0 to 1) spreads them."""
    if tries > len(PAUSES):
        return None
    pause = PAUSES[tries - 1] * (1 + _JITTER * random)
    return pause if retry_after is None else max(pause, retry_after)


def health_after(endpoint: Endpoint, outcomes: Sequence[Outcome], now: datetime) -> Health:
    """The health of an endpoint after attempts that were made together."""
    disable = Disabled.GONE if any(outcome.is_gone for outcome in outcomes) else None
    if any(outcome.is_success for outcome in outcomes):
        return Health(None, None, disable)
    is_row = endpoint.failed_at is not None and now - endpoint.failed_at <= _ROW
    since = endpoint.failing_since if is_row and endpoint.failing_since is not None else now
    if disable is None and now - since >= PATIENCE:
        disable = Disabled.FAILING
    return Health(since, now, disable)


def excerpt(body: bytes) -> str | None:
    """The beginning of an answer, in characters that can be printed on one line; None if there is nothing."""
    text = body[: 4 * LONGEST_EXCERPT].decode("utf-8", "replace")[:LONGEST_EXCERPT]
    shown = "".join(
        char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}" for char in text
    )
    return shown.strip() or None
