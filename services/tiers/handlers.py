"""What the service does with a batch of events, how it reads a customer's tier, and how it verifies what it stored."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import partial
from typing import Final

from services.tiers.rules import amount
from services.tiers.rules.admission import Admission, Key, Step, about, admit, key_of
from services.tiers.rules.customer import Change, Folded, Leaving, Past, Rejudging, Standing, fold, reading, replay
from services.tiers.rules.order import Order
from services.tiers.rules.program import Program, Tier
from services.tiers.rules.timeline import Timeline, tier_at
from services.tiers.rules.window import Window, first_day, start_of
from services.tiers.store import auditing, customers, orders, timelines
from services.tiers.store.programs import load_program
from shared import telemetry
from shared.contracts.envelope import Cause, Event, Publication, publication
from shared.contracts.loyalty import Progress, TierChanged, TimelineEntry
from shared.contracts.outcomes import Refusal
from shared.contracts.shop import PurchaseCompleted, PurchaseRefunded
from shared.messaging import erasure, outbox, waiting
from shared.postgres import checks
from shared.postgres.checks import Check
from shared.postgres.pool import Connection, Pool

SOURCE: Final = "/wafa/tiers"


@dataclass(frozen=True, slots=True)
class Status:
    """A customer's tier at an instant; `since` is None for the first tier since ever."""

    program: Program
    tier: Tier
    since: datetime | None
    spend: Fraction


async def handle(connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
    """Apply a batch: record orders and refunds, judge the customers, announce what changed.

    Of an erased customer the records and answers go; the books stay, which hold ids, money and times.
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
    pasts = await _read(connection, program, standings, steps)
    folded = [fold(program, standings[one], pasts.get(one, Past()), of_one) for one, of_one in steps.items()]
    await orders.save(connection, admission.steps)
    await _save(connection, program, folded, now)
    await waiting.keep(connection, admission.waiting)
    telemetry.DUPLICATES.labels("natural_key").inc(admission.repeats)
    telemetry.DUPLICATES.labels("repeat_differs").inc(admission.differing)
    return admission.refusals


async def read_status(pool: Pool, customer_id: str, now: datetime) -> Status:
    """The tier and the spend of a customer as of now; who is unknown is in the first tier and has spent nothing."""
    # All of it as of one commit.
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        program = await load_program(connection, now)
        standing = await customers.find(connection, customer_id)
        timeline = (await timelines.load(connection, [customer_id])).get(customer_id, ())
        spend = await _spend(connection, program, standing, now)
    tier, since = tier_at(program, timeline, now)
    return Status(program, tier, since, spend)


async def verify(pool: Pool, sample: int, now: datetime) -> AsyncIterator[Check]:
    """Check what is stored, from one snapshot; `sample` customers are judged anew, from nothing."""
    async with checks.snapshot(pool) as connection:
        program = await load_program(connection, now)
        async for check in checks.ask(connection, auditing.queries(program)):
            yield check
        chosen = await auditing.sample(connection, sample)
        yield await checks.judge(
            "timeline, spend and what is kept = a replay of the events",
            chosen,
            partial(_misjudged, connection, program),
        )


async def _misjudged(connection: Connection, program: Program, customer_ids: Sequence[str]) -> list[str]:
    """Those of the customers whom their orders and refunds lead elsewhere."""
    standings = await customers.read(connection, customer_ids)
    known = await timelines.load(connection, customer_ids)
    kept = await auditing.load_kept(connection, customer_ids)
    found: defaultdict[str, list[Order]] = defaultdict(list)
    for (customer_id, _), order in (await orders.load_known(connection, kept, kept)).items():
        found[customer_id].append(order)
    return [
        one for one in customer_ids if not _is_replayed(program, (standings[one], known.get(one, ())), found[one], kept)
    ]


def _is_replayed(
    program: Program, stands: tuple[Standing, Timeline], orders: Sequence[Order], kept: Mapping[Key, Fraction]
) -> bool:
    customer_id = stands[0].customer_id
    try:
        return stands == replay(program, customer_id, orders) and all(
            one.kept == kept[customer_id, one.order_id] for one in orders
        )
    except LookupError:
        return False  # a refund of a line that the order has not


async def _admit(connection: Connection, events: Sequence[Event]) -> Admission:
    bought = {key_of(event) for event in events if isinstance(event.data, PurchaseCompleted)}
    refunded = {key_of(event) for event in events if isinstance(event.data, PurchaseRefunded)}
    known = await orders.load_known(connection, bought | refunded, refunded)
    early: defaultdict[Key, list[Event]] = defaultdict(list)
    new = [(customer_id, about(order_id)) for customer_id, order_id in bought - known.keys()]
    for one in await waiting.take(connection, new):
        early[key_of(one.event)].append(one.event)
    return admit(events, known, early)


def _by_customer(program: Program, steps: Iterable[Step]) -> dict[str, list[Step]]:
    """The steps that move spend: other currencies count nothing."""
    found: defaultdict[str, list[Step]] = defaultdict(list)
    for step in steps:
        if step.order.purchase.currency == program.currency:
            found[step.event.customer_id].append(step)
    return found


async def _read(
    connection: Connection, program: Program, standings: Mapping[str, Standing], steps: Mapping[str, Sequence[Step]]
) -> dict[str, Past]:
    """What has to be known of customers beside their standings."""
    wanted = [reading(program, standings[customer_id], of_one) for customer_id, of_one in steps.items()]
    leaving = [one for one in wanted if isinstance(one, Leaving)]
    pasts = {
        customer_id: Past(days=days)
        for customer_id, days in (await orders.load_leaving(connection, leaving, program.currency)).items()
    }
    rejudging = [one for one in wanted if isinstance(one, Rejudging)]
    if rejudging:
        found = await orders.load_past(connection, rejudging, program.currency)
        known = await timelines.load(connection, [one.customer_id for one in rejudging])
        for one in rejudging:
            of_one = found.get(one.customer_id, [])
            pasts[one.customer_id] = Past.whole(known.get(one.customer_id, ()), of_one)
    return pasts


async def _save(connection: Connection, program: Program, folded: Sequence[Folded], now: datetime) -> None:
    await customers.save(connection, [one.standing for one in folded])
    await timelines.save(connection, folded)
    changes = [change for one in folded for change in one.changes]
    await timelines.record(connection, program, [(change, _reason(change)) for change in changes], now)
    await outbox.announce(connection, [_publication(program, change) for change in changes])


async def _spend(connection: Connection, program: Program, standing: Standing, now: datetime) -> Fraction:
    """Spend within the window that ends today, as of now."""
    if standing.judged_at is None:
        return Fraction(0)
    today = now.toordinal()
    if standing.judged_at > now:
        # Something is dated ahead of now: what counts today has to be picked.
        past = Rejudging(standing.customer_id, start_of(first_day(today)))
        found = (await orders.load_past(connection, [past], program.currency)).get(standing.customer_id, [])
        return Window.until(now, (movement for order in found for movement in order.movements())).spend
    judged = standing.judged_at.toordinal()
    left = Leaving(standing.customer_id, start_of(first_day(judged)), start_of(first_day(today)))
    days = await orders.load_leaving(connection, [left], program.currency)
    return standing.spend - sum(days.get(standing.customer_id, {}).values(), Fraction(0))


def _reason(change: Change) -> str:
    """What moved the tier: spend that came, or spend that was given back."""
    return "spend" if change.step.is_purchase else "refund"


def _publication(program: Program, change: Change) -> Publication:
    event, above = change.step.event, program.after(change.to)
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
            needed=amount.reached_text(above.spend),
            next=above.id,
        ),
    )
    return publication(f"loyalty.tier.{change.kind}.v1", event.time, data, Cause.of(event), SOURCE)
