"""Records what counts: loads what a batch is about, admits its events, and writes their rows."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from services.tiers.rules import qualifying
from services.tiers.rules.admission import Admission, Stored, admit, named
from services.tiers.rules.counting import About, CountedKey, about_of
from services.tiers.rules.unread import RefundQuery
from services.tiers.store import counted, orders, taken
from services.tiers.store.taken import Taking
from shared import telemetry
from shared.contracts.envelope import Event
from shared.contracts.loyalty import PointsMoved
from shared.contracts.orders import OrderKey, RefundKey, about_order, key_of
from shared.contracts.shop import PurchaseCompleted, PurchaseRefunded
from shared.messaging import waiting
from shared.postgres.orders import load_contents, with_refunds
from shared.postgres.pool import Connection


async def record(connection: Connection, events: Sequence[Event]) -> Admission:
    """Record events that count; returns what each changes, and the refused ones.

    The customers are locked. The rows are written, so that sums and changes that are read from now on include them.
    """
    stored = await _load(connection, _Batch.of(events))
    admission = admit(events, stored)
    while not admission.is_complete:
        stored = await _read_more(connection, stored, admission)
        admission = admit(events, stored)
    await orders.save(connection, admission)
    await counted.save(connection, admission)
    await taken.add(connection, _takings(admission))
    await waiting.keep(connection, admission.waiting)
    telemetry.DUPLICATES.labels("natural_key").inc(admission.repeats)
    telemetry.DUPLICATES.labels("repeat_differs").inc(admission.differing_repeats)
    return admission


@dataclass(slots=True)
class _Batch:
    """What the events of a batch are about: natural keys, and what events may wait for (`early`)."""

    purchases: set[OrderKey] = field(default_factory=set[OrderKey])
    refunds: set[RefundKey] = field(default_factory=set[RefundKey])
    counted: set[CountedKey] = field(default_factory=set[CountedKey])
    reasons: set[About] = field(default_factory=set[About])

    @classmethod
    def of(cls, events: Iterable[Event]) -> "_Batch":
        batch = cls()
        for event in events:
            data = event.data
            if isinstance(data, PurchaseCompleted):
                batch.purchases.add((event.customer_id, data.order_id))
            elif isinstance(data, PurchaseRefunded):
                batch.refunds.add((event.customer_id, data.order_id, data.refund_id))
            elif isinstance(data, PointsMoved):
                batch.counted.add(qualifying.key_of(event, data.transaction_id))
                batch.reasons.add((event.customer_id, qualifying.about_of(data.reason)))
            else:
                batch.counted.add(named(event))
        return batch


async def _load(connection: Connection, batch: _Batch) -> Stored:
    recorded, gone = await orders.load_named(connection, batch.purchases.union(refund[:2] for refund in batch.refunds))
    rows = await counted.load_named(connection, batch.counted)
    reasons = await counted.load_reasons(connection, batch.reasons)
    contents = await load_contents(connection, [refund for refund in batch.refunds if refund[:2] in recorded])
    new = [(customer_id, about_order(order_id)) for customer_id, order_id in batch.purchases - recorded.keys()]
    new += [(key[0], about_of(key)) for key in batch.counted if key not in rows and key[1] in {"review", "referral"}]
    new += [(about[0], qualifying.waits_for(about[1])) for about in batch.reasons if about not in reasons]
    refunds: defaultdict[OrderKey, list[Event]] = defaultdict(list)
    early: defaultdict[About, list[tuple[str, Event]]] = defaultdict(list)
    for waiter in await waiting.take(connection, new):
        event = waiter.event
        if isinstance(event.data, PurchaseRefunded):
            refunds[key_of(event)].append(event)
        else:
            early[event.customer_id, waiter.about].append((waiter.natural_id, event))
    return Stored(recorded, gone, contents, refunds, counted=rows, reasons=reasons, early=early)


async def _read_more(connection: Connection, stored: Stored, admission: Admission) -> Stored:
    """The stored state with what was missing."""
    stored = await _read_refunds(connection, stored, admission.unread)
    transactions = await counted.load_transactions(connection, admission.unread_reasons)
    reasons = {about: stored.reasons[about]._replace(transactions=own) for about, own in transactions.items()}
    return replace(stored, reasons={**stored.reasons, **reasons})


async def _read_refunds(
    connection: Connection, stored: Stored, unread: Iterable[tuple[OrderKey, RefundQuery | None]]
) -> Stored:
    whole = {key: stored.orders[key] for key, query in unread if query is None}
    queries = [(key, query) for key, query in unread if query is not None and key not in whole]
    by_pool = {key: {result.query.pool: result for result in results} for key, results in stored.read.items()}
    for key, result in await orders.load_last_refunds(connection, queries, stored.orders):
        by_pool.setdefault(key, {})[result.query.pool] = result
    return replace(
        stored,
        orders={**stored.orders, **await with_refunds(connection, whole)},
        read={key: tuple(results.values()) for key, results in by_pool.items()},
    )


def _takings(admission: Admission) -> list[Taking]:
    return [
        Taking(step.event.customer_id, _about(step.event), change)
        for step in admission.steps
        for change in step.changes
        if change.is_taking
    ]


def _about(event: Event) -> str:
    """What an event is about, as `kind/id`."""
    data = event.data
    if isinstance(data, PurchaseCompleted | PurchaseRefunded):
        return about_order(data.order_id)
    return qualifying.about_of(data.reason) if isinstance(data, PointsMoved) else about_of(named(event))
