"""Replays tiers: a function of the set of a customer's events."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from services.tiers.rules.spend import changes_of
from services.tiers.rules.timeline import Timeline, judge
from services.tiers.rules.window import Window

from services.tiers.rules.admission import Stored, admit
from services.tiers.rules.program.compiled import Program
from shared.contracts.envelope import Event
from shared.contracts.orders import Content, Order, OrderKey, RefundKey, content_of_refund, key_of
from shared.contracts.outcomes import Refusal
from tests.prove.replay.dedupe import Seen


@dataclass(frozen=True, slots=True)
class Replayed:
    """A customer's timeline and refused events."""

    timeline: Timeline
    refused: Sequence[Refusal]
    taken: Seen


def replay(program: Program, events: Sequence[Event]) -> Replayed:
    """Replay a customer's purchases and refunds in the order of their log."""
    recorded: dict[OrderKey, Order] = {}
    refunds: dict[RefundKey, Content] = {}
    early: defaultdict[OrderKey, list[Event]] = defaultdict(list)
    refused: list[Refusal] = []
    seen = Seen()
    for event in seen.new_ones(events):
        key = key_of(event)
        orders = {key: recorded[key]} if key in recorded else {}
        outcome = admit([event], Stored(orders, refunds, {key: early.pop(key, [])}))
        early[key] = sorted((item.event for item in outcome.waiting), key=lambda item: (item.time, item.data.refund_id))
        for step in outcome.steps:
            recorded[key] = replace(step.order, refunds=(*(step.order.refunds or ()), *step.refunds))
            refunds |= {(*key, refund.refund_id): content_of_refund(refund) for refund in step.refunds}
        refused += outcome.refusals
        seen.forget(refusal.event for refusal in outcome.refusals)
    counted = [order for order in recorded.values() if order.purchase.currency == program.currency]
    spend_changes = chain.from_iterable(changes_of(order) for order in counted)
    return Replayed(judge(program, Window(), (), list(spend_changes)), refused, seen)
