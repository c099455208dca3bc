"""What the model knows of one customer: everything that was ever told, looked through anew for each question."""

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from tests.notifications.oracles.happening import (
    AT_RISK,
    ERASED,
    PURCHASE,
    REGISTERED,
    UPDATED,
    Json,
)

KEYS = {
    PURCHASE: "order_id",
    "shop.review.published.v1": "review_id",
}


@dataclass(slots=True)
class Fact:
    """An event as it concerns one customer."""

    type: str
    key: str
    at: datetime
    data: Json


@dataclass(slots=True)
class Run:
    """One customer's way through a journey. `todo` are the steps still to take with their paths."""

    journey: str
    document: Json
    fact: Fact
    began: datetime
    since: datetime
    fell_due: datetime
    todo: list[tuple[str, Json]]
    due: datetime | None = None
    awaits: str | None = None
    items: list[Fact] = field(default_factory=list[Fact])
    spent: int = 0
    state: str = "waiting"


@dataclass(slots=True)
class Customer:
    """A customer."""

    id: str
    told: list[Fact] = field(default_factory=list[Fact])
    erased: datetime | None = None
    is_gone: bool = False
    facts: list[Fact] = field(default_factory=list[Fact])
    runs: list[Run] = field(default_factory=list[Run])
    used: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    starts: dict[str, list[datetime]] = field(default_factory=dict[str, list[datetime]])

    def counts(self, at: datetime) -> bool:
        """Whether what happened at an instant counts: after an erasure nothing does until they register again."""
        return not self.is_gone and (self.erased is None or at > self.erased)

    def hear(self, fact: Fact) -> None:
        """Take what an event says of the customer's profile; an erasure removes everything from before."""
        if fact.type == ERASED:
            self.erased = fact.at if self.erased is None else max(self.erased, fact.at)
            self.told = [each for each in self.told if each.at > self.erased]
            self.is_gone = not any(each.type == REGISTERED for each in self.told)
            self.facts, self.used, self.starts = [], set(), {}
            self.runs = []
            return
        if fact.type not in {REGISTERED, UPDATED} or (self.erased is not None and fact.at <= self.erased):
            return
        self.told.append(fact)
        if fact.type == REGISTERED:
            self.is_gone = False

    def detail(self, name: str) -> Any:
        """A field of the profile: the newest time wins."""
        told = [each for each in self.told if name in each.data]
        return max(told, key=lambda each: each.at).data[name] if told else None

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.detail("time_zone") or "UTC")

    @property
    def birth_date(self) -> date | None:
        """The birth date."""
        text = self.detail("birth_date")
        return None if text is None else date.fromisoformat(text)

    @property
    def registered_at(self) -> datetime | None:
        """When the customer registered last."""
        return max((each.at for each in self.told if each.type == REGISTERED), default=None)

    @property
    def tier(self) -> str | None:
        """The tier by the last tier event that came: they come in the order in which tiers recorded them."""
        told = [each for each in self.facts if each.type.startswith("loyalty.tier.") and each.type != AT_RISK]
        return told[-1].data["to"] if told else None

    @property
    def available(self) -> int:
        """The points available by the last event of points that came: likewise."""
        told = [each for each in self.facts if each.type.startswith("loyalty.points.")]
        return told[-1].data["balance"]["available"] if told else 0

    @property
    def spent(self) -> int:
        """The points that were redeemed so far."""
        return sum(each.data["points"] for each in self.facts if each.type == "loyalty.points.redeemed.v1")

    def times(self, type_: str, but: str | None = None) -> list[datetime]:
        """The times of what is known to have happened, in order; `but` does not count."""
        return sorted(each.at for each in self.facts if each.type == type_ and each.key != but)
