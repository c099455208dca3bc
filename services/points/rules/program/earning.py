"""What earns points: one table of the kinds, with their events, the origins of their points and the published reasons.

A new kind is a row of this table and a name in `values.On`. The worker subscribes to the events of the table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from services.points.rules.program.values import On
from shared.contracts.envelope import Event
from shared.contracts.registry import TYPES


class Origin(NamedTuple):
    """Where points come from, or what a transaction is about, within a customer.

    It is stored as the text `kind/id`, or as `kind` where there is no id.
    """

    kind: str
    id: str = ""

    @classmethod
    def parse(cls, text: str) -> "Origin":
        """The origin of its text."""
        kind, _, id_ = text.partition("/")
        return cls(kind, id_)

    def __str__(self) -> str:
        return f"{self.kind}/{self.id}" if self.id else self.kind


@dataclass(frozen=True, slots=True)
class Earner:
    """A kind of thing that earns points.

    `prefix` is the kind of its origins, `reason` the kind of the reason that is published with its points. `id_field`
    names the field of the event and of the reason that holds its id (None: the reason has no id).
    """

    on: On
    prefix: str
    reason: str
    id_field: str | None = None
    events: tuple[str, ...] = ()
    """The event types that it is reported by."""
    follow_ups: tuple[str, ...] = ()
    """The event types that change or take back what it earned."""
    facts: Callable[[Any], dict[str, Any]] | None = None
    """The facts for conditions, of an event's data; None where an event alone does not decide (orders, promotions)."""
    is_always_kept: bool = False
    """Whether it is kept where no rule in force is about it: a repeat of it earns nothing by later rules either."""

    def origin_of(self, id_: str = "") -> str:
        """The text of an origin of this kind."""
        return f"{self.prefix}/{id_}" if id_ else self.prefix

    def reason_of(self, id_: str) -> dict[str, str]:
        """The reason as it is published."""
        return {"kind": self.reason} if self.id_field is None else {"kind": self.reason, self.id_field: id_}


def _review_facts(data: Any) -> dict[str, Any]:  # noqa: ANN401 the table pairs it with the events of reviews
    facts = {
        "sku": data.sku,
        "rating": data.rating,
        "verified": data.verified_purchase is True,
        "text_length": data.text_length,
        "photo_count": data.photo_count,
    }
    return {name: value for name, value in facts.items() if value is not None}


PURCHASE: Final = Earner(
    "purchase",
    prefix="order",
    reason="purchase",
    id_field="order_id",
    events=("shop.purchase.completed.v1",),
    follow_ups=("shop.purchase.refunded.v1", "shop.purchase.delivered.v1"),
)
REVIEW: Final = Earner(
    "review",
    prefix="review",
    reason="review",
    id_field="review_id",
    events=("shop.review.published.v1",),
    follow_ups=("shop.review.withdrawn.v1",),
    facts=_review_facts,
    is_always_kept=True,
)
ACTIVITY: Final = Earner(
    "activity",
    prefix="activity",
    reason="activity",
    id_field="activity_id",
    events=("shop.activity.performed.v1",),
    facts=lambda data: {"activity": data.activity},
    is_always_kept=True,
)
SURVEY: Final = Earner(
    "survey",
    prefix="survey",
    reason="survey",
    id_field="answer_id",
    events=("shop.survey.answered.v1",),
    facts=lambda data: {"survey": data.survey, "score": data.score},
    is_always_kept=True,
)
REGISTRATION: Final = Earner(
    "registration",
    prefix="registration",
    reason="registration",
    events=("shop.customer.registered.v1",),
    facts=lambda _: {},
    is_always_kept=True,
)
TIER_PROMOTION: Final = Earner(
    "tier_promotion",
    prefix="tier",
    reason="tier",
    events=(
        "loyalty.tier.promoted.v1",
        "loyalty.tier.demoted.v1",
        "loyalty.tier.retained.v1",
        "loyalty.tier.corrected.v1",
    ),
    is_always_kept=True,
)
REFERRAL: Final = Earner(
    "referral",
    prefix="referral",
    reason="referral",
    id_field="referral_id",
    events=("loyalty.referral.approved.v1",),
    follow_ups=("loyalty.referral.voided.v1",),
    facts=lambda _: {},
)
BIRTHDAY: Final = Earner(
    "birthday",
    prefix="birthday",
    reason="birthday",
    follow_ups=("shop.customer.registered.v1", "shop.customer.updated.v1", "shop.customer.erased.v1"),
)

EARNERS: Final[Mapping[On, Earner]] = {
    earner.on: earner
    for earner in (PURCHASE, REVIEW, ACTIVITY, SURVEY, REGISTRATION, TIER_PROMOTION, REFERRAL, BIRTHDAY)
}

_BY_PREFIX: Final = {earner.prefix: earner for earner in EARNERS.values()}
BY_EVENT: Final = {name: earner for earner in EARNERS.values() if earner.facts for name in earner.events}
"""The kinds that an event reports by itself, by event type."""


def topics() -> dict[str, frozenset[str]]:
    """The event types that the table names, by their topic."""
    types: dict[str, set[str]] = {}
    for earner in EARNERS.values():
        for name in (*earner.events, *earner.follow_ups):
            types.setdefault(TYPES[name].topic, set()).add(name)
    return {topic: frozenset(names) for topic, names in types.items()}


class Accruing(NamedTuple):
    """Something beside orders that earns points: its kind, its origin within the customer, and the facts of it."""

    on: On
    origin: str
    facts: dict[str, Any]


def accruing(event: Event) -> Accruing | None:
    """What an event reports that earns points by itself; None for orders, tiers, and events that take back."""
    earner = BY_EVENT.get(event.type)
    if earner is None or earner.facts is None:
        return None
    id_ = "" if earner.id_field is None else getattr(event.data, earner.id_field)
    return Accruing(earner.on, earner.origin_of(id_), earner.facts(event.data))


def reason_of(origin: str) -> dict[str, str]:
    """The reason that is published with points of an origin."""
    kind, id_ = Origin.parse(origin)
    earner = _BY_PREFIX.get(kind)
    return {"kind": kind} if earner is None else earner.reason_of(id_)


REASONS: Final = {
    earner.prefix: (earner.reason, earner.id_field) for earner in EARNERS.values() if earner.id_field is not None
}
"""By the kind of an origin: the kind of the published reason, and the name of the id in it."""
