"""Warnings about a valid tier program, which marketing sees before it publishes it.

`lint` has what is certain from the document alone; `idle_moves` and `unpriced` look at the version before it and at
what customers have bought.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from services.tiers.rules.program.compiled import Program
from services.tiers.rules.program.document import BenefitDocument, ProgramDocument, RollingDays, TierDocument
from services.tiers.rules.program.idle import Doubt, idle_lists, skipped_tiers
from services.tiers.rules.program.implications import looks_at_spend
from services.tiers.rules.program.wording import name_of
from shared.programs import rates
from shared.programs.faults import Fault, pointer
from shared.programs.values import moment_of

_YEAR: Final = 365
_MOST_LISTED: Final = 10


def lint(document: ProgramDocument, moment: datetime) -> list[Fault]:
    """Warnings about a valid document, by tier with its id and in words; `moment` ends windows."""
    locales = frozenset(locale for tier in document.tiers for locale in tier.name)
    by_rank = [[*idle_lists(tier), *_unnamed(tier, locales)] for tier in document.tiers]
    doubts = (*skipped_tiers(document), *_doubtful_multipliers(document), *_doubtful_benefits(document, moment))
    for rank, doubt in doubts:
        by_rank[rank].append(doubt)
    warnings: list[Fault] = []
    for rank, (tier, own) in enumerate(zip(document.tiers, by_rank, strict=True)):
        name = name_of(tier, document.currency) if own else ""
        warnings += [Fault(pointer("tiers", rank, *steps), f"{name}: {message}") for steps, message in own]
    return [*warnings, *_doubtful_falls(document), *_doubtful_at_risk(document), *_doubtful_publication(document)]


def idle_moves(before: Program, document: ProgramDocument) -> list[Fault]:
    """Warnings about moves from tiers that neither the version before a document nor the document has."""
    ids = {tier.id for tier in document.tiers}
    return [
        Fault(pointer("moves", source), f"version {before.version} has no tier {source}: nobody moves from it")
        for source in document.moves
        if source not in before and source not in ids
    ]


def unpriced(document: ProgramDocument, orders: Mapping[str, int]) -> list[Fault]:
    """Warnings about currencies of orders that have no rate, the most frequent first."""
    if not any(looks_at_spend((*(tier.enter or ()), *(tier.keep or ()))) for tier in document.tiers):
        return []
    return rates.unpriced({document.currency, *document.rates}, orders, "they are no spend")


def _unnamed(tier: TierDocument, locales: frozenset[str]) -> Iterator[Doubt]:
    if not tier.name:
        yield ("name",), "it has no name: customers see its id"
    elif missing := sorted(locales - tier.name.keys()):
        yield ("name",), f"it has no name in {', '.join(missing[:_MOST_LISTED])}, in which other tiers have one"


def _doubtful_multipliers(document: ProgramDocument) -> Iterator[tuple[int, Doubt]]:
    for rank, (lower, tier) in enumerate(pairwise(document.tiers), 1):
        if Decimal(tier.points_multiplier) < Decimal(lower.points_multiplier):
            message = f"members earn less than those of tier {lower.id}, which has {lower.points_multiplier}"
            yield rank, (("points_multiplier",), message)
        elif Decimal(tier.points_multiplier) < 1:
            yield rank, (("points_multiplier",), "below 1 it takes nothing away: members earn as with 1")


def _doubtful_benefits(document: ProgramDocument, moment: datetime) -> Iterator[tuple[int, Doubt]]:
    zone, seen = ZoneInfo(document.time_zone), dict[str, tuple[str, BenefitDocument]]()
    for rank, tier in enumerate(document.tiers):
        for place, benefit in enumerate(tier.benefits):
            steps = "benefits", place
            if benefit.to is not None and moment_of(benefit.to, zone) <= moment:
                yield rank, ((*steps, "to"), f"benefit {benefit.id} is over when this takes effect")
            if benefit.uses is not None and benefit.uses.per == "period" and document.period.kind == "lifetime":
                yield rank, ((*steps, "uses", "per"), f"benefit {benefit.id}: of a lifetime, `period` is `ever`")
            first, other = seen.setdefault(benefit.id, (tier.id, benefit))
            if (benefit.kind, benefit.uses) != (other.kind, other.uses):
                message = (
                    f"benefit {benefit.id} is another in tier {first}: one id is one benefit, with one count of uses"
                )
                yield rank, (steps, message)


def _doubtful_falls(document: ProgramDocument) -> Iterator[Fault]:
    downgrade = document.downgrade
    if len(document.tiers) == 1:
        return
    if downgrade.to == "never" and downgrade.when == "at_once":
        yield Fault("/downgrade/when", "nobody falls, also not at once: `to` is `never`")
    if downgrade.grace_days and not _has_ends(document):
        yield Fault("/downgrade/grace_days", "no tier ends by this program: there is no grace")
    if downgrade.on_refund == "keep" and (downgrade.to == "never" or downgrade.when == "period_end"):
        tier, held = document.tiers[-1], "until its period ends" if _has_ends(document) else "for ever"
        name = name_of(tier, document.currency)
        yield Fault(
            "/downgrade/on_refund",
            f"a refund lowers no tier: who buys, reaches {name} and returns it, is in it {held}",
        )


def _doubtful_at_risk(document: ProgramDocument) -> Iterator[Fault]:
    if document.at_risk_days and not _has_ends(document):
        yield Fault("/at_risk_days", "no tier ends by this program: nobody is told that it does")
        return
    longest = document.period.days if isinstance(document.period, RollingDays) else _YEAR
    for place, days in enumerate(document.at_risk_days):
        if days >= longest:
            message = f"the period of {longest} days has not begun {days} days before its end"
            yield Fault(pointer("at_risk_days", place), message)
        elif days in document.at_risk_days[:place]:
            yield Fault(pointer("at_risk_days", place), f"{days} is listed twice: members are told once")


def _doubtful_publication(document: ProgramDocument) -> Iterator[Fault]:
    if document.on_publish == "full" and document.downgrade.to == "never":
        yield Fault("/on_publish", "`full` changes nothing: nobody falls where `to` is `never`")
    elif document.on_publish == "full":
        message = "everybody is judged when this takes effect: who neither enters nor keeps their tier falls at once"
        yield Fault("/on_publish", message)
    ids = {tier.id for tier in document.tiers}
    for source in document.moves:
        if source in ids:
            yield Fault(pointer("moves", source), f"this document has tier {source}: nobody moves from it")


def _has_ends(document: ProgramDocument) -> bool:
    """Whether any tier ends with a period."""
    downgrade = document.downgrade
    ends = document.period.kind != "lifetime" and downgrade.when == "period_end" and downgrade.to != "never"
    return ends and any(not tier.permanent for tier in document.tiers[1:])
