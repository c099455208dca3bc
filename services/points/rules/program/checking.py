"""Whether a document may be kept: what no single field of it shows, and how large it may be.

Asked of drafts, and of what is published; a version that was published before is read whatever it holds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from services.points.rules.program.document import (
    Condition,
    Document,
    DocumentError,
    Fault,
    Hours,
    IsIn,
    Multiplier,
    PerAmount,
    Rule,
    Window,
    instant,
    pointer,
)

MOST_POINTS_PER_UNIT: Final = 10_000
"""The points that a rule may give for 1.00 in the program's currency."""

# What judging an event costs is bounded by these, by the lines of the largest order, and by the largest body.
_MOST_RATES: Final = 200
_MOST_CONDITIONS: Final = 1_000
_MOST_VALUES: Final = 50_000
_MOST_LIMITS: Final = 500
_MOST_LIMITS_BY_SKU: Final = 5
_LONGEST_VALUE: Final = 256
_MOST_NAMES: Final = 100
_LONGEST_NAME: Final = 200


def parse(sent: object) -> Document:
    """The document in what was sent.

    Raises:
        pydantic.ValidationError: a field is wrong.
        DocumentError: what no single field shows is.
    """
    document = Document.model_validate(sent)
    check(document)
    return document


def check(document: Document) -> None:
    """See whether a document's parts go together, and are not too many.

    Raises:
        DocumentError: they do not; tells every wrong place.
    """
    faults = [*_contradictions(document), *_too_much(document)]
    if faults:
        raise DocumentError(faults)


def _too_much(document: Document) -> Iterator[Fault]:
    """What would let an event cost too much."""
    if len(document.rates) > _MOST_RATES:
        yield Fault("/rates", f"at most {_MOST_RATES} rates")
    totals = {
        "when": _Total(_MOST_CONDITIONS, "conditions in all rules together"),
        "values": _Total(_MOST_VALUES, "values in all conditions together"),
        "limits": _Total(_MOST_LIMITS, "limits in all rules together"),
        "by sku": _Total(_MOST_LIMITS_BY_SKU, "limits per sku on purchases in all rules together"),
    }
    for index, rule in enumerate(document.rules):
        yield from (Fault(pointer("rules", index, *steps), message) for steps, message in _too_long(rule))
        for name, steps, count in _counted(rule):
            message = totals[name].exceeded_by(count)
            if message is not None:
                yield Fault(pointer("rules", index, *steps), message)


@dataclass(slots=True)
class _Total:
    """How many of something a document has so far, and may have."""

    most: int
    what: str
    found: int = 0

    def exceeded_by(self, count: int) -> str | None:
        """Words where it is these that are too many."""
        before, self.found = self.found, self.found + count
        return f"at most {self.most} {self.what}" if before <= self.most < self.found else None


def _counted(rule: Rule) -> Iterator[tuple[str, tuple[str | int, ...], int]]:
    """What a rule adds to the totals of its document, and where it stands in the rule."""
    yield "when", ("when",), len(rule.when)
    for place, condition in enumerate(rule.when):
        if isinstance(condition, IsIn):
            yield "values", ("when", place, "values"), len(condition.values)
    yield "limits", ("limits",), len(rule.limits)
    if rule.on == "purchase":
        yield "by sku", ("limits",), sum(limit.scope == "customer_sku" for limit in rule.limits)


def _too_long(rule: Rule) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if len(rule.name) > _MOST_NAMES:
        yield ("name",), f"at most {_MOST_NAMES} names"
    for locale, name in rule.name.items():
        if len(name) > _LONGEST_NAME:
            yield ("name", locale), f"at most {_LONGEST_NAME} characters"
    for place, condition in enumerate(rule.when):
        if isinstance(condition, IsIn):
            for number, value in enumerate(condition.values):
                if len(value) > _LONGEST_VALUE:
                    yield ("when", place, "values", number), f"at most {_LONGEST_VALUE} characters"


def _contradictions(document: Document) -> Iterator[Fault]:
    """What no single field shows."""
    zone = ZoneInfo(document.time_zone)
    if document.currency in document.rates:
        yield Fault(pointer("rates", document.currency), "the program's own currency has no rate")
    if len(set(document.tiers)) != len(document.tiers):
        yield Fault("/tiers", "a tier stands there twice")
    seen: set[str] = set()
    for index, rule in enumerate(document.rules):
        if rule.id in seen:
            yield Fault(pointer("rules", index, "id"), f"another rule has the id {rule.id}")
        seen.add(rule.id)
        for place, condition in enumerate(rule.when):
            for field, message in _wrong_ends(condition, zone):
                yield Fault(pointer("rules", index, "when", place, field), message)
        yield from (Fault(pointer("rules", index, *steps), message) for steps, message in _misplaced(rule))


def _wrong_ends(condition: Condition, zone: ZoneInfo) -> Iterator[tuple[str, str]]:
    if isinstance(condition, Hours) and condition.from_ == condition.to:
        yield "to", "equal ends: from and to have to differ"
    if isinstance(condition, Window):
        ends: list[datetime] = []
        for field, text in (("from", condition.from_), ("to", condition.to)):
            try:
                ends.append(instant(text, zone))
            except (ValueError, OverflowError):
                yield field, "neither a date, nor a date-time"
        if len(ends) == 2 and ends[0] >= ends[1]:
            yield "to", "a window ends after it begins"


def _misplaced(rule: Rule) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if rule.on != "purchase":
        if rule.award.kind != "fixed":
            yield ("award", "kind"), f"only a purchase has an amount: on {rule.on}, award fixed points"
        if rule.activate.kind == "on_delivery":
            yield ("activate", "kind"), f"only a purchase is delivered, not on {rule.on}"
    if isinstance(rule.award, PerAmount) and rule.award.points > MOST_POINTS_PER_UNIT * Decimal(rule.award.amount):
        yield ("award", "points"), f"at most {MOST_POINTS_PER_UNIT} points per 1.00 in the program's currency"
    if isinstance(rule.award, Multiplier) and Decimal(rule.award.factor) < 1:
        yield ("award", "factor"), "a factor below 1 would take points"
    for index, limit in enumerate(rule.limits):
        if (limit.count is None) == (limit.points is None):
            yield ("limits", index), "either count or points"
        if limit.scope == "customer_sku" and rule.on not in {"purchase", "review"}:
            yield ("limits", index, "scope"), f"on {rule.on} there is no sku"
