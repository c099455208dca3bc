"""The handling of batches of events: record orders and refunds, advance referrals, announce their steps."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final, Self

from services.referrals.handlers import due, evidence, knowing, locking, saving
from services.referrals.handlers.evidence import Marks, SignUpRow
from services.referrals.handlers.locking import Sides
from services.referrals.rules.codes.code import parse
from services.referrals.rules.evidence.keys import EvidenceKey
from services.referrals.rules.fold import Outcome, Stored, fold
from services.referrals.rules.judging import Wanted
from services.referrals.rules.program.compiled import Program
from services.referrals.rules.referral import referral_id_of
from services.referrals.store import codes, purchases, referrals, steps
from services.referrals.store.purchases import Window
from shared import telemetry
from shared.contracts.envelope import Event
from shared.contracts.orders import OrderKey, RefundKey, about_order, key_of
from shared.contracts.outcomes import Refusal
from shared.contracts.shop import CustomerProfile, PurchaseCompleted, PurchaseRefunded, ReferralSignedUp
from shared.messaging import erasure, waiting
from shared.messaging.erasure import Erasure
from shared.postgres.orders import load_contents
from shared.postgres.pool import Connection

_MOST_ROUNDS: Final = 8
"""Rounds of a fold that asks for more each time, besides one for each event: what an event asks for may depend on what
becomes of those before it. Hardly any batch needs more than four."""


async def handle(
    connection: Connection, events: Sequence[Event], now: datetime, key: EvidenceKey | None = None
) -> list[Refusal]:
    """Apply a batch: record orders and refunds, advance referrals, announce their steps; returns the refused events.

    Without a key, no evidence is stored or compared. An erasure retires the customer's codes and deletes evidence; the
    referrals stay, which have only ids, points and times.
    """
    booked = erasure.others(events)
    refusals = await _book(connection, booked, now, key) if booked else []
    await erasure.apply(connection, events, erase, now)
    return refusals


async def erase(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Erase what customers told and what people wrote about them, and retire their codes; see `erasure.EraseOwn`."""
    erased = await codes.retire(connection, erasures, most) + await evidence.erase(connection, erasures, most)
    return erased + await steps.erase(connection, erasures, most)


async def _book(
    connection: Connection, events: Sequence[Event], now: datetime, key: EvidenceKey | None
) -> list[Refusal]:
    batch = _Batch.of(events)
    sides = await locking.lock(connection, batch.customers, batch.codes, now)
    if sides.is_due:
        await due.apply_due(connection, sides.locked, batch.customers, now, key)
        sides = await locking.reread(connection, sides, batch.customers, now)
    # The state is loaded before the batch's orders join it: a sign-up is judged by what precedes it.
    stored = await _load(connection, batch, sides, now)
    marks = await _tell(connection, events, stored, now, key)
    new = await purchases.add_orders(connection, batch.orders.values())
    repeated = await purchases.load_orders(connection, batch.orders.keys() - new - stored.orders.keys())
    waiting_refunds = await _take_waiting(connection, new)
    stored = replace(stored, orders={**stored.orders, **repeated}, waiting=waiting_refunds)
    stored = replace(stored, marks=[marks.at(place) for place in range(len(events))] if stored.known else ())
    outcome = await _folded(connection, events, stored, partial(_read, new=new, key=key))
    await _write(connection, outcome, now)
    return outcome.refused


async def _tell(
    connection: Connection, events: Sequence[Event], stored: Stored, now: datetime, key: EvidenceKey | None
) -> Marks:
    """Store the evidence of a batch; sign-ups without an effect tell nothing."""
    joined: dict[tuple[str, str], int] = {}
    without: set[int] = set()
    for place, event in enumerate(events):
        if isinstance(event.data, ReferralSignedUp):
            sign_up = event.customer_id, parse(event.data.code) or ""
            if sign_up[1] not in stored.advocates or sign_up in stored.recorded or sign_up in joined:
                without.add(place)
            else:
                joined[sign_up] = place
    marks = await evidence.record(connection, events, now, key, without)
    rows = [
        SignUpRow(referral_id_of(events[place]), stored.advocates[code], code, marks.at(place), events[place])
        for (_, code), place in joined.items()
    ]
    await evidence.trace(connection, rows, key)
    return marks


Read = Callable[[Connection, Stored, Wanted], Awaitable[Stored]]
"""Returns what is stored, with what a fold wants."""


async def _folded(connection: Connection, events: Sequence[Event], stored: Stored, read: Read) -> Outcome:
    outcome = fold(events, stored)
    rounds = 0
    while outcome.wanted:
        if rounds == _MOST_ROUNDS + len(events):
            raise RuntimeError(f"the fold of a batch asks for more after {rounds} rounds: {outcome.wanted}")
        stored = await read(connection, stored, outcome.wanted)
        outcome = fold(events, stored)
        rounds += 1
    return outcome


async def _read(
    connection: Connection, stored: Stored, wanted: Wanted, *, new: set[OrderKey], key: EvidenceKey | None
) -> Stored:
    assert stored.known is not None, "only referrals are judged"
    known = await knowing.learn(connection, stored.known, wanted, key)
    # The batch's own orders are recorded by now, but new to the fold.
    orders = {order: known.orders[order] for order in wanted.orders - new}
    return replace(stored, known=known, orders={**stored.orders, **orders})


@dataclass(slots=True)
class _Batch:
    """Events, sorted out; `orders` has the first purchase event of each order."""

    customers: set[str] = field(default_factory=set[str])
    codes: set[str] = field(default_factory=set[str])
    sign_ups: dict[tuple[str, str], Event] = field(default_factory=dict[tuple[str, str], Event])
    """The first sign-up of each friend with each code."""
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
                code = parse(text)
                if code is not None:
                    self.codes.add(code)
                    self.sign_ups.setdefault((event.customer_id, code), event)
            case CustomerProfile():
                pass  # it tells evidence only
            case _:
                raise TypeError(f"{event.type} is not of referrals")


async def _load(connection: Connection, batch: _Batch, sides: Sides, now: datetime) -> Stored:
    orders = await purchases.load_orders(connection, {refund[:2] for refund in batch.refunded})
    refunds = await load_contents(connection, [refund for refund in batch.refunded if refund[:2] in orders])
    if not sides.referrals and not batch.sign_ups:
        return Stored(orders=orders, refunds=refunds)
    stored = Stored(
        known=await knowing.begin(connection, now),
        advocates=sides.advocates,
        referrals=sides.referrals,
        orders=orders,
        refunds=refunds,
    )
    return await _load_friends(connection, batch, stored) if batch.sign_ups else stored


async def _load_friends(connection: Connection, batch: _Batch, stored: Stored) -> Stored:
    """What is stored, with what decides on the batch's sign-ups."""
    assert stored.known is not None, "programs are loaded for sign-ups"
    known_codes = {key: event for key, event in batch.sign_ups.items() if key[1] in stored.advocates}
    recorded, rejected = await referrals.load_earlier(connection, known_codes.keys())
    new = {key: event for key, event in known_codes.items() if key not in recorded}
    windows = [
        _window(friend_id, event.time, stored.known.programs.in_force(event.time))
        for (friend_id, code), event in new.items()
        if stored.advocates[code] != friend_id
    ]
    history = await purchases.load_history(connection, windows)
    return replace(stored, rejected=rejected, recorded=recorded, orders={**history, **stored.orders})


def _window(friend_id: str, signed_up_at: datetime, program: Program) -> Window:
    deadline, least = program.deadline(signed_up_at), purchases.least_totals(program)
    return Window(friend_id, signed_up_at, deadline, program.nth, least)


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
    await saving.save(connection, outcome.referrals.values(), outcome.steps, outcome.ledger, now)
    telemetry.DUPLICATES.labels("natural_key").inc(outcome.repeats)
    telemetry.DUPLICATES.labels("repeat_differs").inc(outcome.differing_repeats)
