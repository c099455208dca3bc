"""Loads the state that a batch needs, by a few statements, whatever the batch holds."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.points.rules.books.state import Key, Payment, State
from services.points.rules.books.tiers import FOR_EVER, Span
from services.points.rules.ledger.accounts import Account
from services.points.rules.program.earning import PURCHASE, REFERRAL, Origin
from services.points.store import (
    accounts,
    accruals,
    available,
    births,
    lots,
    orders,
    refunds,
    rejudging,
    rises,
    sweeping,
    timelines,
)
from services.points.store.rejudging import Revision
from shared.contracts.refunds import Refund
from shared.messaging import waiting
from shared.postgres.pool import Connection


@dataclass(slots=True)
class Wanted:
    """What the events of a batch are about.

    Points of `changed` orders may be taken back or become available, and so may those of orders that the
    `revisions` of timelines, by customer, judge differently. `waited_for` are orders and reviews that may be new.
    `moments` are the instants at which customers are judged.
    """

    customers: set[str] = field(default_factory=set)
    orders: set[Key] = field(default_factory=set)
    changed: set[Key] = field(default_factory=set)
    refunds: dict[Key, list[Refund]] = field(default_factory=dict)
    revisions: dict[str, list[Revision]] = field(default_factory=dict)
    tiers: dict[str, list[str]] = field(default_factory=dict)
    """By customer: the tiers of all entries in the events."""
    moments: Callable[[], Iterable[tuple[str, datetime]]] = tuple
    accruals: set[Key] = field(default_factory=set)
    payments: set[Key] = field(default_factory=set)
    births: set[str] = field(default_factory=set)
    waited_for: set[Key] = field(default_factory=set)


class _Spans:
    """The span of time that a customer's timeline is needed for; computed only if a timeline is long."""

    def __init__(self, wanted: Wanted, state: State) -> None:
        self._wanted = wanted
        self._state = state
        self._moments: dict[str, list[datetime]] | None = None

    def __call__(self, customer: str) -> Span:
        if self._moments is None:
            self._moments = defaultdict(list)
            for name, moment in self._wanted.moments():
                self._moments[name].append(moment)
        moments = [
            *self._moments.get(customer, ()),
            *(revision.start for revision in self._wanted.revisions.get(customer, ())),
        ]
        left = self._state.resettling.get(customer)
        if left is not None:
            moments.append(left.since)
        if left is not None or customer in self._wanted.revisions:
            moments.append(FOR_EVER)
        return Span(min(moments, default=FOR_EVER), max(moments, default=FOR_EVER))


async def load(connection: Connection, wanted: Wanted, now: datetime) -> State:
    """Lock the customers, and load the wanted state and all lots and holds that have matured by now."""
    locked = await lock(connection, wanted.customers, now)
    due = sorted(name for name, account in locked.items() if account.due_at is not None and account.due_at <= now)
    starts = {
        customer: min(revision.start for revision in revisions) for customer, revisions in wanted.revisions.items()
    }
    state = State(
        accounts=locked,
        orders=await orders.orders_by_key(connection, wanted.orders) if wanted.orders else {},
        rises=await rises.before(connection, starts, wanted.tiers) if wanted.tiers else {},
        payments=await _payments(connection, wanted.payments) if wanted.payments else {},
        births=await births.load(connection, wanted.births) if wanted.births else {},
        waiting=defaultdict(list),
    )
    last = await timelines.last(connection, wanted.customers)
    if last.unsettled:
        state.resettling.update(await rejudging.left(connection, last.unsettled))
    state.timelines.update(await timelines.whole(connection, last, _Spans(wanted, state)))
    wanted.accruals.update(rises.awards(starts, wanted.tiers, state.timelines, state.rises))
    if wanted.accruals:
        state.accruals.update(await accruals.accruals_by_key(connection, wanted.accruals))
    if wanted.revisions or state.resettling:
        await rejudging.load(connection, state, wanted.revisions)
    for waiter in await waiting.take(connection, sorted(wanted.waited_for)):
        state.waiting.setdefault((waiter.event.customer_id, waiter.about), []).append(waiter)
    given_up = await _load_matured(connection, state, due, now) if due else set[Key]()
    await _load_takeable(connection, state, _takeable(wanted, state, given_up), now)
    if state.orders:
        await refunds.load(connection, state, wanted.refunds)
    return state


async def lock(connection: Connection, customers: Collection[str], now: datetime) -> dict[str, Account]:
    """Lock the accounts of customers; a customer's very many matured lots are applied by the sweep's statement."""
    locked = await accounts.lock(connection, customers)
    due = [name for name, account in locked.items() if account.due_at is not None and account.due_at <= now]
    if due and (many := await lots.customers_with_many_matured(connection, due, now)):
        await sweeping.sweep(connection, many, now)
        locked |= await accounts.read(connection, many)
    return locked


async def load_matured(connection: Connection, state: State, customers: Sequence[str], now: datetime) -> None:
    """Load the lots and holds of customers that have matured by now, and the orders that these are about."""
    given_up = await _load_matured(connection, state, customers, now)
    await _load_takeable(connection, state, _takeable(Wanted(), state, given_up), now)
    if state.orders:
        await refunds.load(connection, state, {})


async def _load_matured(connection: Connection, state: State, customers: Sequence[str], now: datetime) -> set[Key]:
    """Load matured lots and holds; returns the keys of the orders whose points are given up."""
    state.next_due.update(await lots.next_maturity(connection, customers, now))
    matured = await lots.matured(connection, customers, now)
    holds = await lots.matured_holds(connection, customers, now)
    for hold in holds:
        state.holds.setdefault(hold.customer_id, {})[hold.id] = hold
    if holds:
        matured += await lots.by_id(connection, [lot_id for hold in holds for lot_id, _ in hold.portions])
    for lot in matured:
        state.lots.setdefault(lot.customer_id, {})[lot.id] = lot
    given_up = {
        (lot.customer_id, Origin.parse(lot.origin).id)
        for lot in matured
        if lot.pending and lot.activates_at is None and Origin.parse(lot.origin).kind == PURCHASE.prefix
    }
    if missing := given_up - state.orders.keys():
        state.orders.update(await orders.orders_by_key(connection, missing))
    return given_up


PAYMENTS_SQL = """
SELECT customer_id, referral_id, points, voided
FROM referral_payment JOIN unnest($1::text[], $2::text[]) AS wanted (customer_id, referral_id)
     USING (customer_id, referral_id)
"""


async def _payments(connection: Connection, payments: Collection[Key]) -> dict[Key, Payment]:
    rows = await connection.fetch(PAYMENTS_SQL, *_columns(payments))
    return {(row["customer_id"], row["referral_id"]): Payment(*tuple(row)[1:]) for row in rows}


async def _load_takeable(connection: Connection, state: State, takeable: Mapping[Key, int], now: datetime) -> None:
    """Load the lots of what may be taken back, and other lots of the customer if these do not suffice."""
    if not takeable:
        return
    left, wanted = dict(takeable), Counter[str]()
    for lot in await lots.of_origins(connection, list(takeable)):
        left[lot.customer_id, lot.origin] -= lot.remaining
        state.lots.setdefault(lot.customer_id, {})[lot.id] = lot
    for (customer, _), points in takeable.items():
        wanted[customer] += points
    # Points may be taken from lots of another origin that is taken back here too: so the whole sum is needed.
    short = {customer: wanted[customer] for (customer, _), missing in left.items() if missing > 0}
    for customer, spendable in (await available.read(connection, short, now)).items():
        for lot in spendable:
            state.lots.setdefault(customer, {}).setdefault(lot.id, lot)


def _takeable(wanted: Wanted, state: State, given_up: Collection[Key]) -> dict[Key, int]:
    """By customer and origin of lots: the most points that this batch may take back."""
    rejudged = {key for key in state.orders if key[0] in wanted.revisions or key[0] in state.resettling}
    takeable = {
        (customer, PURCHASE.origin_of(order)): sum(state.orders[customer, order].given.values())
        for customer, order in {*wanted.changed, *rejudged, *given_up} & state.orders.keys()
    }
    for key, accrual in state.accruals.items():
        if not accrual.withdrawn:
            takeable[key] = sum(accrual.given.values())
    for (customer, referral), payment in state.payments.items():
        if not payment.voided:
            key = (customer, REFERRAL.origin_of(referral))
            takeable[key] = takeable.get(key, 0) + payment.points
    return {origin: points for origin, points in takeable.items() if points}


def _columns(keys: Collection[Key]) -> tuple[list[str], list[str]]:
    return [key[0] for key in keys], [key[1] for key in keys]
