"""A batch of events: orders and refunds are recorded, customers are judged, and changes of tiers are announced."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from services.tiers.handlers.standing import load_pasts
from services.tiers.rules import amount, by_spend
from services.tiers.rules.admission import Admission, Step, Stored, admit
from services.tiers.rules.customer import MOST_LOOSE, Folded, Standing, TimelineChange, fold, leaving, needs_curve
from services.tiers.rules.program.compiled import Program
from services.tiers.rules.rejudging import rejudge
from services.tiers.rules.unread import RefundQuery
from services.tiers.store import curves, customers, orders, timelines
from services.tiers.store.programs import load_program
from shared import telemetry
from shared.contracts.envelope import Cause, Event, Publication, publication
from shared.contracts.loyalty import Progress, TierChanged, TimelineEntry
from shared.contracts.orders import OrderKey, RefundKey, about_order, key_of
from shared.contracts.outcomes import Refusal
from shared.contracts.shop import PurchaseRefunded
from shared.messaging import erasure, outbox, waiting
from shared.postgres.orders import load_contents, with_refunds
from shared.postgres.pool import Connection

SOURCE: Final = "/wafa/tiers"


async def handle(connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
    """Apply a batch: record orders and refunds, judge the customers, announce changes of tiers.

    Returns the refused events. An erasure deletes a customer's stored records and answers; orders, refunds and
    timelines stay, since they hold only ids, money and times.
    """
    booked = erasure.others(events)
    refusals = await _book(connection, booked, now) if booked else []
    await erasure.apply(connection, events, erasure.erase_nothing, now)
    return refusals


async def _book(connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
    program = await load_program(connection, now)
    standings = await customers.lock(connection, (event.customer_id for event in events))
    admission = await _admit(connection, events)
    steps = _by_customer(program, admission.steps)
    folded = await _fold(connection, program, standings, steps)
    await orders.save(connection, admission)
    await _save(connection, program, folded, now)
    await waiting.keep(connection, admission.waiting)
    telemetry.DUPLICATES.labels("natural_key").inc(admission.repeats)
    telemetry.DUPLICATES.labels("repeat_differs").inc(admission.differing_repeats)
    return admission.refusals


async def _admit(connection: Connection, events: Sequence[Event]) -> Admission:
    purchases: set[OrderKey] = set()
    refunds: set[RefundKey] = set()
    for event in events:
        if isinstance(event.data, PurchaseRefunded):
            refunds.add((*key_of(event), event.data.refund_id))
        else:
            purchases.add(key_of(event))
    recorded = await orders.load_named(connection, purchases.union(refund[:2] for refund in refunds))
    named = [refund for refund in refunds if refund[:2] in recorded]
    early: defaultdict[OrderKey, list[Event]] = defaultdict(list)
    new = [(customer_id, about_order(order_id)) for customer_id, order_id in purchases - recorded.keys()]
    for refund in await waiting.take(connection, new):
        early[key_of(refund.event)].append(refund.event)
    stored = Stored(recorded, await load_contents(connection, named), early)
    admission = admit(events, stored)
    while admission.unread:
        stored = await _read_refunds(connection, stored, admission.unread)
        admission = admit(events, stored)
    return admission


async def _read_refunds(
    connection: Connection, stored: Stored, unread: Iterable[tuple[OrderKey, RefundQuery | None]]
) -> Stored:
    """The stored state with the refunds that were missing."""
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


def _by_customer(program: Program, steps: Iterable[Step]) -> dict[str, list[Step]]:
    """The steps that change spend, by customer: orders in other currencies do not count."""
    counted: defaultdict[str, list[Step]] = defaultdict(list)
    for step in steps:
        if step.order.purchase.currency == program.currency:
            counted[step.event.customer_id].append(step)
    return counted


async def _fold(
    connection: Connection, program: Program, standings: Mapping[str, Standing], steps: Mapping[str, Sequence[Step]]
) -> list[Folded]:
    """Apply the steps of each customer: in order, or on the curve."""
    on_curve = {
        customer_id for customer_id in steps if needs_curve(program, standings[customer_id], steps[customer_id])
    }
    in_order = steps.keys() - on_curve
    leaving_days = [leaving(standings[customer_id], steps[customer_id]) for customer_id in in_order]
    days = await orders.load_leaving(
        connection, [span for span in leaving_days if span is not None], program.currency, MOST_LOOSE
    )
    on_curve.update(customer_id for customer_id, by_day in days.items() if by_day is None)
    rejudged = await _rejudge(connection, program, standings, {name: steps[name] for name in steps if name in on_curve})
    return [
        rejudged[customer_id]
        if customer_id in on_curve
        else fold(program, standings[customer_id], days.get(customer_id) or {}, own)
        for customer_id, own in steps.items()
    ]


async def _rejudge(
    connection: Connection, program: Program, standings: Mapping[str, Standing], steps: Mapping[str, Sequence[Step]]
) -> dict[str, Folded]:
    if not steps:
        return {}
    pasts = await load_pasts(connection, program, [standings[customer_id] for customer_id in steps])
    runs = {
        customer_id: (pasts[customer_id].curve, rejudge(program, standings[customer_id], pasts[customer_id], own))
        for customer_id, own in steps.items()
    }
    return await curves.run(connection, runs)


async def _save(connection: Connection, program: Program, folded: Sequence[Folded], now: datetime) -> None:
    await customers.save(connection, [customer.standing for customer in folded])
    await curves.save(connection, folded)
    await timelines.save(connection, folded)
    changes = [change for customer in folded for change in customer.changes]
    await timelines.record(connection, program, [(change, _reason(change)) for change in changes], now)
    await outbox.announce(connection, [_publication(program, change) for change in changes])


def _reason(change: TimelineChange) -> str:
    """The reason of a change: spend, or a refund of it."""
    return "spend" if change.step.is_purchase else "refund"


def _publication(program: Program, change: TimelineChange) -> Publication:
    event, above = change.step.event, program.above(change.to)
    data = TierChanged(
        customer_id=event.customer_id,
        program_version=program.version,
        from_=change.from_.id,
        to=change.to.id,
        reason=_reason(change),
        effective_at=change.timeline[0].effective_at,
        points_multiplier=change.to.points_multiplier,
        timeline=tuple(
            TimelineEntry(
                effective_at=entry.effective_at,
                tier=entry.tier,
                points_multiplier=program.tier(entry.tier).points_multiplier,
            )
            for entry in change.timeline
        ),
        progress=above
        and Progress(
            metric="spend",
            value=amount.reached_text(change.spend),
            needed=amount.reached_text(by_spend.needed(above)),
            next=above.id,
        ),
    )
    return publication(f"loyalty.tier.{change.kind}.v1", event.time, data, Cause.of(event), SOURCE)
