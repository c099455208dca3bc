"""Replays referrals: the outcome has to be that of some interleaving of a friend's purchases and sign-ups."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from services.referrals.rules.fold import Stored, fold
from services.referrals.rules.judging import Known
from services.referrals.rules.program.compiled import Program
from services.referrals.rules.referral import Referral, State
from shared.contracts.envelope import Event
from shared.contracts.orders import Content, Order, OrderKey, RefundKey, content_of_refund
from shared.contracts.outcomes import Refusal
from shared.contracts.reasons import Reason
from shared.contracts.shop import PurchaseCompleted, PurchaseRefunded
from shared.programs.kind import Book
from tests.prove.replay.dedupe import Seen

Outcome = frozenset[tuple[object, ...]]
Place = tuple[str, int, int]
"""The topic, partition and offset of a record."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The versions of the program, and the advocates by code.

    `too_late` are the places in the log of sign-ups that were refused after their advocate was erased.
    """

    programs: Book[Program]
    advocates: Mapping[str, str]
    too_late: frozenset[Place] = frozenset()


@dataclass(frozen=True, slots=True)
class Replayed:
    """The outcomes of all interleavings, and what every interleaving refuses."""

    outcomes: frozenset[Outcome]
    refused: Sequence[Refusal]
    taken: Seen


def compared(referral: Referral) -> tuple[object, ...]:
    """The compared fields of a referral."""
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
        place = (event.record.topic, event.record.partition, event.record.offset)
        advocates = {} if place in terms.too_late else terms.advocates
        refusals = fold([event], Stored(Known(terms.programs, event.time), advocates)).refused
        refused += refusals
        seen.forget(item.event for item in refusals)
        joined += [] if refusals else [event]
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


Standing = frozenset[Referral]
"""The state of a friend's referrals within a replay."""


@dataclass(frozen=True, slots=True)
class _Orders:
    """The recorded orders of a friend, which do not depend on the sign-ups."""

    recorded: dict[OrderKey, Order] = field(default_factory=dict[OrderKey, Order])
    refunds: dict[RefundKey, Content] = field(default_factory=dict[RefundKey, Content])
    waiting: dict[OrderKey, list[Event]] = field(default_factory=dict[OrderKey, list[Event]])

    def take(self, event: Event) -> None:
        """Record one more purchase or refund."""
        data = event.data
        assert isinstance(data, (PurchaseCompleted, PurchaseRefunded))
        key = (event.customer_id, data.order_id)
        outcome = fold([event], self.stored(event))
        if isinstance(data, PurchaseCompleted):
            self.recorded.setdefault(key, Order.of(event))
            self.waiting.pop(key, None)
        elif outcome.waiting:
            self.waiting[key] = [item.event for item in outcome.waiting]
        for of_order, refund in outcome.refunds:
            order = self.recorded[of_order]
            self.recorded[of_order] = replace(order, refunds=(*(order.refunds or ()), refund))
            self.refunds[(*of_order, refund.refund_id)] = content_of_refund(refund)

    def stored(self, event: Event, **referrals: Any) -> Stored:
        """The state that a service would load for an event, with the state of referrals."""
        about = event.data
        key = (event.customer_id, getattr(about, "order_id", ""))
        return Stored(orders=self.recorded, refunds=self.refunds, waiting={key: self.waiting.get(key, [])}, **referrals)


def outcomes(terms: Terms, orders: Sequence[Event], joined: Sequence[Event]) -> frozenset[Outcome]:
    """The outcomes of all interleavings of purchases and refunds with sign-ups.

    There are too many to play each. But once a given number of both is handled, every interleaving has recorded the
    same orders, and the referrals have one of a few states: these are followed.
    """
    recorded = _Orders()
    after: list[set[Standing]] = [{frozenset()}, *(set[Standing]() for _ in joined)]
    """By the number of handled sign-ups."""
    for event in (None, *orders):
        if event is not None:
            after = [{_step(terms, standing, event, recorded) for standing in ways} for ways in after]
            recorded.take(event)
        for number, sign_up in enumerate(joined):
            after[number + 1] |= {_step(terms, standing, sign_up, recorded) for standing in after[number]}
    return frozenset(frozenset(map(compared, standing)) for standing in after[-1])


def _step(terms: Terms, standing: Standing, event: Event, orders: _Orders) -> Standing:
    friend = event.customer_id
    # Without the fold that a service stores between batches: here all refunds of an order are given.
    upright = [replace(item, kept=None) for item in standing if item.state is not State.REJECTED]
    upright.sort(key=lambda item: item.state is State.EXPIRED)
    rejected = any(item.state is State.REJECTED and item.advocate_id != friend for item in standing)
    outcome = fold(
        [event],
        orders.stored(
            event,
            known=Known(terms.programs, event.time),
            advocates=terms.advocates,
            referrals={friend: upright},
            rejected=frozenset({friend} if rejected else ()),
            recorded=frozenset((item.friend_id, item.code) for item in standing),
        ),
    )
    last = {item.referral_id: item for item in standing}
    last.update((step.referral.referral_id, step.referral) for step in outcome.steps)
    return frozenset(last.values())
