"""Replays a customer's points: the log of each topic, the acknowledged writes, and time."""

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from services.points.rules.books.books import Books
from services.points.rules.books.fold import fold
from services.points.rules.books.maturity import apply_due
from services.points.rules.books.state import State
from services.points.rules.books.tiers import Standing, standing_before
from services.points.rules.ledger.accounts import Account
from services.points.rules.program import limits
from services.points.rules.program.compiled_rule import CompiledRule
from services.points.rules.program.earning import ACTIVITY, PURCHASE, REVIEW, SURVEY, accruing
from services.points.rules.program.limits import PROGRAM, Cut, Use, UseKey
from services.points.rules.program.ruleset import RuleBook
from shared.contracts import topics
from shared.contracts.envelope import Event
from shared.contracts.loyalty import ReferralChanged
from shared.contracts.outcomes import Refusal
from shared.contracts.shop import PurchaseCompleted
from tests.prove.replay.acts import Acts
from tests.prove.replay.dedupe import Seen
from tests.prove.replay.statement import Entry, Line
from tests.prove.writes import Write

_SINCE: Final = datetime(1, 1, 1, tzinfo=UTC)

SETTLED_AT_ONCE: Final = 100
"""The orders of one customer that a transaction settles at least, after its timeline changed."""

_MOST_ATTEMPTS: Final = 100
"""Number of ways to interleave a customer's tier events with the orders that are tried."""

# The reason of a line that was not published (an award of 0) has the id of its subject.
_NAMED: Final = tuple((earner.id_field or "", *earner.events) for earner in (PURCHASE, REVIEW, ACTIVITY, SURVEY))


def newcomer(customer: str) -> Account:
    """The account of a customer without history."""
    return Account(customer, 0, 0, 0, 0, 0, 0, 0, 0, _SINCE)


@dataclass(frozen=True, slots=True)
class Given:
    """The inputs of a customer's replay; `cuts` are the cuts by shared limits, by origin."""

    customer: str
    queues: Mapping[str, Sequence[Event]]
    entries: Sequence[Entry]
    writes: Sequence[Write]
    rules: RuleBook
    cuts: Mapping[str, Mapping[str, Cut]] = field(default_factory=dict)


@dataclass(slots=True)
class Replayed:
    """The result: the lines, the refusals, and the first difference (None: no difference)."""

    account: Account
    lines: list[Line]
    refused: list[Refusal]
    taken: Seen
    wrong: str | None
    unwritten: list[str]
    """The keys of acknowledged writes that no line has."""


def replay(given: Given, as_of: datetime) -> Replayed:
    """Replay everything, and apply what is due up to an instant.

    A line says at which tier its order was judged, and a customer can have had that tier several times: each of these
    moments is tried until the lines follow. The result of the first attempt stands where none does.
    """
    waiting: list[Mapping[int, int]] = [{}]
    first: Replayed | None = None
    for _ in range(_MOST_ATTEMPTS):
        attempt = _Replay(given, waiting.pop())
        replayed = attempt.run(as_of)
        first = first or replayed
        waiting += attempt.others()
        if replayed.wrong is None:
            return replayed
        if not waiting:
            break
    assert first is not None, "there is an attempt"
    return first


class _Replay:
    """Builds a customer's books from nothing.

    `passed` has the number of moments to pass over at which the customer had the tier of a line, by the line's number.
    """

    def __init__(self, given: Given, passed: Mapping[int, int]) -> None:
        self._given = given
        self._acts = Acts.of(given.writes)
        self._passed = passed
        self._chosen: dict[int, int] = {}
        self._customer = given.customer
        self._state = State(accounts={given.customer: newcomer(given.customer)}, next_due={given.customer: None})
        self._queues = {topic: deque(events) for topic, events in given.queues.items()}
        self._where = {event.id: topic for topic, events in given.queues.items() for event in events}
        self._ids = (UUID(int=number) for number in itertools.count(1))
        self._now = _SINCE
        self._lines: list[Line] = []
        self._refused: list[Refusal] = []
        self._points = Counter[str]()
        self._seen = Seen()

    def run(self, as_of: datetime) -> Replayed:
        """Replay everything, and apply what is due up to an instant."""
        orders = sum(
            isinstance(event.data, PurchaseCompleted) for event in self._given.queues.get(topics.PURCHASES, ())
        )
        wrong = self._by_order() if orders > SETTLED_AT_ONCE else self._by_line()
        self._now = max(self._now, as_of)
        with_dues = self._books()
        apply_due(with_dues, [self._customer])
        self._note(with_dues)
        account, unwritten = self._state.accounts[self._customer], self._acts.missing()
        return Replayed(account, self._lines, self._refused, self._seen, wrong, unwritten)

    def others(self) -> list[Mapping[int, int]]:
        """Other choices, each different from the choices made at one line, and equal before it."""
        fixed = max(self._passed, default=0)
        others: list[Mapping[int, int]] = []
        before = dict(self._passed)
        for sequence, passed in self._chosen.items():
            if sequence > fixed:
                others.append({**before, sequence: passed + 1})
                before[sequence] = passed
            elif sequence == fixed and sequence in self._passed:
                others.append({**self._passed, sequence: passed + 1})
        return others

    def _by_order(self) -> str | None:
        """Compare the points of each order.

        A new timeline of so many orders is settled in several transactions. Other events come between them, so the
        log fixes neither the order of the lines nor their number, only their sums.
        """
        self._now = max((entry.recorded_at for entry in self._given.entries), default=_SINCE)
        self._rest()
        stated = _by_subject((entry.reason, entry.line.points) for entry in self._given.entries)
        if stated != self._points:
            keys = sorted(key for key in {*stated, *self._points} if stated[key] != self._points[key])
            return f"(stated, replayed) points: { ({key: (stated[key], self._points[key]) for key in keys[:3]}) }"
        return None

    def _by_line(self) -> str | None:
        """Compare the statement line by line."""
        wrong: str | None = None
        for entry in self._given.entries:
            if len(self._lines) < entry.sequence:
                wrong = wrong or self._try(entry)
            if wrong is None and len(self._lines) < entry.sequence:
                wrong = f"line {entry.sequence} ({entry.id}) follows from nothing: {entry.line} {dict(entry.reason)}"
            if wrong is None and self._lines[entry.sequence - 1] != entry.line:
                wrong = f"line {entry.sequence} is {entry.line}, should be {self._lines[entry.sequence - 1]}"
        self._rest()
        if wrong is None and len(self._lines) > len(self._given.entries):
            wrong = f"lines are missing: {self._lines[len(self._given.entries) :][:3]}"
        return wrong

    def _try(self, entry: Entry) -> str | None:
        self._now = entry.recorded_at
        try:
            self._step(entry)
        except (LookupError, ValueError) as error:
            return f"line {entry.sequence} ({entry.id}): {error}"
        return None

    def _step(self, entry: Entry) -> None:
        """Apply the cause of a line."""
        if entry.cause in self._where:
            self._reach(entry, entry.cause)
            return
        for name, type_ in _NAMED:
            if name in entry.reason and entry.line.points == 0 and entry.line.kind == "earned":
                self._reach(entry, self._find(type_, name, entry.reason[name]))
                return
        books = self._books()
        apply_due(books, [self._customer])
        if len(self._lines) + len(books.changes.transactions) < entry.sequence:
            self._act(books, entry)
        self._note(books)

    def _act(self, books: Books, entry: Entry) -> None:
        """Apply the API write of a line, if it has one."""
        acts, customer, reason = self._acts, self._customer, entry.reason
        match entry.line.kind, reason["kind"]:
            case "adjusted", _:
                acts.adjust(books, customer, reason.get("note", entry.id))
            case "redeemed", "redemption":
                acts.redeem(books, customer, reason["redemption_id"])
            case "restored", _:
                acts.cancel(books, customer, reason["redemption_id"])
            case "held", _:
                acts.hold(books, customer, reason["hold_id"])
            case "redeemed", "hold":
                acts.capture(books, customer, reason["hold_id"])
            case "released", _ if acts.is_open(books, customer, reason["hold_id"]):
                acts.release(books, customer, reason["hold_id"])
            case _:
                pass

    def _find(self, type_: str, name: str, id_: str) -> str | None:
        for queue in self._queues.values():
            for event in queue:
                if event.type == type_ and getattr(event.data, name) == id_:
                    return event.id
        return None

    def _reach(self, entry: Entry, cause: str | None) -> None:
        """Apply the topic's events up to and including the cause, except those applied before."""
        queue = self._queues.get(self._where.get(cause or "", ""), deque())
        if not any(event.id == cause for event in queue):
            return
        while queue:
            event = queue.popleft()
            if isinstance(event.data, PurchaseCompleted) and event.id == cause:
                self._let_tiers_come(event, entry)
            self._apply(event)
            if event.id == cause:
                return

    def _let_tiers_come(self, event: Event, entry: Entry) -> None:
        """Apply tier events until the customer has the tier at which the order was judged."""
        if "multiplier" not in entry.inputs:
            return
        recorded = Standing(entry.inputs.get("tier"), entry.inputs["multiplier"])
        tiers = self._queues.get(topics.TIERS, deque())
        left = self._passed.get(entry.sequence, 0)
        while tiers and (left > 0 or self._standing(event) != recorded):
            left -= self._standing(event) == recorded
            self._apply(tiers.popleft())
        if tiers:
            self._chosen[entry.sequence] = self._passed.get(entry.sequence, 0)

    def _standing(self, event: Event) -> Standing:
        return standing_before(self._state.timelines.get(self._customer, ()), event.time)

    def _rest(self) -> None:
        """Apply the events without a line."""
        for queue in self._queues.values():
            while queue:
                self._apply(queue.popleft())

    def _apply(self, event: Event) -> None:
        if not self._seen.is_new(event):
            return
        if isinstance(event.data, ReferralChanged):
            for side in (event.customer_id, event.data.friend_id):
                self._state.accounts.setdefault(side, newcomer(side))
                self._state.next_due[side] = None
        self._hand_over_cuts(event)
        books = self._books()
        refused = fold(books, [event]).refusals
        self._refused += refused
        self._seen.forget(item.event for item in refused)
        self._note(books)

    def _hand_over_cuts(self, event: Event) -> None:
        """Set the uses of shared limits so that they make the recorded cuts."""
        rules = self._given.rules.in_force(event.time)
        if isinstance(event.data, PurchaseCompleted):
            on, origin = PURCHASE.on, PURCHASE.origin_of(event.data.order_id)
        elif reported := accruing(event):
            on, origin = reported.on, reported.origin
        else:
            return
        cuts = self._given.cuts.get(origin, {})
        for rule in rules.on(on):
            for key, use in shared_uses(rule, cuts.get(rule.id)):
                self._state.uses[key] = use

    def _books(self) -> Books:
        return Books(self._state, self._given.rules, self._now, self._ids)

    def _note(self, books: Books) -> None:
        own = [
            transaction
            for transaction in books.changes.transactions
            if transaction.account.customer_id == self._customer
        ]
        self._lines += map(Line.of, own)
        self._points.update(_by_subject((transaction.context.reason, transaction.points) for transaction in own))


def _by_subject(lines: Iterable[tuple[Mapping[str, str], int]]) -> Counter[str]:
    """Points by the lines' order, or by the whole reason for lines without an order."""
    points = Counter[str]()
    for reason, moved in lines:
        points[reason.get("order_id") or str(sorted(reason.items()))] += moved
    return points


def shared_uses(rule: CompiledRule, cut: Cut | None) -> Iterator[tuple[UseKey, Use]]:
    """The use of each limit that the whole program shares for ever, such that it makes this cut of an award."""
    for limit in rule.limits:
        if limit.scope != "program":
            continue
        key = UseKey(PROGRAM, rule.id, f"{limit.scope}/{limit.per}")
        if cut is None or cut.limit is None:
            yield key, limits.NONE
        elif limit.points is not None:
            yield key, Use(1, limit.points - cut.awarded)
        else:
            yield key, Use(limit.count or 0, 0)
