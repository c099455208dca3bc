"""A simulation: what a draft of the tier program would do to a customer, and the sum of that over all customers."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from functools import cached_property
from typing import Any, Final, NamedTuple, Self, TypeVar

from services.tiers.rules.judging.conditions import Ways
from services.tiers.rules.judging.machine import Happenings, advance, restore, stays
from services.tiers.rules.judging.run import MOMENT, direction
from services.tiers.rules.judging.state import Standing, State, Values
from services.tiers.rules.metrics import Amount, Answer, Reading, Request
from services.tiers.rules.program.calendar import Calendar
from services.tiers.rules.program.compiled import Period, Program
from services.tiers.rules.program.versions import Versions
from services.tiers.rules.why import why

T = TypeVar("T")

NOTHING_HAPPENED: Final = Happenings()
"""Nearly every customer's, so that it is made once."""

_COST_PERIOD: Final = Period("rolling_days", 365)
"""The days whose qualifying points the cost of multipliers is counted by."""

_Share = tuple[int, int]
"""Numerator and denominator: faster than a Fraction."""


@dataclass(frozen=True)
class WhatIf:
    """A draft judged as if it were published to be in force from `at` on; `published` are the versions before it."""

    published: Versions
    draft: Program
    at: datetime

    @cached_property
    def versions(self) -> Versions:
        """The published versions and the draft."""
        return self.published.with_draft(self.at, self.draft)

    @cached_property
    def before(self) -> Program:
        """The published version that is in force at `at`."""
        return self.published.in_force(self.at)

    @cached_property
    def extras(self) -> tuple[Mapping[str, _Share], Mapping[str, _Share]]:
        """The extra points per qualifying point by tier, before and after."""
        return _extras(self.before), _extras(self.draft)

    @cached_property
    def window(self) -> Request | None:
        """Asks for the sums by which the draft judges every customer at first, if they are of one period."""
        return window_at(self.draft, self.at)

    @cached_property
    def points(self) -> Request:
        """Asks for the qualifying points by which the cost is counted."""
        return Request(Calendar(self.draft.zone, _COST_PERIOD).window(self.at), None, self.at + MOMENT)

    def judged_until(self, state: State | None, rejudge_from: datetime | None) -> datetime | None:
        """The instant from which a customer has to be judged again; None: the stored state is before `at`, and right.

        `rejudge_from` is the earliest instant at which something is not judged yet.
        """
        since = rejudge_from
        if state is not None and state.at is not None:
            missed = self._missed.get(state.version)
            if missed is not None and missed <= state.at:
                since = missed if since is None else min(since, missed)
            if state.at >= self.at:
                since = self.at if since is None else min(since, self.at)
        return since and min(since, self.at)

    @cached_property
    def _missed(self) -> Mapping[int, datetime | None]:
        """When the version after each published version came into force."""
        versions = list(self.published)
        following = [*(start for start, _ in versions[1:]), None]
        return {version.version: start for (_, version), start in zip(versions, following, strict=True)}


def window_at(program: Program, at: datetime) -> Request | None:
    """Asks for the sums by which a version judges every customer at first; None: each has years of their own."""
    if program.period.kind == "anniversary":
        return None
    return Request(Calendar(program.zone, program.period).window(at), None, at)


class Before(NamedTuple):
    """What is known of a customer before an instant: the standing of the last entry, and when something counted first.

    The latter can be later, or unknown, where what counted first was not judged yet.
    """

    instant: datetime
    standing: Standing | None
    anchor: datetime | None


class Prediction(NamedTuple):
    """The tiers of a customer before and after, and the values of metrics after; `why` is a sentence."""

    before: str
    after: str
    why: str
    values: Values


def predict(what_if: WhatIf, state: State, happenings: Happenings) -> Reading[Prediction | None]:
    """Judge a customer at `what_if.at`, once by the published versions and once by the draft besides.

    `state` is before that instant, and `happenings` are what happened after it. None: nothing has counted yet.
    """
    if happenings is NOTHING_HAPPENED and state.at is not None and stays(what_if.published, state, what_if.at):
        before = state
    else:
        before = (yield from advance(what_if.published, state, happenings, what_if.at)).state
    if before.at is None:
        return None
    after = yield from advance(what_if.versions, state, happenings, what_if.at)
    last = after.entries[-1] if after.entries and after.entries[-1].at == what_if.at else None
    reason = why(what_if.draft, before.tier, last)
    return Prediction(before.tier, after.state.tier, reason, after.state.metrics)


def predict_again(what_if: WhatIf, past: Before, happenings: Happenings) -> Reading[Prediction | None]:
    """`predict` for a customer whose stored state is not before `at`, or lacks what happened late."""
    state = yield from restore(what_if.published, past.standing, past.anchor, past.instant)
    return (yield from predict(what_if, state, happenings))


@dataclass(slots=True)
class Tally:
    """The sum of the predictions of some customers: `pairs` are numbers by tier before and after."""

    pairs: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    cost_before: int = 0
    cost_after: int = 0
    near: Counter[str] = field(default_factory=Counter[str])

    def add(self, what_if: WhatIf, prediction: Prediction, points: Amount) -> None:
        """Count a customer with the qualifying points of the last 365 days."""
        self.pairs[prediction.before, prediction.after] += 1
        if points > 0:
            before, after = what_if.extras
            self.cost_before += _cost(points, before[prediction.before])
            self.cost_after += _cost(points, after[prediction.after])
        rank = what_if.draft.tier(prediction.after).rank
        for tier in what_if.draft.tiers[rank + 1 :]:
            if _nearly_holds(tier.enter, prediction.values):
                self.near[tier.id] += 1

    def merge(self, other: Self) -> None:
        """Add the sum of other customers."""
        self.pairs.update(other.pairs)
        self.cost_before += other.cost_before
        self.cost_after += other.cost_after
        self.near.update(other.near)

    def to_json(self) -> dict[str, Any]:
        """The tally as it is stored."""
        pairs = [(before, after, count) for (before, after), count in self.pairs.items()]
        return {"pairs": pairs, "cost": (self.cost_before, self.cost_after), "near": self.near}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The tally that was stored."""
        pairs = Counter({(before, after): count for before, after, count in stored["pairs"]})
        cost_before, cost_after = stored["cost"]
        return cls(pairs, cost_before, cost_after, Counter(stored["near"]))


def result_of(what_if: WhatIf, tallies: Iterable[Tally]) -> dict[str, Any]:
    """The result of a simulation, as the API shows it."""
    total = Tally()
    for tally in tallies:
        total.merge(tally)
    before, after = what_if.before, what_if.draft
    moves = sorted(
        ((pair, count) for pair, count in total.pairs.items() if pair[0] != pair[1]),
        key=lambda move: (before.tier(move[0][0]).rank, after.tier(move[0][1]).rank),
    )
    rises = [(direction(before.tier(from_), after, after.tier(to)), count) for (from_, to), count in moves]
    promoted = sum(count for rise, count in rises if rise > 0)
    demoted = sum(count for rise, count in rises if rise < 0)
    customers = sum(total.pairs.values())
    return {
        "customers": customers,
        "tiers": _tiers(what_if, total.pairs),
        "moves": [{"from": from_, "to": to, "customers": count} for (from_, to), count in moves],
        "promoted": promoted,
        "demoted": demoted,
        "unchanged": customers - promoted - demoted,
        "points_cost": {
            "before": total.cost_before,
            "after": total.cost_after,
            "delta": total.cost_after - total.cost_before,
        },
        "near": [{"tier": tier.id, "within_tenth": total.near[tier.id]} for tier in after.tiers[1:]],
    }


def _tiers(what_if: WhatIf, pairs: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    """The numbers of customers by tier: the draft's tiers in their order, then those that it lacks."""
    before, after = Counter[str](), Counter[str]()
    for (from_, to), count in pairs.items():
        before[from_] += count
        after[to] += count
    ids = dict.fromkeys(tier.id for tier in (*what_if.draft.tiers, *what_if.before.tiers))
    return [{"tier": tier, "before": before[tier], "after": after[tier]} for tier in ids]


def _extras(program: Program) -> Mapping[str, _Share]:
    return {tier.id: (Fraction(tier.points_multiplier) - 1).as_integer_ratio() for tier in program.tiers}


def _cost(points: Amount, extra: _Share) -> int:
    """The extra points of a customer, rounded down."""
    numerator, denominator = extra
    return int(points * numerator // denominator)


def _nearly_holds(ways: Ways, values: Values) -> bool:
    """Whether all values of any list of conditions are at least 0.9 of what is needed."""
    return any(all(values.get(need.key, 0) * 10 >= need.at_least * 9 for need in way) for way in ways)


def answered(reading: Reading[T], request: Request, answer: Answer) -> Reading[T]:
    """A computation that gets the answer of a request that is known already; it asks for the others."""
    answers: Sequence[Answer] | None = None
    while True:
        try:
            asked = next(reading) if answers is None else reading.send(answers)
        except StopIteration as end:
            return end.value
        answers = [answer] if asked == [request] else (yield asked)
