"""A version of the earning rules compiled once, and the versions that a batch is judged by."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Self
from zoneinfo import ZoneInfo

from services.points.rules.program import dates
from services.points.rules.program.compiled_rule import CompiledRule, compile_rules
from services.points.rules.program.document import Document
from services.points.rules.program.values import EVENTS, WEEKDAYS, On
from shared.programs.kind import Book


@dataclass(frozen=True, slots=True, eq=False)
class RuleSet:
    """A published version of the earning rules."""

    version: int
    document: Document
    zone: ZoneInfo
    week_start: int
    """0 is Monday."""
    rates: dict[str, int]
    """What 1.00 of a currency is worth in the program's, over `rate_scale`."""
    rate_scale: int
    rules: dict[On, tuple[CompiledRule, ...]]
    looks_at_lines: bool
    """Whether a rule of purchases needs the order's lines."""
    looks_at_clock: bool
    """Whether a rule depends on the program's time zone."""
    looks_at_tier: frozenset[On]
    """The events whose rules depend on the customer's tier."""
    limits_purchases: bool
    by_total: tuple[tuple[int, int], ...] | None
    """If an order's total alone decides: of each rule, the points and the amount in ten-thousandths that earns them."""
    gives_at_once: bool
    """Whether all points of purchases are available at once, and never expire."""
    granting: dict[str, CompiledRule]
    """The rules of purchases by the names under which points are booked: their ids, and those of tiers' extras."""

    @classmethod
    def of(cls, version: int, document: Document) -> Self:
        """The version, compiled."""
        terms = document.terms
        rules: dict[On, tuple[CompiledRule, ...]] = {
            on: tuple(compile_rules([rule for rule in document.rules if rule.on == on], terms)) for on in EVENTS
        }
        purchase = rules["purchase"]
        scale = _rate_scale(document.rates.values())
        return cls(
            version=version,
            document=document,
            zone=terms.zone,
            week_start=WEEKDAYS.index(document.week_start),
            rates={document.currency: scale, **{name: int(Decimal(it) * scale) for name, it in document.rates.items()}},
            rate_scale=scale,
            rules=rules,
            looks_at_lines=any(rule.line_filters or rule.counts_skus for rule in purchase),
            looks_at_clock=any(rule.looks_at_clock for compiled in rules.values() for rule in compiled),
            looks_at_tier=frozenset[On](
                on for on, compiled in rules.items() if any(rule.looks_at_tier for rule in compiled)
            ),
            limits_purchases=any(rule.limits for rule in purchase),
            by_total=_by_total(purchase),
            gives_at_once=all(
                rule.written.activate.kind == "now" and rule.written.expire.kind == "never" for rule in purchase
            ),
            granting={rule.extra: rule for rule in reversed(purchase) if rule.per_amount is not None}
            | {rule.id: rule for rule in purchase},
        )

    def local(self, moment: datetime) -> datetime:
        """An instant in the program's time zone, if any rule needs it (the conversion takes a microsecond)."""
        return dates.local(moment, self.zone) if self.looks_at_clock else moment

    def unlisted(self, tier: str | None) -> str | None:
        """The tier if the rules do not list it, else None."""
        return None if tier in self.document.tiers else tier

    def on(self, event: On) -> tuple[CompiledRule, ...]:
        """The rules for an event, in the document's order."""
        return self.rules[event]


RuleBook = Book[RuleSet]
"""The versions that a batch is judged by."""


def _by_total(purchase: tuple[CompiledRule, ...]) -> tuple[tuple[int, int], ...] | None:
    if all(rule.is_free for rule in purchase):
        return tuple(rule.per_amount for rule in purchase if rule.per_amount)
    return None


def _rate_scale(rates: Iterable[str]) -> int:
    """A power of ten over which all rates are whole numbers; 10,000 unless a rate has more decimals."""
    return 10 ** max([4, *(len(rate.partition(".")[2]) for rate in rates)])
