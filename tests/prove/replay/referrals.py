"""Referrals, replayed: the outcome has to be that of some interleaving of a friend's purchases and sign-ups."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

from services.referrals.rules.fold import Known, fold
from services.referrals.rules.program import Program
from services.referrals.rules.referral import Referral
from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.contracts.reasons import Reason
from shared.contracts.shop import PurchaseCompleted, PurchaseRefunded
from tests.prove.replay.dedupe import Seen

Outcome = frozenset[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Terms:
    """The versions of the program, and whose the codes are."""

    programs: Sequence[Program]
    advocates: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Replayed:
    """Every outcome that some interleaving has, and what is refused in each of them."""

    outcomes: frozenset[Outcome]
    refused: Sequence[Refusal]
    taken: Seen


def told(referral: Referral) -> tuple[object, ...]:
    """What is compared of a referral."""
    return (
        str(referral.referral_id),
        referral.advocate_id,
        referral.friend_id,
        referral.state,
        referral.reason,
        referral.order_id,
        referral.advocate_points,
        referral.friend_points,
    )


def replay(terms: Terms, purchases: Sequence[Event], sign_ups: Sequence[Event]) -> Replayed:
    """Replay a friend's purchases and refunds, and sign-ups, each in the order of their log."""
    seen = Seen()
    orders, refused = _admitted(seen, purchases)
    joined: list[Event] = []
    for event in seen.new_ones(sign_ups):
        found = fold([event], Known(terms.programs, terms.advocates)).refused
        refused += found
        seen.forget(one.event for one in found)
        joined += [] if found else [event]
    if not joined:
        return Replayed(frozenset({frozenset()}), refused, seen)
    outcomes = {_outcome(terms, merged) for merged in _interleavings(orders, joined)}
    return Replayed(frozenset(outcomes), refused, seen)


def _admitted(seen: Seen, events: Sequence[Event]) -> tuple[list[Event], list[Refusal]]:
    """What counts of purchases and refunds: of an order the first, and no refund that does not fit."""
    by_order: defaultdict[str, list[Event]] = defaultdict(list)
    first: dict[str, Event] = {}
    refused: list[Refusal] = []
    for event in seen.new_ones(events):
        data = event.data
        assert isinstance(data, (PurchaseCompleted, PurchaseRefunded))
        if isinstance(data, PurchaseCompleted):
            known = first.setdefault(data.order_id, event)
            if known is not event:
                if known.source != event.source:
                    refused.append(Refusal(event, Reason.ORDER_CONFLICT, ""))
                    seen.forget([event])
                continue
        of_one = by_order[data.order_id]
        of_one.append(event)
        found = fold(of_one, Known()).refused
        refused += found
        misfits = {id(one.event) for one in found}
        by_order[data.order_id] = [one for one in of_one if id(one) not in misfits]
        seen.forget(one.event for one in found)
    admitted = {id(one) for of_one in by_order.values() for one in of_one}
    return [event for event in events if id(event) in admitted], refused


def _interleavings(orders: Sequence[Event], joined: Sequence[Event]) -> Iterator[list[Event]]:
    for places in combinations_with_replacement(range(len(orders) + 1), len(joined)):
        merged: list[Event] = []
        before = 0
        for place, event in zip(places, joined, strict=True):
            merged += [*orders[before:place], event]
            before = place
        yield [*merged, *orders[before:]]


def _outcome(terms: Terms, events: Sequence[Event]) -> Outcome:
    steps = fold(events, Known(terms.programs, terms.advocates)).steps
    last = {step.referral.referral_id: step.referral for step in steps}
    return frozenset(told(referral) for referral in last.values())
