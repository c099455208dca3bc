"""What starts journeys, and what they ask to send."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from pydantic_core import to_json

from services.notifications.rules import notice
from services.notifications.rules.message import Channel
from shared.contracts.envelope import Cause, Event
from shared.contracts.loyalty import PointsMoved, ReferralChanged, TierChanged
from shared.contracts.values import format_instant

Json = Any
"""A JSON value."""


@dataclass(frozen=True, slots=True)
class TriggerEvent:
    """What an event, or an instant, offers to the journeys of one customer.

    `key` names it among the customer's triggers for ever. `facts` are what templates and conditions can use: JSON
    values by name, at most 16 KB. `at` is when it happened; in a request, when the send step fell due.
    """

    type: str
    customer_id: str
    key: str
    facts: Mapping[str, Json]
    at: datetime
    cause: Cause


@dataclass(frozen=True, slots=True)
class Request:
    """One send step of one run, to be made into messages.

    `run_id` is null for runs that are not stored. `step` is the path of the step, such as `0` or `3/bonus/0`. `mode`
    `first` sends on the first channel that may go, `all` on each. A marketing message is too old `not_after` the
    trigger's instant; null: as settings say.
    """

    trigger: TriggerEvent
    journey: str
    run_id: UUID | None
    step: str
    template: str
    channels: tuple[Channel, ...]
    mode: Literal["first", "all"]
    not_after: timedelta | None


_LARGEST: Final = 16_384
"""Maximum size of the facts of a trigger as JSON, in bytes: longer lists are left out."""

# Names, addresses and evidence of people are in their profiles, if at all: they are no facts.
_OF_PEOPLE: Final = frozenset({"shop.customer.registered.v1", "shop.customer.updated.v1", "shop.referral.signed_up.v1"})

_KEYS: Final[Mapping[str, str]] = {
    "shop.purchase.completed.v1": "order/{order_id}",
    "shop.purchase.refunded.v1": "refund/{order_id}/{refund_id}",
    "shop.purchase.delivered.v1": "delivery/{order_id}",
    "shop.order.status_changed.v1": "status/{order_id}/{status}",
    "shop.review.published.v1": "review/{review_id}",
    "shop.review.withdrawn.v1": "review/{review_id}",
    "shop.activity.performed.v1": "activity/{activity_id}",
    "shop.survey.answered.v1": "answer/{answer_id}",
    "shop.referral.signed_up.v1": "code/{code}",
    "shop.customer.registered.v1": "registration",
    "loyalty.tier.benefit_used.v1": "benefit/{benefit_id}/{reference}",
}
"""The natural keys of events, from fields of their data."""


def triggers(event: Event, *, wanted: bool = True) -> Sequence[TriggerEvent]:
    """What an event offers to journeys: to two customers if it is about a referral, else to one.

    `wanted` says whether a journey starts by events of the type: only then there are facts.
    """
    if isinstance(event.data, ReferralChanged):
        return _of_referral(event, event.data)
    noticed = [
        TriggerEvent(event.type, each.customer_id, each.key, each.facts, each.occurred_at, each.cause)
        for each in notice.notices(event)
    ]
    if noticed:
        return noticed
    facts = _facts(event) if wanted else {}
    return [TriggerEvent(event.type, event.customer_id, _key(event), facts, event.time, Cause.of(event))]


def _of_referral(event: Event, referral: ReferralChanged) -> Sequence[TriggerEvent]:
    sides = (
        ("advocate", referral.customer_id, referral.advocate_points),
        ("friend", referral.friend_id, referral.friend_points),
    )
    key = f"referral/{referral.referral_id}"
    return [
        TriggerEvent(event.type, customer_id, key, {"role": role, "points": points or 0}, event.time, Cause.of(event))
        for role, customer_id, points in sides
    ]


def _key(event: Event) -> str:
    pattern = _KEYS.get(event.type)
    if pattern is not None:
        return pattern.format_map(vars(event.data))
    if isinstance(event.data, PointsMoved) and event.type != "loyalty.points.expiring.v1":
        return f"transaction/{event.data.transaction_id}"
    if isinstance(event.data, TierChanged):
        return f"tier/{event.data.to}/{format_instant(event.data.effective_at)}"
    return f"{event.source}#{event.id}"


def _facts(event: Event) -> Mapping[str, Json]:
    if event.type in _OF_PEOPLE:
        return {}
    facts = event.data.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"customer_id"})
    sizes = {name: len(to_json(value)) for name, value in facts.items()}
    while sum(sizes.values()) > _LARGEST - 64 * len(sizes):
        largest = max(sizes, key=lambda name: sizes[name])
        del facts[largest], sizes[largest]
    return facts
