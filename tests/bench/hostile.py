"""Hostile histories: the events of one customer with a very long past, and what follows them.

A row of another service is a `History` with its `service`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from deploy.sample.cloudevent import PURCHASE_COMPLETED, PURCHASE_REFUNDED, PURCHASES, CloudEvent
from services.referrals.store import codes
from services.tiers.rules.program.kind import KIND
from shared.contracts.registry import TYPES
from shared.contracts.topics import REFERRALS, TIERS
from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from shared.programs.kind import dump
from tests.tiers import programs

_START: Final = datetime(2025, 1, 1, tzinfo=UTC)
HOT: Final = "hot"
_CODE: Final = "CDFGHJKM"
SECONDS: Final = 8.0
"""Seconds in which a history continues while another customer buys."""

Events = Callable[[int], Iterator[CloudEvent]]


@dataclass(frozen=True, slots=True)
class History:
    """Events of one customer: `count` are drained, then `more` are published while another customer buys."""

    name: str
    count: int
    events: Events
    more: Events
    service: str = "points"
    before: Callable[[Pool], Any] | None = None
    """What is done to the database before the bystander buys."""
    first: Callable[[Pool], Any] | None = None
    """What is done to the empty database."""


def at_minute(number: int) -> datetime:
    return _START + timedelta(minutes=number)


def purchase(customer: str, order: str, at: datetime, total: str = "100.00") -> CloudEvent:
    data = {"customer_id": customer, "order_id": order, "currency": "USD", "total": total}
    return CloudEvent(PURCHASES, PURCHASE_COMPLETED, f"{customer}-{order}", "/bench", at, data)


def _refund(number: int) -> CloudEvent:
    data = {"customer_id": HOT, "order_id": "1", "refund_id": f"r{number}", "currency": "USD", "amount": "2.00"}
    return CloudEvent(PURCHASES, PURCHASE_REFUNDED, f"r{number}", "/bench", at_minute(number + 1), data)


def _timeline(number: int) -> CloudEvent:
    """The event of the tiers service in a backfill, newest first: each order moves the promotion to an earlier time."""
    entries = [
        {"effective_at": format_instant(at_minute(number + 5)), "tier": "silver", "points_multiplier": "1.25"},
        {"effective_at": format_instant(at_minute(number + 15)), "tier": "gold", "points_multiplier": "1.5"},
    ]
    data = {
        "customer_id": HOT, "program_version": 1, "from": "member", "to": "gold", "reason": "spend",
        "effective_at": entries[0]["effective_at"], "points_multiplier": "1.5", "timeline": entries,
    }  # fmt: skip
    return CloudEvent(TIERS, "loyalty.tier.corrected.v1", f"t{number}", "/wafa/tiers", at_minute(number), data)


def _orders(count: int) -> Iterator[CloudEvent]:
    return (purchase(HOT, f"{number}", at_minute(number)) for number in range(count))


def _more_orders(count: int) -> Iterator[CloudEvent]:
    return (purchase(HOT, f"more-{number}", at_minute(number)) for number in range(count))


def _refunds_after(count: int) -> Iterator[CloudEvent]:
    yield purchase(HOT, "1", _START, "900000.00")
    yield from map(_refund, range(count - 1))


def _refunds_before(count: int) -> Iterator[CloudEvent]:
    yield from map(_refund, range(count - 1))
    yield purchase(HOT, "1", _START, "900000.00")


def _more_refunds(count: int) -> Iterator[CloudEvent]:
    return map(_refund, range(1_000_000, 1_000_000 + count))


def _backfill(count: int) -> Iterator[CloudEvent]:
    for number in range(count // 2, 0, -1):
        yield purchase(HOT, f"{number}", at_minute(number))
        yield _timeline(number)


def _more_backfill(count: int) -> Iterator[CloudEvent]:
    for number in range(0, -(count // 2), -1):
        yield purchase(HOT, f"{number}", at_minute(number))
        yield _timeline(number)


def _newest_first(count: int) -> Iterator[CloudEvent]:
    return (purchase(HOT, f"{number}", at_minute(number)) for number in range(count, 0, -1))


def _more_newest_first(count: int) -> Iterator[CloudEvent]:
    return (purchase(HOT, f"{number}", at_minute(number)) for number in range(0, -count, -1))


def _refunds_newest_first(count: int) -> Iterator[CloudEvent]:
    yield purchase(HOT, "1", _START, "900000.00")
    yield from map(_refund, range(500_000 + count, 500_001, -1))


def _more_refunds_newest_first(count: int) -> Iterator[CloudEvent]:
    return map(_refund, range(500_000, 500_000 - count, -1))


def _refunds_of_a_friend(count: int) -> Iterator[CloudEvent]:
    data = {"customer_id": HOT, "code": _CODE}
    yield CloudEvent(REFERRALS, "shop.referral.signed_up.v1", "sign-up", "/bench", _START, data)
    yield from _refunds_newest_first(count - 1)


async def _give_code(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await codes.add_code(connection, "advocate", _CODE, _START)


def _counted(since: int) -> Events:
    """Reviews and activities in turn, from a minute on."""

    def events(count: int) -> Iterator[CloudEvent]:
        for number in range(since, since + count):
            if number % 2:
                data = {"review_id": f"{number}", "sku": "s", "rating": 5, "verified_purchase": True}
                yield _event("shop.review.published.v1", f"review-{number}", at_minute(number), data)
            else:
                data = {"activity_id": f"{number}", "activity": "store_visit"}
                yield _event("shop.activity.performed.v1", f"activity-{number}", at_minute(number), data)

    return events


def _event(type_: str, id_: str, at: datetime, data: Mapping[str, Any]) -> CloudEvent:
    return CloudEvent(TYPES[type_].topic, type_, id_, "/bench", at, {"customer_id": HOT, **data})


def _document(**downgrade: Any) -> dict[str, Any]:
    """A tier program under which customers fall, and in which all metrics count."""
    silver, gold = programs.DEFAULT["tiers"][1:]
    more = [{"metric": "activities", "activity": "store_visit", "at_least": 50}, {"metric": "reviews", "at_least": 40}]
    ways = {"enter": [*silver["enter"], more], "keep": [[{"metric": "spend", "at_least": "400"}], more]}
    tiers = [programs.DEFAULT["tiers"][0], {**silver, **ways}, gold]
    return {**programs.DEFAULT, "tiers": tiers, "downgrade": {"to": "earned", **downgrade}}


REVOKE: Final = _document(on_refund="revoke")
FALL_AT_ONCE: Final = _document(when="at_once")

PUBLISHED_SQL = """
INSERT INTO document_version (kind, id, version, document, created_at, published_at, effective_at)
VALUES ($1, '', 2, $2, now(), now(), '2000-01-01Z')
"""


async def _publish(document: Mapping[str, Any], pool: Pool) -> None:
    """Put a tier program in force before the histories begin."""
    await pool.execute(PUBLISHED_SQL, KIND.name, dump(KIND.model.model_validate(document)))


EXPIRE_SQL = "UPDATE lot SET expires_at = $1"
DUE_SQL = "UPDATE account SET due_at = $1 WHERE customer_id = 'hot'"


async def _expire_soon(pool: Pool) -> None:
    """Let all lots expire at one instant soon; the customer's next event applies the expiry."""
    at = datetime.now(UTC) + timedelta(seconds=SECONDS / 4)
    await pool.execute(EXPIRE_SQL, at)
    await pool.execute(DUE_SQL, at)


_revoking, _falling = partial(_publish, REVOKE), partial(_publish, FALL_AT_ONCE)
_NEWEST_REFUNDS: Final = (_refunds_newest_first, _more_refunds_newest_first)

HISTORIES: Final = (
    History("one customer with 40,000 orders", 40_000, _orders, _more_orders),
    History("40,000 lots that expire at one instant", 40_000, _orders, _more_orders, before=_expire_soon),
    History("one order with 10,000 refunds", 10_000, _refunds_after, _more_refunds),
    History("10,000 refunds before their purchase", 10_000, _refunds_before, _more_refunds),
    History("a backfill of 8,000 orders newest first, with tiers", 16_000, _backfill, _more_backfill),
    History("one customer with 40,000 orders", 40_000, _orders, _more_orders, "tiers"),
    History("a backfill of 8,000 orders newest first", 8_000, _newest_first, _more_newest_first, "tiers"),
    History("one order with 10,000 refunds", 10_000, _refunds_after, _more_refunds, "tiers"),
    History("10,000 refunds newest first", 10_000, _refunds_newest_first, _more_refunds_newest_first, "tiers"),
    History("10,000 refunds before their purchase", 10_000, _refunds_before, _more_refunds, "tiers"),
    History("40,000 reviews and activities", 40_000, _counted(0), _counted(-100_000), "tiers", first=_revoking),
    History("one order with 10,000 refunds, revoked", 10_000, _refunds_after, _more_refunds, "tiers", first=_revoking),
    History("10,000 refunds newest first, revoked", 10_000, *_NEWEST_REFUNDS, "tiers", first=_revoking),
    History("40,000 orders, falling at once", 40_000, _orders, _more_orders, "tiers", first=_falling),
    History(
        "one order with 10,000 refunds, falling at once", 10_000, _refunds_after, _more_refunds, "tiers", first=_falling
    ),
    History("one customer with 40,000 orders", 40_000, _orders, _more_orders, "referrals"),
    History(
        "10,000 refunds of an order that brought a reward, newest first",
        10_000,
        _refunds_of_a_friend,
        _more_refunds_newest_first,
        "referrals",
        first=_give_code,
    ),
    History("10,000 refunds before their purchase", 10_000, _refunds_before, _more_refunds, "referrals"),
)
