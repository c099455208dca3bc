"""Loading what a batch needs to know of its customers: a few statements, whatever the batch holds."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.points.rules.known import Accrual, Key, Order, Payment, State
from services.points.rules.limits import read_cuts
from services.points.rules.tiers import Standing, TierEntry
from services.points.store import accounts, births, lots, rises
from services.points.store.documents import order_from_json, refund_from_row
from shared.contracts.kept import Refund
from shared.messaging import waiting
from shared.postgres.ids import joined
from shared.postgres.pool import Connection


@dataclass(slots=True)
class Wanted:
    """What the events of a batch are about.

    `changed` orders may have points taken back or become available, and so may all orders and accruals of
    `retold` customers (tiers told anew, from the instant on). `waited_for` are orders and reviews that may be new.
    """

    customers: set[str] = field(default_factory=set)
    orders: set[Key] = field(default_factory=set)
    changed: set[Key] = field(default_factory=set)
    retold: dict[str, datetime] = field(default_factory=dict)
    tiers: dict[str, list[str]] = field(default_factory=dict)
    """The tiers of all entries that are told, by customer."""
    accruals: set[Key] = field(default_factory=set)
    payments: set[Key] = field(default_factory=set)
    births: set[str] = field(default_factory=set)
    waited_for: set[Key] = field(default_factory=set)


async def load(connection: Connection, wanted: Wanted, now: datetime) -> State:
    """Lock the customers and load what is known of what is wanted, and all that is due for them by now."""
    found = await accounts.lock(connection, wanted.customers)
    due = sorted(name for name, account in found.items() if account.due_at is not None and account.due_at <= now)
    state = State(
        accounts=found,
        timelines=await timelines(connection, wanted.customers),
        rises=await rises.before(connection, wanted.retold, wanted.tiers) if wanted.tiers else {},
        orders=await _orders(connection, wanted),
        payments=await _payments(connection, wanted.payments) if wanted.payments else {},
        births=await births.load(connection, wanted.births) if wanted.births else {},
        complete=set(due),
        waiting=defaultdict(list),
    )
    wanted.accruals.update(rises.awards(wanted.retold, wanted.tiers, state.timelines, state.rises))
    state.accruals.update(await _accruals(connection, wanted))
    for one in await waiting.take(connection, sorted(wanted.waited_for)):
        state.waiting.setdefault((one.event.customer_id, one.about), []).append(one)
    if due:
        await load_due(connection, state, due, now)
    await _load_lots(connection, wanted, state)
    if state.orders:
        state.refunds.update(await refunds(connection, list(state.orders)))
    return state


async def load_due(connection: Connection, state: State, customers: Sequence[str], now: datetime) -> None:
    """Load all that is open of customers for whom something is due, and the orders that it is about, whole."""
    state.complete.update(customers)
    state.holds.update(await lots.open_holds(connection, customers))
    found = await lots.open_lots(connection, customers)
    for lot in found:
        state.lots.setdefault(lot.customer_id, {})[lot.id] = lot
    about = {
        (lot.customer_id, lot.origin.removeprefix("order/"))
        for lot in found
        if lot.pending and lot.origin.startswith("order/") and (at := lot.activates_at or lot.cancels_at) and at <= now
    }
    if missing := about - state.orders.keys():
        state.orders.update(await orders_by_key(connection, missing))
        state.refunds.update(await refunds(connection, missing))
    if about:
        # Also lots that are used up: what they lost to expiry counts as taken back.
        for lot in await lots.of_origins(connection, [(customer, f"order/{order}") for customer, order in about]):
            state.lots.setdefault(lot.customer_id, {})[lot.id] = lot


TIMELINES_SQL = """
SELECT customer_id, effective_at, tier, multiplier, rise
FROM tier_entry WHERE customer_id = ANY(string_to_array($1, chr(31)))
ORDER BY customer_id, effective_at
"""


async def timelines(connection: Connection, customers: Collection[str]) -> dict[str, tuple[TierEntry, ...]]:
    """The tiers of customers, as last told, by customer and in order of time."""
    found: dict[str, list[TierEntry]] = defaultdict(list)
    for row in await connection.fetch(TIMELINES_SQL, joined(customers)):
        found[row["customer_id"]].append(TierEntry(row["effective_at"], row["tier"], row["multiplier"], row["rise"]))
    return {customer: tuple(entries) for customer, entries in found.items()}


LATER_ORDERS_SQL = """
SELECT customer_id, order_id, source, occurred_at, ordinal, rules_version, body, given, tier, multiplier, found,
       delivered_at, transaction_ids
FROM purchase JOIN unnest($1::text[], $2::timestamptz[]) AS retold (customer_id, start) USING (customer_id)
WHERE occurred_at > retold.start
"""


async def _orders(connection: Connection, wanted: Wanted) -> dict[Key, Order]:
    found = await orders_by_key(connection, wanted.orders) if wanted.orders else {}
    if wanted.retold:
        starts = list(wanted.retold.values())
        found |= _by_key(await connection.fetch(LATER_ORDERS_SQL, list(wanted.retold), starts))
    return found


ORDERS_SQL = """
SELECT customer_id, order_id, source, occurred_at, ordinal, rules_version, body, given, tier, multiplier, found,
       delivered_at, transaction_ids
FROM purchase JOIN unnest(string_to_array($1, chr(31)), string_to_array($2, chr(31)))
     AS wanted (customer_id, order_id) USING (customer_id, order_id)
"""


async def orders_by_key(connection: Connection, keys: Collection[Key]) -> dict[Key, Order]:
    """Orders by customer and id."""
    return _by_key(await connection.fetch(ORDERS_SQL, *_joined(keys)))


def _by_key(rows: Sequence[Any]) -> dict[Key, Order]:
    return {
        (row["customer_id"], row["order_id"]): Order(
            order_id=row["order_id"],
            source=row["source"],
            occurred_at=row["occurred_at"],
            ordinal=row["ordinal"],
            rules_version=row["rules_version"],
            bought=order_from_json(row["customer_id"], row["order_id"], row["body"]),
            given=row["given"],
            standing=Standing(row["tier"], row["multiplier"]),
            found=read_cuts(row["found"]),
            delivered_at=row["delivered_at"],
            transaction_ids=tuple(row["transaction_ids"]),
        )
        for row in rows
    }


REFUNDS_SQL = """
SELECT customer_id, order_id, refund_id, occurred_at, currency, amount, lines
FROM refund JOIN unnest(string_to_array($1, chr(31)), string_to_array($2, chr(31)))
     AS wanted (customer_id, order_id) USING (customer_id, order_id)
"""


async def refunds(connection: Connection, orders: Collection[Key]) -> dict[Key, dict[str, Refund]]:
    """The refunds of orders, by order and refund id."""
    found: dict[Key, dict[str, Refund]] = defaultdict(dict)
    for row in await connection.fetch(REFUNDS_SQL, *_joined(orders)):
        found[row["customer_id"], row["order_id"]][row["refund_id"]] = refund_from_row(row)
    return found


ACCRUALS_SQL = """
SELECT customer_id, origin, event, occurred_at, rules_version, facts, given, tier, found, withdrawn
FROM accrual JOIN unnest($1::text[], $2::text[]) AS wanted (customer_id, origin) USING (customer_id, origin)
"""


async def accruals_by_key(connection: Connection, keys: Collection[Key]) -> dict[Key, Accrual]:
    """Accruals by customer and origin."""
    return _accruals_by_key(await connection.fetch(ACCRUALS_SQL, *_columns(keys)))


LATER_ACCRUALS_SQL = """
SELECT customer_id, origin, event, occurred_at, rules_version, facts, given, tier, found, withdrawn
FROM accrual JOIN unnest($1::text[], $2::timestamptz[]) AS retold (customer_id, start) USING (customer_id)
WHERE occurred_at > retold.start
"""


async def _accruals(connection: Connection, wanted: Wanted) -> dict[Key, Accrual]:
    found: dict[Key, Accrual] = {}
    if wanted.accruals:
        found |= await accruals_by_key(connection, wanted.accruals)
    if wanted.retold:
        starts = list(wanted.retold.values())
        found |= _accruals_by_key(await connection.fetch(LATER_ACCRUALS_SQL, list(wanted.retold), starts))
    return found


def _accruals_by_key(rows: Sequence[Any]) -> dict[Key, Accrual]:
    return {
        (row["customer_id"], row["origin"]): Accrual(
            origin=row["origin"],
            on=row["event"],
            occurred_at=row["occurred_at"],
            rules_version=row["rules_version"],
            facts=row["facts"],
            given=row["given"],
            tier=row["tier"],
            found=read_cuts(row["found"]),
            withdrawn=row["withdrawn"],
        )
        for row in rows
    }


PAYMENTS_SQL = """
SELECT customer_id, referral_id, points, voided
FROM referral_payment JOIN unnest($1::text[], $2::text[]) AS wanted (customer_id, referral_id)
     USING (customer_id, referral_id)
"""


async def _payments(connection: Connection, payments: Collection[Key]) -> dict[Key, Payment]:
    rows = await connection.fetch(PAYMENTS_SQL, *_columns(payments))
    return {(row["customer_id"], row["referral_id"]): Payment(*tuple(row)[1:]) for row in rows}


async def _load_lots(connection: Connection, wanted: Wanted, state: State) -> None:
    """The lots of what may be taken back, and all open ones of a customer where those do not suffice."""
    origins = _takeable(wanted, state)
    if not origins:
        return
    own = await lots.of_origins(connection, list(origins))
    left = dict(origins)
    for lot in own:
        left[lot.customer_id, lot.origin] -= lot.remaining
    short = sorted({customer for (customer, _), missing in left.items() if missing > 0} - state.complete)
    if short:
        own += await lots.open_lots(connection, short)
    for lot in own:
        state.lots.setdefault(lot.customer_id, {})[lot.id] = lot


def _takeable(wanted: Wanted, state: State) -> dict[Key, int]:
    """By customer and origin of lots: the most points that this batch may take back from what was given before."""
    retold = {key for key in state.orders if key[0] in wanted.retold or key[0] in state.complete}
    found = {
        (customer, f"order/{order}"): sum(state.orders[customer, order].given.values())
        for customer, order in {*wanted.changed, *retold} & state.orders.keys()
    }
    for key, accrual in state.accruals.items():
        if not accrual.withdrawn:
            found[key] = sum(accrual.given.values())
    for (customer, referral), known in state.payments.items():
        if not known.voided:
            key = (customer, f"referral/{referral}")
            found[key] = found.get(key, 0) + known.points
    return {origin: points for origin, points in found.items() if points}


def _columns(keys: Collection[Key]) -> tuple[list[str], list[str]]:
    return [key[0] for key in keys], [key[1] for key in keys]


def _joined(keys: Collection[Key]) -> tuple[str, str]:
    return joined(key[0] for key in keys), joined(key[1] for key in keys)
