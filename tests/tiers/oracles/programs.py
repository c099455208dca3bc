"""A program document, read as marketing writes it, with the defaults of answers.md T39."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from typing import Any

from tests.tiers.oracles.calendars import Periods, Span, day_of
from tests.tiers.oracles.facts import Changed

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Condition:
    """One metric that has to reach a value."""

    metric: str
    activity: str | None
    at_least: Fraction


Ways = tuple[tuple[Condition, ...], ...]
"""Lists of conditions: any list, all within it."""


@dataclass(frozen=True)
class Tier:
    """One tier of a program; the first has no conditions."""

    id: str
    multiplier: str
    permanent: bool
    enter: Ways
    keep: Ways


class Program:
    """One version of the tier program."""

    def __init__(self, number: int, effective_at: datetime | None, document: Document) -> None:
        downgrade: Mapping[str, Any] = document["downgrade"]
        self.number, self.effective_at = number, effective_at
        self.currency: str = document["currency"]
        self.rates = {currency: Fraction(rate) for currency, rate in (document.get("rates") or {}).items()}
        self.zone: str = document["time_zone"]
        self.kind: str = document["period"]["kind"]
        self.days: int = document["period"].get("days") or 0
        self.tiers = tuple(_tier(tier) for tier in document["tiers"])
        self.to: str = downgrade["to"]
        self.at_once = (downgrade.get("when") or "period_end") == "at_once" and self.to != "never"
        self.never = self.to == "never"
        self.grace_days: int = downgrade.get("grace_days") or 0
        self.revokes = (downgrade.get("on_refund") or "keep") == "revoke"
        self.at_risk_days: Sequence[int] = document.get("at_risk_days") or ()
        self.full = (document.get("on_publish") or "promote_only") == "full"
        self.moves: Mapping[str, str] = document.get("moves") or {}
        self._places = {tier.id: place for place, tier in enumerate(self.tiers)}

    def has(self, tier: str) -> bool:
        """Whether the program lists a tier."""
        return tier in self._places

    def place(self, tier: str) -> int:
        """The position of a tier in the list: 0 is the first."""
        return self._places[tier]

    def tier(self, tier: str) -> Tier:
        """A tier by its id."""
        return self.tiers[self._places[tier]]

    def below(self, tier: str) -> tuple[Tier, ...]:
        """The tiers below one, from the highest to the first."""
        return tuple(reversed(self.tiers[: self.place(tier)]))

    def has_end(self, tier: str) -> bool:
        """Whether the program gives a tier a `valid_until` (T13)."""
        no_end = self.never or self.at_once or self.kind == "lifetime"
        return not no_end and self.place(tier) > 0 and not self.tier(tier).permanent

    def day(self, instant: datetime) -> date:
        """The day of an instant in the program's zone."""
        return day_of(instant, self.zone)

    def periods(self, changes: Iterable[Changed], known_before: datetime, judged: datetime) -> Periods:
        """The windows and periods of a customer whose changes are known before an instant."""
        first = min((c.at for c in changes if not c.is_taking and c.at < known_before), default=judged)
        return Periods(self.kind, self.days, self.zone, self.day(first))

    def value(self, condition: Condition, changes: Iterable[Changed], span: Span, known_before: datetime) -> Fraction:
        """The value of a condition's metric: what was earned in a span, net of what was taken back and is known."""
        total: int | Fraction = 0
        for change in changes:
            if change.metric != condition.metric or change.at >= known_before or change.earned_at >= span.before:
                continue
            if span.since is not None and change.earned_at < span.since:
                continue
            if condition.activity is not None and change.name != condition.activity:
                continue
            rate = self._rate(change)
            total += change.amount if rate == 1 else change.amount * rate
        return Fraction(total)

    def holds(self, ways: Ways, changes: Sequence[Changed], span: Span, known_before: datetime) -> bool:
        """Whether all conditions of some list hold."""
        return any(
            all(self.value(condition, changes, span, known_before) >= condition.at_least for condition in way)
            for way in ways
        )

    def is_kept(self, tier: Tier, changes: Sequence[Changed], span: Span, known_before: datetime) -> bool:
        """Whether a tier is held: by its `keep` or its `enter` (T2); the first always is."""
        if tier is self.tiers[0]:
            return True
        return self.holds(tier.keep, changes, span, known_before) or self.holds(tier.enter, changes, span, known_before)

    def _rate(self, change: Changed) -> int | Fraction:
        if change.metric != "spend" or change.name == self.currency:
            return 1
        return self.rates.get(change.name, Fraction(0))


def programs_of(versions: Sequence[tuple[datetime | None, Document]]) -> list[Program]:
    """The versions in the order of time, numbered from 1; the first is in force since ever."""
    return [Program(number, at, document) for number, (at, document) in enumerate(versions, start=1)]


def _tier(document: Mapping[str, Any]) -> Tier:
    enter = _ways(document.get("enter") or ())
    return Tier(
        id=document["id"],
        multiplier=document.get("points_multiplier") or "1",
        permanent=bool(document.get("permanent")),
        enter=enter,
        keep=_ways(document["keep"]) if document.get("keep") else enter,
    )


def _ways(document: Iterable[Iterable[Mapping[str, Any]]]) -> Ways:
    return tuple(
        tuple(Condition(item["metric"], item.get("activity"), Fraction(item["at_least"])) for item in way)
        for way in document
    )
