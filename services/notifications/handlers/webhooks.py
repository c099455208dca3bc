"""Makes the deliveries of webhooks, in the transaction of the events that they tell of, and records attempts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from pydantic_core import to_json

from services.notifications.rules import webhook
from services.notifications.rules.webhook import HEARD, Endpoint, Outcome, State
from services.notifications.store import deliveries, endpoints
from services.notifications.store.deliveries import Claimed, New, Settled
from shared.contracts.envelope import Event, Publication
from shared.messaging import erasure
from shared.messaging.erasure import Erasure
from shared.postgres.pool import Connection


class _Payload(msgspec.Struct, frozen=True):
    type: str
    timestamp: datetime
    data: msgspec.Raw


class _Published(msgspec.Struct, frozen=True):
    """What a webhook needs of an event in structured mode."""

    id: str
    source: str
    type: str
    time: datetime
    data: msgspec.Raw


class _WithData(msgspec.Struct, frozen=True):
    data: msgspec.Raw


@dataclass(frozen=True, slots=True)
class _News:
    """An event that endpoints may hear; `data` makes the JSON of its data."""

    id: str
    source: str
    type: str
    time: datetime
    customer_id: str
    data: Callable[[], msgspec.Raw]


_PUBLISHED = msgspec.json.Decoder(_Published)
_WITH_DATA = msgspec.json.Decoder(_WithData)


async def tell(connection: Connection, events: Iterable[Event], publications: Sequence[Publication]) -> None:
    """Make deliveries for the endpoints that hear of the events of `loyalty.*` among these, and of what is published.

    Without an enabled endpoint it costs one statement, and none where there is nothing to tell.
    """
    heard = [event for event in events if event.type in HEARD]
    if not heard and not publications:
        return
    listening = await endpoints.listening(connection)
    if not listening:
        return
    told = [*map(_of_event, heard), *map(_of_publication, publications)]
    erased = await erasure.find(connection, {each.customer_id for each in told})
    new = [new for each in told if not _is_covered(each, erased) for new in _deliveries(each, listening)]
    await deliveries.add(connection, new)


def _is_covered(news: _News, erased: Mapping[str, Erasure]) -> bool:
    return news.customer_id in erased and news.time <= erased[news.customer_id].erased_at


def _deliveries(news: _News, listening: dict[UUID, tuple[str, ...]]) -> Iterable[New]:
    hearing = [endpoint_id for endpoint_id, types in listening.items() if news.type in webhook.heard(types)]
    if not hearing:
        return
    payload = msgspec.json.encode(_Payload(news.type, news.time, news.data())).decode()
    name = webhook.webhook_id(news.source, news.id)
    for endpoint_id in hearing:
        yield New(endpoint_id, name, news.customer_id, news.type, payload, news.time)


def _of_event(event: Event) -> _News:
    return _News(event.id, event.source, event.type, event.time, event.customer_id, lambda: _data_of(event))


def _data_of(event: Event) -> msgspec.Raw:
    """The data as it was published, with the fields that this version does not know."""
    try:
        return _WITH_DATA.decode(event.record.value or b"").data
    except (msgspec.MsgspecError, UnicodeDecodeError):  # in binary mode, or with values that the fast parser refuses
        return msgspec.Raw(to_json(event.data, exclude_none=True, by_alias=True))


def _of_publication(published: Publication) -> _News:
    event = _PUBLISHED.decode(published.value)
    return _News(event.id, event.source, event.type, event.time, published.key.decode(), lambda: event.data)


async def record(
    connection: Connection,
    endpoint: Endpoint,
    attempts: Sequence[tuple[Claimed, Outcome]],
    now: datetime,
    random: float,
) -> None:
    """Record attempts that were made together, and what they say about the endpoint.

    `random` (0 to 1) spreads the retries.
    """
    await deliveries.settle(connection, [_settled(claimed, outcome, now, random) for claimed, outcome in attempts])
    health = webhook.health_after(endpoint, [outcome for _, outcome in attempts], now)
    if health.disable is not None or health.failed_at != endpoint.failed_at:
        await endpoints.note(connection, endpoint.id, health)


def _settled(claimed: Claimed, outcome: Outcome, now: datetime, random: float) -> Settled:
    entry: dict[str, Any] = {"at": outcome.at, "seconds": outcome.seconds}
    for name in ("status", "error", "excerpt"):
        if (value := getattr(outcome, name)) is not None:
            entry[name] = value
    if outcome.is_success:
        return Settled(claimed.id, claimed.attempts, State.DELIVERED, None, entry)
    pause = None if outcome.is_gone else webhook.pause_after(claimed.tries, random, outcome.retry_after)
    if pause is None:
        return Settled(claimed.id, claimed.attempts, State.FAILED, None, entry)
    return Settled(claimed.id, claimed.attempts, State.PENDING, now + pause, entry)
