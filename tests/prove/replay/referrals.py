"""Replays referrals by the slow model of tests/referrals/oracles, which is written apart from the service.

The outcome has to be that of some interleaving of a friend's purchases with the sign-ups, of a person's decision, of an
erasure, and of the moments at which a worker applied what was due: after it fell due, and before the next event.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from services.referrals.rules.fold import Stored, fold
from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.contracts.reasons import Reason
from shared.contracts.shop import PurchaseCompleted, PurchaseRefunded
from tests.prove.replay.dedupe import Seen
from tests.referrals.oracles.model import Model, parse
from tests.referrals.oracles.program import Program
from tests.referrals.oracles.records import By, Facts, Order, Referral, SignUp, Told

Outcome = frozenset[tuple[object, ...]]
Place = tuple[str, int, int]
"""The topic, partition and offset of a record."""
Key = tuple[str, str]
"""The friend and the code of a referral."""

_DISPOSABLE: Final = frozenset({"mailinator.com"})
_PERSON: Final = By("a person", "")


@dataclass(frozen=True, slots=True)
class Terms:
    """The versions of the program, the advocates by code, and what people decided.

    `too_late` are the places in the log of sign-ups that were refused after their advocate was erased. What is due by
    `until` may have been applied during the run; at the end everything was, up to `ahead`.
    """

    programs: Sequence[Program]
    advocates: Mapping[str, str]
    until: datetime
    ahead: datetime
    too_late: frozenset[Place] = frozenset()
    decided: Mapping[Key, str] = field(default_factory=dict[Key, str])
    """The acknowledged decisions."""
    erased: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    """The latest erasure of each erased customer."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The outcomes of all interleavings, and what every interleaving refuses."""

    outcomes: frozenset[Outcome]
    refused: Sequence[Refusal]
    taken: Seen


def compared(referral: Referral) -> tuple[object, ...]:
    """The compared fields of a referral."""
    points = referral.points if referral.approved_at is not None else (None, None)
    order_id = referral.order.order_id if referral.order is not None else None
    return (
        referral.code,
        referral.advocate_id,
        referral.friend_id,
        referral.state,
        referral.reason,
        order_id,
        *points,
    )


def replay(terms: Terms, purchases: Sequence[Event], sign_ups: Sequence[Event]) -> Replayed:
    """Replay a friend's purchases and refunds, and sign-ups, each in the order of their log."""
    seen = Seen()
    orders, refused = _admitted(seen, purchases)
    joined: list[Event] = []
    for event in seen.new_ones(sign_ups):
        data: Any = event.data
        place = (event.record.topic, event.record.partition, event.record.offset)
        if place in terms.too_late or parse(data.code) not in terms.advocates:
            refused.append(Refusal(event, Reason.UNKNOWN_CODE, ""))
            seen.forget([event])
        else:
            joined.append(event)
    if not joined:
        return Replayed(frozenset({frozenset()}), refused, seen)
    return Replayed(outcomes(terms, orders, joined), refused, seen)


def _admitted(seen: Seen, events: Sequence[Event]) -> tuple[list[Event], list[Refusal]]:
    """Purchases and refunds that have an effect: the first purchase of each order, and refunds that fit."""
    by_order: defaultdict[str, list[Event]] = defaultdict(list)
    first: dict[str, Event] = {}
    refused: list[Refusal] = []
    for event in seen.new_ones(events):
        data = event.data
        assert isinstance(data, (PurchaseCompleted, PurchaseRefunded))
        if isinstance(data, PurchaseCompleted):
            original = first.setdefault(data.order_id, event)
            if original is not event:
                if original.source != event.source:
                    refused.append(Refusal(event, Reason.ORDER_CONFLICT, ""))
                    seen.forget([event])
                continue
        of_order = by_order[data.order_id]
        of_order.append(event)
        refusals = fold(of_order, Stored()).refused
        refused += refusals
        misfits = {id(item.event) for item in refusals}
        by_order[data.order_id] = [item for item in of_order if id(item) not in misfits]
        seen.forget(item.event for item in refusals)
    admitted = {id(item) for of_order in by_order.values() for item in of_order}
    return [event for event in events if id(event) in admitted], refused


@dataclass(frozen=True, slots=True)
class _State:
    """A friend's referrals at one point of an interleaving, the evidence, and whether the erasure has taken place."""

    referrals: tuple[Referral, ...] = ()
    sign_ups: tuple[SignUp, ...] = ()
    told: tuple[Told, ...] = ()
    erased: bool = False

    @property
    def name(self) -> tuple[object, ...]:
        """What tells two states apart: all that what follows depends on."""
        return (
            tuple(
                (compared(own), own.due_at, own.lifted, tuple(own.signals.items()), own.approved_at)
                for own in self.referrals
            ),
            self.told,
            self.erased,
        )


_States = dict[tuple[object, ...], _State]


def outcomes(terms: Terms, orders: Sequence[Event], joined: Sequence[Event]) -> frozenset[Outcome]:
    """The outcomes of all interleavings of purchases and refunds with sign-ups.

    There are too many to play each. But once a given number of both is handled, every interleaving has recorded the
    same orders, and the referrals have one of a few states: these are followed.
    """
    friend = joined[0].customer_id
    known = Facts(programs=list(terms.programs), codes=dict(terms.advocates), disposable=_DISPOSABLE)
    recorded: list[Order] = []
    replay_of = _Replay(terms, known, friend)
    after: list[_States] = [_of([_State()]), *(_States() for _ in joined)]
    """By the number of handled sign-ups."""
    for event in (None, *orders):
        if event is not None:
            after = [_of(replay_of.step(state, event, recorded) for state in ways.values()) for ways in after]
            recorded = _with(friend, recorded, event, known)
        for number, sign_up in enumerate(joined):
            ways = after[number] = _of(replay_of.meanwhile(after[number].values(), recorded))
            after[number + 1] |= _of(replay_of.step(state, sign_up, recorded) for state in ways.values())
        after[-1] = _of(replay_of.meanwhile(after[-1].values(), recorded))
    return frozenset(replay_of.end(after[-1].values(), recorded))


def _of(states: Iterable[_State]) -> _States:
    return {state.name: state for state in states}


def _with(friend: str, recorded: Sequence[Order], event: Event, known: Facts) -> list[Order]:
    """The recorded orders after one more event; refunds wait in `known`, for all interleavings alike."""
    facts = replace(known, orders={friend: list(map(_copied, recorded))}, referrals=[], published=[], refused=[])
    Model(facts).handle([event], event.record.timestamp)
    known.waiting = facts.waiting
    return facts.orders[friend]


def _copied(order: Order) -> Order:
    return replace(order, refunds=dict(order.refunds))


@dataclass(frozen=True, slots=True)
class _Replay:
    terms: Terms
    known: Facts
    friend: str

    def step(self, state: _State, event: Event, recorded: Sequence[Order]) -> _State:
        """The state after an event."""
        model = self._model(state, recorded)
        model.handle([event], event.record.timestamp)
        return _taken(model, erased=state.erased)

    def meanwhile(self, states: Iterable[_State], recorded: Sequence[Order]) -> Iterator[_State]:
        """The states, and all that time, a person and an erasure can make of them before the next event."""
        waiting, seen = list(states), set[tuple[object, ...]]()
        while waiting:
            state = waiting.pop()
            if state.name not in seen:
                seen.add(state.name)
                yield state
                waiting += self._changed(state, recorded)

    def _changed(self, state: _State, recorded: Sequence[Order]) -> Iterator[_State]:
        for place, referral in enumerate(state.referrals):
            decision = self.terms.decided.get(referral.key)
            model = self._model(state, recorded)
            at = model.steps.next_at(referral)
            if at is not None and at <= self.terms.until:
                model.steps.apply_due(at, (), {self.friend})
                yield _taken(model, erased=state.erased)
            elif decision is not None and referral.state == "flagged":
                assert model.decide_on([model.facts.referrals[place]], decision, _PERSON, self.terms.until) == [True]
                yield _taken(model, erased=state.erased)
        if self.friend in self.terms.erased and not state.erased:
            until = self.terms.erased[self.friend]
            yield replace(state, told=tuple(piece for piece in state.told if piece.time > until), erased=True)

    def end(self, states: Iterable[_State], recorded: Sequence[Order]) -> Iterator[Outcome]:
        """The outcomes after the last sweep, of states in which every acknowledged decision was taken."""
        for state in states:
            model = self._model(state, recorded)
            model.steps.apply_due(self.terms.ahead)
            if all(self._is_decided(referral) for referral in model.facts.referrals):
                yield frozenset(map(compared, model.facts.referrals))

    def _is_decided(self, referral: Referral) -> bool:
        decision = self.terms.decided.get(referral.key)
        return decision is None or (referral.lifted if decision == "approve" else referral.reason == "decision")

    def _model(self, state: _State, recorded: Sequence[Order]) -> Model:
        facts = replace(
            self.known,
            told=list(state.told),
            sign_ups=list(state.sign_ups),
            orders={self.friend: list(map(_copied, recorded))},
            waiting=list(self.known.waiting),
            referrals=[copy(referral) for referral in state.referrals],
            erased={self.friend: self.terms.erased[self.friend]} if state.erased else {},
            published=[],
            refused=[],
        )
        for referral in facts.referrals:
            referral.signals, referral.history = dict(referral.signals), []
            if referral.order is not None:
                wanted = referral.order.order_id
                referral.order = next(order for order in facts.orders[self.friend] if order.order_id == wanted)
        return Model(facts)


def _taken(model: Model, *, erased: bool) -> _State:
    facts = model.facts
    return _State(tuple(facts.referrals), tuple(facts.sign_ups), tuple(facts.told), erased)
