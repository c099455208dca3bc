"""Events as shops and Wafa publish them, and the rows and events that handling them leaves."""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache, partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from services.notifications.handlers import events as handler
from services.notifications.handlers.claiming import Claimer
from services.notifications.handlers.desk import Desk
from services.notifications.handlers.judging import Judge
from services.notifications.handlers.library import Library
from services.notifications.handlers.making import Maker, make
from services.notifications.rendering.compiled import Template, compiled
from services.notifications.rendering.renderer import InAppText, MailText, Reader, Renderer
from services.notifications.rules import notice
from services.notifications.rules.gate import Limits
from services.notifications.rules.message import Channel
from services.notifications.rules.template.document import TemplateDocument
from services.notifications.rules.tokens import Keys
from shared.contracts.envelope import Event, Record, decode
from shared.contracts.registry import TYPES
from shared.contracts.values import format_instant
from shared.postgres.pool import Pool

DOCUMENTS = Path("services/notifications/documents")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

_count = itertools.count(1)


@cache
def library() -> Library:
    return Library(Renderer("Wafa"))


class Texts:
    """The templates that ship with the product, without a database."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        self.renderer = Renderer("Wafa", zone)
        self._templates: dict[str, Template] = {}

    def template(self, name: str) -> Template:
        if name not in self._templates:
            text = (DOCUMENTS / "template" / f"{name}.json").read_text(encoding="utf-8")
            self._templates[name] = compiled(1, TemplateDocument.model_validate_json(text))
        return self._templates[name]

    def notification(self, trigger: str, facts: Mapping[str, Any], reader: Reader) -> InAppText:
        return self.renderer.in_app(*self._in(trigger, Channel.IN_APP, reader), notice.complete(trigger, facts), reader)

    def mail(self, trigger: str, facts: Mapping[str, Any], reader: Reader) -> MailText:
        return self.renderer.email(*self._in(trigger, Channel.EMAIL, reader), notice.complete(trigger, facts), reader)

    def _in(self, trigger: str, channel: Channel, reader: Reader) -> tuple[Template, str]:
        template = self.template(trigger)
        return template, template.locale(channel, reader.locale, "en") or ""


@cache
def templates() -> Texts:
    return Texts()


def reader(name: str | None = None, locale: str | None = None, time_zone: str | None = None) -> Reader:
    return Reader("c", name, locale, time_zone)


@cache
def judge() -> Judge:
    return Judge(Limits(), Keys("a secret of thirty-two bytes or so"))


@cache
def desk() -> Desk:
    return Desk(ZoneInfo("UTC"), partial(make, Maker(library(), judge())))


@cache
def claimer() -> Claimer:
    return Claimer(judge(), desk().journeys)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def event(type_: str, data: dict[str, Any], time: datetime = NOW) -> Event:
    number = next(_count)
    envelope = {
        "specversion": "1.0",
        "id": f"event-{number}",
        "source": "/test",
        "type": type_,
        "time": format_instant(time),
        "correlationid": f"root-{number}",
        "data": data,
    }
    record = Record(
        TYPES[type_].topic, 0, number, data["customer_id"].encode(), json.dumps(envelope).encode(), (), time
    )
    decoded = decode(record, frozenset(TYPES))
    assert decoded is not None
    return decoded


def registered(customer_id: str, time: datetime = NOW, **details: Any) -> Event:
    return event("shop.customer.registered.v1", {"customer_id": customer_id, **details}, time)


def updated(customer_id: str, time: datetime = NOW, **details: Any) -> Event:
    return event("shop.customer.updated.v1", {"customer_id": customer_id, **details}, time)


def erased(customer_id: str, time: datetime = NOW) -> Event:
    return event("shop.customer.erased.v1", {"customer_id": customer_id}, time)


def moved(verb: str, customer_id: str, points: int, time: datetime = NOW, **changes: Any) -> Event:
    data = {
        "customer_id": customer_id,
        "transaction_id": changes.pop("transaction_id", f"transaction-{next(_count)}"),
        "points": points,
        "reason": changes.pop("reason", {"kind": "purchase", "order_id": "order-1"}),
        "qualifying_points": points,
        "balance": {"available": points, "pending": 0, "held": 0, "debt": 0} | changes.pop("balance", {}),
        **changes,
    }
    return event(f"loyalty.points.{verb}.v1", data, time)


earned = partial(moved, "earned")
reversed_ = partial(moved, "reversed")


def tier(verb: str, customer_id: str, to: str, time: datetime = NOW, **changes: Any) -> Event:
    entry = {"effective_at": format_instant(time), "tier": to, "points_multiplier": "1.25"}
    data = {
        "customer_id": customer_id,
        "program_version": 1,
        "from": "member",
        "to": to,
        "reason": "spend",
        "effective_at": format_instant(time),
        "points_multiplier": "1.25",
        "timeline": [entry],
        **changes,
    }
    return event(f"loyalty.tier.{verb}.v1", data, time)


def referral(verb: str, advocate: str, friend: str, time: datetime = NOW, **changes: Any) -> Event:
    data = {
        "customer_id": advocate,
        "referral_id": f"referral-{advocate}-{friend}",
        "friend_id": friend,
        "advocate_points": 500,
        "friend_points": 200,
        **changes,
    }
    return event(f"loyalty.referral.{verb}.v1", data, time)


async def handle(pool: Pool, *events: Event, now: datetime = NOW) -> None:
    """Handle the events as one batch."""
    async with pool.acquire() as connection, connection.transaction():
        assert await handler.handle(desk(), connection, events, now) == []


async def handle_each(pool: Pool, events: Iterable[Event], now: datetime = NOW) -> None:
    for event in events:
        await handle(pool, event, now=now)


async def messages(pool: Pool, customer_id: str, channel: str = "in_app") -> list[dict[str, Any]]:
    """A customer's messages on a channel, in the order of creation."""
    rows = await pool.fetch(
        "SELECT * FROM message WHERE customer_id = $1 AND channel = $2 ORDER BY number", customer_id, channel
    )
    return [_with_text(dict(row)) for row in rows]


def _with_text(row: dict[str, Any]) -> dict[str, Any]:
    if row["channel"] == "in_app" and row["state"] == "sent" and row["title"] is None:
        text = templates().notification(row["trigger"], row["facts"], reader(locale=row["locale"]))
        row |= {"title": text.title, "body": text.body}
    return row


async def states(pool: Pool, customer_id: str) -> list[tuple[str, str, str | None]]:
    """(trigger, state, reason) of each mail to a customer."""
    return [
        (message["trigger"], message["state"], message["reason"])
        for message in await messages(pool, customer_id, "email")
    ]


async def published(pool: Pool) -> list[dict[str, Any]]:
    """The events in the outbox, in their order."""
    rows = await pool.fetch("SELECT topic, key, convert_from(value, 'UTF8')::json AS value FROM outbox ORDER BY id")
    assert {row["topic"] for row in rows} <= {"loyalty.messages"}
    assert all(row["key"].decode() == row["value"]["data"]["customer_id"] for row in rows)
    return [row["value"] for row in rows]


def summarize(events: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """(verb, customer, channel) of each published event."""
    return [(event["type"].split(".")[2], event["data"]["customer_id"], event["data"]["channel"]) for event in events]
