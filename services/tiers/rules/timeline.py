"""The timeline: the tiers of a customer over time, a pure function of the changes of spend."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from services.tiers.rules import by_spend
from services.tiers.rules.curve import Curve, Reading, amount_of, money_of, to_datetime, to_microsecond
from services.tiers.rules.program.compiled import Program, Tier
from services.tiers.rules.spend import SpendChange
from services.tiers.rules.window import Window


@dataclass(frozen=True, slots=True)
class Entry:
    """From `effective_at` on, the customer is in the tier with this id."""

    effective_at: datetime
    tier: str


Timeline = tuple[Entry, ...]
"""Entries in the order of time, each of another tier than its predecessor; before the first, the first tier."""


def judge(program: Program, window: Window, timeline: Timeline, spend_changes: Iterable[SpendChange]) -> Timeline:
    """The timeline with these changes of spend added; the window moves over them.

    None of them is earlier than the end of the window and of the timeline, unless the timeline reached the highest
    tier before. Changes at one instant count together, and a tier once reached stays. Applied to an empty window and
    an empty timeline and to all changes of a customer, this is the definition of the timeline.
    """
    entries = list(timeline)
    current = last_tier(program, timeline)
    for at, together in groupby(sorted(spend_changes, key=_instant), key=_instant):
        window.move(at.toordinal())
        for change in together:
            window.add(change.day, change.amount)
        reached = by_spend.reached(program, window.spend)
        if reached.rank > current.rank:
            if entries and entries[-1].effective_at == at:
                entries.pop()
            entries.append(Entry(at, reached.id))
            current = reached
    return tuple(entries)


def climb(program: Program, curve: Curve, timeline: Timeline, since: datetime) -> Reading[Timeline]:
    """The timeline judged again from an instant on, by a curve of spend; earlier entries stay as they are."""
    entries = [entry for entry in timeline if entry.effective_at < since]
    rank = last_tier(program, tuple(entries)).rank
    at = to_microsecond(since)
    while above := [amount_of(by_spend.needed(tier)) for tier in program.tiers[rank + 1 :]]:
        reached_at = yield from curve.first(at, min(above))
        if reached_at is None:
            break
        at = reached_at
        reached = by_spend.reached(program, money_of((yield from curve.value(at))))
        entries.append(Entry(to_datetime(at), reached.id))
        rank = reached.rank
    return tuple(entries)


def last_tier(program: Program, timeline: Timeline) -> Tier:
    """The tier in which a timeline ends."""
    return program.tier(timeline[-1].tier) if timeline else program.first


def tier_at(program: Program, timeline: Timeline, moment: datetime) -> tuple[Tier, datetime | None]:
    """The tier at an instant and the time since when; None where the customer has never left the first tier."""
    entries = tuple(entry for entry in timeline if entry.effective_at <= moment)
    return last_tier(program, entries), entries[-1].effective_at if entries else None


def difference(program: Program, old: Timeline, new: Timeline) -> Timeline:
    """The entries that replace `old` from the first instant on at which `new` differs; none where they are equal.

    The first entry is at that instant; it may be of the same tier as before.
    """
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    rest = new[same:]
    changed_at = min((entry.effective_at for entry in (*old[same : same + 1], *rest[:1])), default=None)
    if changed_at is None or (rest and rest[0].effective_at == changed_at):
        return rest
    return (Entry(changed_at, last_tier(program, new[:same]).id), *rest)


def _instant(change: SpendChange) -> datetime:
    return change.at
