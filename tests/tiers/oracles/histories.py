"""Hypothesis strategies of a customer's history: versions, events and assignments, at instants that often collide."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from tests.tiers.oracles.calendars import TICK, day_of, day_start
from tests.tiers.oracles.documents import ACTIVITIES, documents, ids
from tests.tiers.oracles.dues import next_due
from tests.tiers.oracles.facts import Assignment, Bought, Change, Counted, Earned, Fact, joined
from tests.tiers.oracles.model import Outcome, Replay, judge

FIRST_DAYS = (date(2026, 3, 1), date(2026, 12, 20), date(2028, 2, 20), date(2028, 2, 29), date(2026, 4, 15))
"""Before a day of 23 hours, the end of a year, a leap day, on a leap day, before a day without midnight (Cairo)."""

_TOTALS = ("100", "200", "300", "400", "100", "300", "50", "99.99", "0.01", "0", "374.95")
_KEPT = ("all", "half", "all", "cent", "more")


@dataclass(frozen=True)
class History:
    """One customer: everything that `judge` takes, and the facts that the changes come from."""

    versions: Sequence[tuple[datetime | None, Mapping[str, Any]]]
    facts: Sequence[Fact]
    assignments: Sequence[Assignment]
    now: datetime
    changes: Sequence[Change] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "changes", joined([fact.changes() for fact in self.facts]))

    def judge(self, now: datetime | None = None) -> Outcome:
        """The outcome by the model at an instant, by default at the history's own."""
        return judge(self.versions, self.changes, self.assignments, now or self.now)

    def instants(self) -> list[datetime]:
        """Every instant at which something happens to the customer, an end and now."""
        found = {change.at for change in self.changes} | {given.at for given in self.assignments}
        found |= {given.until for given in self.assignments if given.until is not None}
        found |= {at for at, _ in self.versions if at is not None}
        found |= {entry.valid_until for entry in self.judge().entries if entry.valid_until is not None}
        return sorted({instant for instant in found if instant <= self.now} | {self.now})


class _Clock:
    """Instants in a zone, at distances around a period and a grace."""

    def __init__(self, draw: st.DrawFn, document: Mapping[str, Any]) -> None:
        self.draw = draw
        self.use(document)
        self.now = day_start(draw(st.sampled_from(FIRST_DAYS)), self.zone) + timedelta(hours=12)

    def use(self, document: Mapping[str, Any]) -> None:
        """Measure distances by a program."""
        self.zone: str = document["time_zone"]
        days = document["period"].get("days", 365)
        grace = document["downgrade"].get("grace_days", 0)
        self.is_yearly = document["period"]["kind"] in ("calendar_year", "anniversary")
        # From a day that lifts a customer: to the last day of its window, the next, V, the end of grace, the next V.
        far = {days - 1, days, days + 1, days + 1 + grace, 2 * days + 1}
        self.distances = [0, 0, 0, 1, 1, 2, days // 2, *sorted(far), *({grace} - {0})]

    def after(self, start: datetime, *, least: timedelta = timedelta(0)) -> datetime:
        """An instant at some days' distance: at the same time, the first instant of the day, or its last."""
        days = self.draw(st.sampled_from(self.distances))
        time = self.draw(st.sampled_from(("same", "first", "last", *["year"] * self.is_yearly)))
        day = day_of(start, self.zone) + timedelta(days=days)
        if time == "year":
            day = date(day.year + 1, 1, 1)
        instant = {
            "same": start + timedelta(days=days),
            "last": day_start(day + timedelta(days=1), self.zone) - TICK,
        }.get(time, day_start(day, self.zone))
        return max(instant, start + least)

    def advance(self, so_far: History) -> datetime:
        """Go on to a later instant, or stay: at times to exactly what falls due next."""
        if self.draw(st.integers(0, 3)) == 3:
            replay = Replay(so_far.versions, so_far.changes, so_far.assignments)
            replay.run(self.now)
            self.now = max(self.now, next_due(replay.customer) or self.now)
        else:
            self.now = self.after(self.now)
        return self.now


@st.composite
def histories(
    draw: st.DrawFn,
    *,
    most_steps: int = 14,
    most_versions: int = 3,
    with_assignments: bool = True,
    first: Mapping[str, Any] | None = None,
) -> History:
    """A history of up to so many steps.

    Each step is at the instant of the one before or at a telling distance from it: an event (with what takes it back
    later), a version, an assignment. `first` fixes the first version, for instance one that a test has published.
    """
    versions: list[tuple[datetime | None, Mapping[str, Any]]] = [(None, draw(documents()) if first is None else first)]
    clock = _Clock(draw, versions[0][1])
    facts: list[Fact] = []
    given: list[Assignment] = []
    kinds = ["event"] * 14 + ["version"] * 2 * (most_versions > 1) + ["assignment"] * with_assignments
    for number in range(draw(st.integers(min(4, most_steps), most_steps))):
        kind = draw(st.sampled_from(kinds))
        instant = clock.advance(History(versions, facts, given, clock.now)) if number else clock.now
        if kind == "event":
            facts.append(draw(st.sampled_from(_EVENTS))(clock, number, instant))
        elif kind == "assignment" and all(assignment.at != instant for assignment in given):
            given.append(_assignment(clock, instant, versions))
        elif kind == "version" and len(versions) < most_versions and instant not in _taken(versions, given):
            document = draw(documents(like=versions[-1][1]))
            versions.append((instant, document))
            clock.use(document)
    return History(versions, facts, given, clock.advance(History(versions, facts, given, clock.now)))


def _taken(
    versions: Sequence[tuple[datetime | None, Mapping[str, Any]]], given: Sequence[Assignment]
) -> set[datetime | None]:
    """The instants of versions, and of assignments: who gave a tier there knew the version of then."""
    return {at for at, _ in versions} | {assignment.at for assignment in given}


def _bought(clock: _Clock, number: int, at: datetime) -> Fact:
    draw = clock.draw
    total = draw(st.sampled_from(_TOTALS))
    currency = draw(st.sampled_from(("USD", "USD", "USD", "SAR", "EUR")))
    kinds = draw(st.lists(st.sampled_from(_KEPT), max_size=2)) if total != "0" else []
    amounts = {"all": total, "half": str(float(total) / 2), "cent": "0.01", "more": "1000"}
    refunds = tuple((clock.after(at), _four(amounts[kind])) for kind in kinds)
    return Bought(f"o-{number}", at, total, currency, refunds)


def _counted(metric: str) -> Callable[[_Clock, int, datetime], Fact]:
    def counted(clock: _Clock, number: int, at: datetime) -> Fact:
        name = clock.draw(st.sampled_from(ACTIVITIES)) if metric == "activities" else ""
        is_taken = metric != "activities" and clock.draw(st.booleans())
        return Counted(f"{metric}-{number}", metric, at, clock.after(at) if is_taken else None, name)

    return counted


def _earned(clock: _Clock, number: int, at: datetime) -> Fact:
    earned = clock.draw(st.integers(1, 3))
    taken = clock.draw(st.lists(st.integers(1, 2), max_size=2))
    return Earned(f"p-{number}", at, earned, tuple((clock.after(at), amount) for amount in taken))


_EVENTS = (*[_bought] * 7, *(_counted(metric) for metric in ("reviews", "referrals", "activities")), _earned)


def _assignment(
    clock: _Clock, at: datetime, versions: Sequence[tuple[datetime | None, Mapping[str, Any]]]
) -> Assignment:
    draw = clock.draw
    tier = draw(st.sampled_from(ids(versions[-1][1])))
    if not draw(st.booleans()):
        return Assignment(at, tier)
    until = clock.after(at, least=TICK)
    return Assignment(at, tier, until.astimezone(UTC), draw(st.booleans()))


def _four(amount: str) -> str:
    """An amount with at most four decimals."""
    whole, _, decimals = amount.partition(".")
    return f"{whole}.{decimals[:4]}" if decimals else whole
