"""What a new document is refused for: contradictions that no single field shows, and sizes.

Drafts are checked, and documents when they are published; versions that are already published are not checked again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from services.points.rules.program.conditions.condition import ValueIn
from services.points.rules.program.document import Document, Rule
from shared.programs.faults import DocumentError, Fault, pointer

# These, the lines of the largest order, and the largest body bound the cost of judging an event.
_MOST_RATES: Final = 200
_MOST_CONDITIONS: Final = 1_000
_MOST_VALUES: Final = 50_000
_MOST_LIMITS: Final = 500
_MOST_LIMITS_BY_SKU: Final = 5
_LONGEST_VALUE: Final = 256
_MOST_NAMES: Final = 100
_LONGEST_NAME: Final = 200

_Steps = tuple[str | int, ...]
"""A path from a rule to one of its parts."""


def parse(sent: object) -> Document:
    """The document in a request.

    Raises:
        pydantic.ValidationError: a field is wrong.
        DocumentError: the document contradicts itself or is too large.
    """
    document = Document.model_validate(sent)
    check(document)
    return document


def check(document: Document) -> None:
    """Check that the parts of a document go together, and are not too many.

    Raises:
        DocumentError: they do not go together or are too many; it lists every fault.
    """
    faults = [*_contradictions(document), *_too_much(document)]
    if faults:
        raise DocumentError(faults)


def _contradictions(document: Document) -> Iterator[Fault]:
    if document.currency in document.rates:
        yield Fault(pointer("rates", document.currency), "the program's own currency must have no rate")
    if len(set(document.tiers)) != len(document.tiers):
        yield Fault("/tiers", "a tier is listed twice")
    terms = document.terms
    ids: set[str] = set()
    for index, rule in enumerate(document.rules):
        if rule.id in ids:
            yield Fault(pointer("rules", index, "id"), f"another rule has the id {rule.id}")
        ids.add(rule.id)
        for place, condition in enumerate(rule.when):
            for field, message in condition.faults(terms):
                yield Fault(pointer("rules", index, "when", place, field), message)
        yield from (Fault(pointer("rules", index, *steps), message) for steps, message in _misplaced(rule))


def _misplaced(rule: Rule) -> Iterator[tuple[_Steps, str]]:
    if rule.on != "purchase":
        if rule.award.kind != "fixed":
            yield ("award", "kind"), f"only a purchase has an amount: on {rule.on}, award fixed points"
        if rule.activate.kind == "on_delivery":
            yield ("activate", "kind"), f"only a purchase is delivered: on {rule.on}, activate now or after days"
    for field, message in rule.award.faults():
        yield ("award", field), message
    for index, limit in enumerate(rule.limits):
        if (limit.count is None) == (limit.points is None):
            yield ("limits", index), "set either count or points"
        if limit.scope == "customer_sku" and rule.on not in {"purchase", "review"}:
            yield ("limits", index, "scope"), f"only purchases and reviews have SKUs, not {rule.on} events"


def _too_much(document: Document) -> Iterator[Fault]:
    """What would make an event too expensive to judge."""
    if len(document.rates) > _MOST_RATES:
        yield Fault("/rates", f"at most {_MOST_RATES} rates")
    totals = {
        "when": _Total(_MOST_CONDITIONS, "conditions in all rules together"),
        "values": _Total(_MOST_VALUES, "values in all conditions together"),
        "limits": _Total(_MOST_LIMITS, "limits in all rules together"),
        "by sku": _Total(_MOST_LIMITS_BY_SKU, "limits per SKU on purchases in all rules together"),
    }
    for index, rule in enumerate(document.rules):
        yield from (Fault(pointer("rules", index, *steps), message) for steps, message in _too_long(rule))
        for name, steps, count in _counted(rule):
            message = totals[name].exceeded_by(count)
            if message is not None:
                yield Fault(pointer("rules", index, *steps), message)


@dataclass(slots=True)
class _Total:
    """A sum over all rules of a document, and its maximum."""

    most: int
    what: str
    count: int = 0

    def exceeded_by(self, count: int) -> str | None:
        """Adds to the sum; a message if that is what exceeds the maximum."""
        before, self.count = self.count, self.count + count
        return f"at most {self.most} {self.what}" if before <= self.most < self.count else None


def _counted(rule: Rule) -> Iterator[tuple[str, _Steps, int]]:
    """What a rule adds to the totals of its document, and where."""
    yield "when", ("when",), len(rule.when)
    for place, condition in enumerate(rule.when):
        if isinstance(condition, ValueIn):
            yield "values", ("when", place, "values"), len(condition.values)
    yield "limits", ("limits",), len(rule.limits)
    if rule.on == "purchase":
        yield "by sku", ("limits",), sum(limit.scope == "customer_sku" for limit in rule.limits)


def _too_long(rule: Rule) -> Iterator[tuple[_Steps, str]]:
    if len(rule.name) > _MOST_NAMES:
        yield ("name",), f"at most {_MOST_NAMES} names"
    for locale, name in rule.name.items():
        if len(name) > _LONGEST_NAME:
            yield ("name", locale), f"at most {_LONGEST_NAME} characters"
    for place, condition in enumerate(rule.when):
        if isinstance(condition, ValueIn):
            for number, value in enumerate(condition.values):
                if len(value) > _LONGEST_VALUE:
                    yield ("when", place, "values", number), f"at most {_LONGEST_VALUE} characters"
