"""What a new document is refused for: contradictions that no single field shows, and sizes.

Drafts are checked, and documents when they are published; versions that are already published are not checked again.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from services.tiers.rules.program.compiled import Program
from services.tiers.rules.program.document import (
    ActivityCondition,
    BenefitDocument,
    Conditions,
    ProgramDocument,
    RollingDays,
    TierDocument,
)
from shared.programs.faults import DocumentError, Fault, pointer
from shared.programs.values import moment_of

# These bound the cost of judging a customer, and that of the lint.
_MOST_RATES: Final = 200
_MOST_CONDITIONS: Final = 500
_MOST_LISTS: Final = 20
_MOST_BENEFITS: Final = 500
_MOST_ACTIVITIES: Final = 50
_MOST_MULTIPLIER: Final = 10_000
_YEAR: Final = 365

_Steps = tuple[str | int, ...]
"""A path from a tier to one of its parts."""


def check(document: ProgramDocument) -> None:
    """Check that the parts of a document go together, and are not too many.

    Raises:
        DocumentError: they do not go together or are too many; it lists every fault.
    """
    faults = [*_contradictions(document), *_too_much(document)]
    if faults:
        raise DocumentError(faults)


def missing_moves(before: Program, document: ProgramDocument) -> list[Fault]:
    """The faults of a document whose `moves` lack tiers that the version before it has and it lacks."""
    kept = {tier.id for tier in document.tiers}
    return [
        Fault("/moves", f"tier {tier.id} of version {before.version} is gone: name the tier to which its members move")
        for tier in before.tiers
        if tier.id not in kept and tier.id not in document.moves
    ]


def _contradictions(document: ProgramDocument) -> Iterator[Fault]:
    if document.currency in document.rates:
        yield Fault(pointer("rates", document.currency), "the program's own currency must have no rate")
    zone, ids = ZoneInfo(document.time_zone), set[str]()
    for rank, tier in enumerate(document.tiers):
        if tier.id in ids:
            yield Fault(pointer("tiers", rank, "id"), f"another tier has the id {tier.id}")
        ids.add(tier.id)
        faults = (*(_wrong_higher(tier) if rank else _wrong_first(tier)), *_wrong_parts(tier, zone))
        yield from (Fault(pointer("tiers", rank, *steps), message) for steps, message in faults)
    yield from _impossible_falls(document)
    for source, target in document.moves.items():
        if target not in ids:
            yield Fault(pointer("moves", source), f"this document has no tier {target}")


def _wrong_first(tier: TierDocument) -> Iterator[tuple[_Steps, str]]:
    """What the first tier must not have."""
    for field in ("enter", "keep"):
        if getattr(tier, field) is not None:
            yield (field,), "everybody is in the first tier: it has no conditions"
    if tier.permanent:
        yield ("permanent",), "nobody can fall from the first tier: it is not permanent"
    if Decimal(tier.points_multiplier) != 1:
        yield ("points_multiplier",), "the first tier has the multiplier 1"


def _wrong_higher(tier: TierDocument) -> Iterator[tuple[_Steps, str]]:
    if tier.enter is None:
        yield ("enter",), "a tier above the first needs conditions"
    for field, lists in (("enter", tier.enter), ("keep", tier.keep)):
        yield from (((field, *steps), message) for steps, message in _wrong_lists(lists))


def _wrong_parts(tier: TierDocument, zone: ZoneInfo) -> Iterator[tuple[_Steps, str]]:
    if Decimal(tier.points_multiplier) > _MOST_MULTIPLIER:
        yield ("points_multiplier",), f"at most {_MOST_MULTIPLIER}"
    ids = set[str]()
    for place, benefit in enumerate(tier.benefits):
        if benefit.id in ids:
            yield ("benefits", place, "id"), f"another benefit of this tier has the id {benefit.id}"
        ids.add(benefit.id)
        for field, message in _wrong_window(benefit, zone):
            yield ("benefits", place, field), message


def _wrong_lists(lists: Conditions | None) -> Iterator[tuple[_Steps, str]]:
    if lists is None:
        return
    if not lists:
        yield (), "at least one list of conditions, each with at least one condition"
    if len(lists) > _MOST_LISTS:
        yield (), f"at most {_MOST_LISTS} lists of conditions"
    for number, together in enumerate(lists):
        if not together:
            yield (number,), "at least one condition"
        seen = set[tuple[str, str | None]]()
        for place, condition in enumerate(together):
            key = condition.metric, condition.activity if isinstance(condition, ActivityCondition) else None
            if key in seen:
                yield (number, place), f"this list has another condition on {_subject(*key)}"
            seen.add(key)


def _subject(metric: str, activity: str | None) -> str:
    return metric if activity is None else f"{metric} of the name {activity}"


def _wrong_window(benefit: BenefitDocument, zone: ZoneInfo) -> Iterator[tuple[str, str]]:
    ends: list[datetime] = []
    for field, text in (("from", benefit.from_), ("to", benefit.to)):
        try:
            ends += [] if text is None else [moment_of(text, zone)]
        except (ValueError, OverflowError):
            yield field, "neither a date, nor a date-time without an offset, nor an RFC 3339 date-time with one"
    if len(ends) == 2 and ends[0] >= ends[1]:
        yield "to", "the end must be after the beginning"


def _impossible_falls(document: ProgramDocument) -> Iterator[Fault]:
    period, downgrade = document.period, document.downgrade
    longest = period.days if isinstance(period, RollingDays) else _YEAR
    if downgrade.grace_days >= longest:
        yield Fault(
            "/downgrade/grace_days", f"below {longest}: the lower tier's period would be over before the grace is"
        )
    if downgrade.when == "at_once":
        if period.kind in {"calendar_year", "anniversary"}:
            yield Fault(
                "/downgrade/when", f"a {period.kind} starts from nothing: fall at the period's end, or let days roll"
            )
        if downgrade.grace_days and downgrade.grace_days < longest:
            yield Fault("/downgrade/grace_days", "there is no grace where tiers are lost at once")
        if document.on_publish != "full":
            yield Fault("/on_publish", "where tiers are lost at once, everybody is judged by a new version: full")


def _too_much(document: ProgramDocument) -> Iterator[Fault]:
    """What would make a customer too expensive to judge."""
    if len(document.rates) > _MOST_RATES:
        yield Fault("/rates", f"at most {_MOST_RATES} rates")
    totals, activities = Counter[str](), set[str]()
    for rank, tier in enumerate(document.tiers):
        for name, field, count, most in _counted(tier, activities):
            totals[name] += count
            if totals[name] > most >= totals[name] - count:
                yield Fault(pointer("tiers", rank, field), f"at most {most} {name} in all tiers together")


def _counted(tier: TierDocument, activities: set[str]) -> Iterator[tuple[str, str, int, int]]:
    """What a tier adds to the totals of its document: what, where, how much, and the maximum in all."""
    for field, lists in (("enter", tier.enter), ("keep", tier.keep)):
        conditions = [condition for together in lists or () for condition in together]
        yield "conditions", field, len(conditions), _MOST_CONDITIONS
        names = {
            condition.activity
            for condition in conditions
            if isinstance(condition, ActivityCondition) and condition.activity is not None
        }
        yield "names of activities", field, len(names - activities), _MOST_ACTIVITIES
        activities |= names
    yield "benefits", "benefits", len(tier.benefits), _MOST_BENEFITS
