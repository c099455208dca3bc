"""The handling of batches of events and of calls, and the verification of the stored state."""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final, Self
from uuid import UUID

from services.referrals.rules.codes.code import parse
from services.referrals.rules.fold import Outcome, Step, Stored, fold
from services.referrals.rules.program.compiled import Program
from services.referrals.rules.referral import Referral, State, is_explained, referral_id_of
from services.referrals.store import auditing, codes, locks, programs, purchases, referrals
from services.referrals.store.purchases import Window
from shared import telemetry
from shared.contracts.envelope import Cause, Event, Publication, publication
from shared.contracts.loyalty import ReferralChanged
from shared.contracts.orders import Order, OrderKey, RefundKey, about_order, key_of
from shared.contracts.outcomes import Refusal
from shared.contracts.shop import PurchaseCompleted, PurchaseRefunded, ReferralSignedUp
from shared.messaging import erasure, outbox, waiting
from shared.postgres import checks
from shared.postgres.checks import Check
from shared.postgres.orders import load_contents, with_refunds
from shared.postgres.pool import Connection, Pool

SOURCE: Final = "/wafa/referrals"


async def handle(connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
    """Apply a batch: record orders and refunds, advance referrals, announce their steps; returns the refused events.

    An erasure retires the customer's code; the referrals stay, which have only ids, points and times.
    """
    booked = erasure.others(events)
    refusals = await _book(connection, booked, now) if booked else []
    await erasure.apply(connection, events, codes.retire, now)
    return refusals


async def _book(connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
    batch = _Batch.of(events)
    sides = await _lock(connection, batch)
    # The state is loaded before the batch's orders join it: a sign-up is judged by what precedes it.
    stored = await _load(connection, batch, sides)
    new = await purchases.add_orders(connection, batch.orders.values())
    repeated = await purchases.load_orders(connection, batch.orders.keys() - new - stored.orders.keys())
    waiting_refunds = await _take_waiting(connection, new)
    stored = replace(stored, orders={**stored.orders, **repeated}, waiting=waiting_refunds)
    outcome = fold(events, stored)
    while outcome.unread:
        read = await with_refunds(connection, {key: stored.orders[key] for key in outcome.unread})
        stored = replace(stored, orders={**stored.orders, **read})
        outcome = fold(events, stored)
    await _write(connection, outcome, now)
    return outcome.refused


async def verify(pool: Pool, sample: int) -> AsyncIterator[Check]:
    """Check the database in one snapshot; `sample` referrals are judged again from their facts."""
    async with checks.snapshot(pool) as connection:
        versions = {program.version: program for _, program in await programs.load_published(connection)}
        async for check in checks.ask(connection, auditing.queries(versions.values())):
            yield check
        chosen = await auditing.sample(connection, sample)
        yield await checks.judge(
            "states = those of a replay of the facts",
            chosen,
            partial(_misjudged, connection, versions),
        )


async def _misjudged(connection: Connection, versions: Mapping[int, Program], ids: Sequence[UUID]) -> list[str]:
    """Those of the referrals whose state the stored sign-ups, orders and refunds do not explain."""
    sampled = await referrals.read(connection, ids)
    windows = [
        _window(referral.friend_id, referral.signed_up_at, versions[referral.program_version])
        for referral, _ in sampled
        if referral.program_version in versions
    ]
    own = {(referral.friend_id, referral.order_id) for referral, _ in sampled if referral.order_id is not None}
    stored = await purchases.load_history(connection, windows) | await purchases.load_orders(connection, own)
    orders: defaultdict[str, list[Order]] = defaultdict(list)
    for (friend_id, _), order in (await with_refunds(connection, stored)).items():
        orders[friend_id].append(order)
    return [
        str(referral.referral_id)
        for referral, referred in sampled
        if not _is_explained(referral, versions, orders[referral.friend_id], referred=referred)
    ]


def _is_explained(
    referral: Referral, versions: Mapping[int, Program], orders: Sequence[Order], *, referred: bool
) -> bool:
    try:
        return is_explained(referral, versions[referral.program_version], orders, referred=referred)
    except LookupError:
        return False  # a version that is not published, or a refund of a line that its order does not have


@dataclass(slots=True)
class _Batch:
    """Events, sorted out; `orders` has the first purchase event of each order."""

    customers: set[str] = field(default_factory=set[str])
    codes: set[str] = field(default_factory=set[str])
    sign_ups: list[Event] = field(default_factory=list[Event])
    orders: dict[OrderKey, Event] = field(default_factory=dict[OrderKey, Event])
    refunded: set[RefundKey] = field(default_factory=set[RefundKey])

    @classmethod
    def of(cls, events: Sequence[Event]) -> Self:
        batch = cls()
        for event in events:
            batch._add(event)
        return batch

    def _add(self, event: Event) -> None:
        self.customers.add(event.customer_id)
        match event.data:
            case PurchaseCompleted(order_id=order_id):
                self.orders.setdefault((event.customer_id, order_id), event)
            case PurchaseRefunded(order_id=order_id, refund_id=refund_id):
                self.refunded.add((event.customer_id, order_id, refund_id))
            case ReferralSignedUp(code=text):
                self.sign_ups.append(event)
                code = parse(text)
                if code is not None:
                    self.codes.add(code)
            case _:
                raise TypeError(f"{event.type} is not of referrals")


@dataclass(frozen=True, slots=True)
class _Sides:
    """The standing referrals of a batch's customers, by friend, and the owners of its codes. Both sides are locked."""

    standing: dict[str, Referral]
    advocates: dict[str, str]

    def customers(self) -> set[str]:
        return {*self.advocates.values(), *(referral.advocate_id for referral in self.standing.values())}


async def _lock(connection: Connection, batch: _Batch) -> _Sides:
    """Lock every customer about whom the batch can announce an event, and read the referrals under the locks."""
    while True:
        attempt = connection.transaction()
        await attempt.start()
        locked = await locks.lock(connection, batch.customers, batch.codes)
        sides = _Sides(
            standing=await referrals.load_standing(connection, batch.customers),
            advocates=await codes.load_advocates(connection, batch.codes),
        )
        if sides.customers() <= locked:
            await attempt.commit()
            return sides
        # A sign-up was committed meanwhile, and its advocate is not locked. To lock out of order could deadlock: roll
        # back, which releases the locks, and lock all again.
        await attempt.rollback()


async def _load(connection: Connection, batch: _Batch, sides: _Sides) -> Stored:
    orders = await purchases.load_orders(connection, {refund[:2] for refund in batch.refunded})
    refunds = await load_contents(connection, [refund for refund in batch.refunded if refund[:2] in orders])
    if not sides.standing and not batch.sign_ups:
        return Stored(orders=orders, refunds=refunds)
    stored = Stored(
        programs=await programs.load_published(connection),
        advocates=sides.advocates,
        standing=sides.standing,
        orders=orders,
        refunds=refunds,
    )
    return await _load_friends(connection, batch, stored) if batch.sign_ups else stored


async def _load_friends(connection: Connection, batch: _Batch, stored: Stored) -> Stored:
    """What is stored, with what decides on the batch's sign-ups."""
    friends = {event.customer_id for event in batch.sign_ups}
    referred = await referrals.load_referred(connection, friends)
    recorded = await referrals.load_recorded(connection, {referral_id_of(event) for event in batch.sign_ups})
    windows: dict[str, Window] = {}
    for event in batch.sign_ups:
        friend_id, data = event.customer_id, event.data
        assert isinstance(data, ReferralSignedUp)
        advocate_id = stored.advocates.get(parse(data.code) or "")
        # Orders decide only about the first sign-up with another customer's code: further ones are rejected anyway.
        if advocate_id not in {None, friend_id} and friend_id not in referred and referral_id_of(event) not in recorded:
            windows.setdefault(friend_id, _window(friend_id, event.time, stored.programs.in_force(event.time)))
    history = await purchases.load_history(connection, windows.values())
    return replace(stored, referred=referred, recorded=recorded, orders={**history, **stored.orders})


def _window(friend_id: str, signed_up_at: datetime, program: Program) -> Window:
    minimum = program.document.qualifies.amount_at_least
    return Window(friend_id, signed_up_at, program.deadline(signed_up_at), program.currency, minimum)


async def _take_waiting(connection: Connection, new: Collection[OrderKey]) -> dict[OrderKey, list[Event]]:
    """The refunds that waited for these orders, by order."""
    taken: dict[OrderKey, list[Event]] = defaultdict(list)
    wanted = [(customer_id, about_order(order_id)) for customer_id, order_id in new]
    for refund in await waiting.take(connection, wanted):
        taken[key_of(refund.event)].append(refund.event)
    return taken


async def _write(connection: Connection, outcome: Outcome, now: datetime) -> None:
    await purchases.add_refunds(connection, outcome.refunds)
    await waiting.keep(connection, outcome.waiting)
    # A referral with several steps is written once, as it is after the last.
    await referrals.save(connection, outcome.referrals.values(), now)
    await outbox.announce(connection, [_publication(step) for step in outcome.steps])
    telemetry.DUPLICATES.labels("natural_key").inc(outcome.repeats)
    telemetry.DUPLICATES.labels("repeat_differs").inc(outcome.differing_repeats)


def _publication(step: Step) -> Publication:
    referral = step.referral
    # A voided referral announces the points that it takes back: none where it was never approved.
    rewarded = referral.state in {State.APPROVED, State.VOIDED}
    data = ReferralChanged(
        customer_id=referral.advocate_id,
        referral_id=str(referral.referral_id),
        friend_id=referral.friend_id,
        advocate_points=(referral.advocate_points or 0) if rewarded else None,
        friend_points=(referral.friend_points or 0) if rewarded else None,
        order_id=referral.order_id,
        reason=referral.reason,
    )
    type_ = f"loyalty.referral.{referral.state}.v1"
    return publication(type_, referral.since, data, Cause.of(step.cause), SOURCE)
