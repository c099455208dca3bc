"""Takes what happens to customers: records what journeys look back on, and finds the journeys that it may start."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

from services.notifications.rules.journey.fold import Incoming
from services.notifications.rules.journey.live import InForce
from services.notifications.rules.journey.machine import field_of
from services.notifications.rules.journey.spending import spent
from services.notifications.rules.journey.starting import admits
from services.notifications.rules.journey.timing import Timer, stretch
from services.notifications.rules.journey.triggers import PURCHASE
from services.notifications.rules.trigger import TriggerEvent
from services.notifications.store import counts, happened, timers
from services.notifications.store.counts import Counted, Total
from services.notifications.store.happened import Happening
from shared.postgres.pool import Connection

NTH: Final = "purchase_number"
"""The fact of a purchase: which of the customer's purchases it is, counted as they are handled."""

_Named = tuple[str, str, str]
"""Customer, event type and key: what names something that happened."""


class Triggered(NamedTuple):
    """An event as it concerns one customer; `data` is the event's data, whose fields conditions compare."""

    trigger: TriggerEvent
    data: object


@dataclass(frozen=True, slots=True)
class Taken:
    """What happened to customers, as journeys see it, and the new numbers of those who bought or spent."""

    incoming: Mapping[str, Sequence[Incoming]]
    totals: Mapping[str, Total]


async def take(connection: Connection, in_force: InForce, triggered: Sequence[Triggered]) -> Taken:
    """Record what happened to locked customers, in the order of the log, and find what it may start."""
    happening = [
        Happening(each.customer_id, each.type, each.key, each.at)
        for each, _ in triggered
        if each.type in in_force.recorded
    ]
    numbers = await happened.record(connection, happening)
    totals = await counts.add(connection, _count(triggered, numbers))
    if in_force.inactive:
        await timers.put(connection, _stretches(in_force, triggered, numbers))
    return Taken(_incoming(in_force, triggered, numbers, totals), totals)


def _incoming(
    in_force: InForce,
    triggered: Sequence[Triggered],
    numbers: Mapping[_Named, int],
    totals: Mapping[str, Total],
) -> dict[str, list[Incoming]]:
    new = dict(numbers)
    # Right before the batch.
    upto: dict[str, int] = {}
    for (customer_id, _, _), number in numbers.items():
        upto[customer_id] = min(upto.get(customer_id, number), number - 1)
    bought = Counter(customer_id for customer_id, type_, _ in numbers if type_ == PURCHASE)
    nth = {customer_id: totals[customer_id].purchases - count for customer_id, count in bought.items()}
    incoming: dict[str, list[Incoming]] = {}
    for trigger, data in triggered:
        customer_id, type_ = trigger.customer_id, trigger.type
        known = trigger
        if type_ in in_force.recorded:
            number = new.pop((customer_id, type_, trigger.key), None)
            if number is None:
                continue  # a repeat has no effect
            upto[customer_id] = number
        if type_ == PURCHASE:
            nth[customer_id] += 1
            known = replace(trigger, facts={**trigger.facts, NTH: nth[customer_id]})
        read = partial(field_of, known.facts, data)
        lives = [live for live in in_force.by_type.get(type_, ()) if admits(live, known, read)]
        if lives or type_ in in_force.awaited:
            found = Incoming(known, read, known.at, upto.get(customer_id), lives)
            incoming.setdefault(customer_id, []).append(found)
    return incoming


def _count(triggered: Sequence[Triggered], numbers: Mapping[_Named, int]) -> list[Counted]:
    """What is added to the numbers of each customer."""
    counted: dict[str, Counted] = {}
    new = set(numbers)
    for trigger, data in triggered:
        customer_id = trigger.customer_id
        points = spent(trigger.type, data)
        named = (customer_id, trigger.type, trigger.key)
        is_purchase = trigger.type == PURCHASE and named in new
        if not points and not is_purchase:
            continue
        new.discard(named)
        own = counted.get(customer_id) or Counted(customer_id, 0, None, 0)
        if is_purchase:
            first_at = trigger.at if own.first_at is None else min(own.first_at, trigger.at)
            own = own._replace(purchases=own.purchases + 1, first_at=first_at)
        counted[customer_id] = own._replace(spent=own.spent + points)
    return list(counted.values())


def _stretches(in_force: InForce, triggered: Sequence[Triggered], numbers: Mapping[_Named, int]) -> list[Timer]:
    """The timers of inactivity after what happened: a stretch begins with the newest event."""
    newest: dict[tuple[str, str], Timer] = {}
    for trigger, _ in triggered:
        if (trigger.customer_id, trigger.type, trigger.key) not in numbers:
            continue
        for live in in_force.inactive.get(trigger.type, ()):
            before = newest.get((trigger.customer_id, live.id))
            if before is None or before.base is None or before.base < trigger.at:
                newest[trigger.customer_id, live.id] = stretch(live, trigger)
    return list(newest.values())
