"""Loading what a batch needs to know of its customers: a few statements, whatever the batch holds."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.points.rules.earning import TierEntry
from services.points.rules.known import Key, Order, Payment, Review, State
from services.points.rules.ledger import Lot
from services.points.store import accounts
from services.points.store.documents import order_from_json, refund_from_row
from shared.contracts.kept import Refund
from shared.messaging import waiting
from shared.postgres.pool import Connection


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the events of a batch are about.

    `refunded` orders may have points taken back, and so may all orders of `retold` customers
    (tiers told anew, from the instant on). `waited_for` are orders and reviews that may be new.
    """

    customers: Collection[str]
    orders: Collection[Key]
    refunded: Collection[Key]
    retold: Mapping[str, datetime]
    reviews: Collection[Key]
    skus: Collection[Key]
    payments: Collection[Key]
    waited_for: Sequence[tuple[str, str]]


async def load(connection: Connection, wanted: Wanted) -> State:
    """Lock the customers and load what is known of what is wanted."""
    state = State(
        accounts=await accounts.lock(connection, wanted.customers),
        timelines=await timelines(connection, wanted.customers),
        orders=await _orders(connection, wanted),
        refunds={},
        reviews=await _reviews(connection, wanted.reviews) if wanted.reviews else {},
        rewarded=await _rewarded(connection, wanted.skus) if wanted.skus else set(),
        payments=await _payments(connection, wanted.payments) if wanted.payments else {},
        lots={},
        waiting=defaultdict(list),
    )
    for one in await waiting.take(connection, wanted.waited_for):
        state.waiting.setdefault((one.event.customer_id, one.about), []).append(one)
    if state.orders:
        state.refunds.update(await refunds(connection, list(state.orders)))
    state.lots.update(await _lots(connection, wanted, state))
    return state


TIMELINES_SQL = """
SELECT customer_id, effective_at, tier, multiplier
FROM tier_entry WHERE customer_id = ANY($1::text[])
ORDER BY customer_id, effective_at
"""


async def timelines(connection: Connection, customers: Collection[str]) -> dict[str, tuple[TierEntry, ...]]:
    """The tiers of customers, as last told, by customer and in order of time."""
    found: dict[str, list[TierEntry]] = defaultdict(list)
    for row in await connection.fetch(TIMELINES_SQL, list(customers)):
        found[row["customer_id"]].append(TierEntry(row["effective_at"], row["tier"], row["multiplier"]))
    return {customer: tuple(entries) for customer, entries in found.items()}


LATER_ORDERS_SQL = """
SELECT customer_id, order_id, source, occurred_at, ordinal, rules_version, body, given, multiplier, transaction_ids
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
SELECT customer_id, order_id, source, occurred_at, ordinal, rules_version, body, given, multiplier, transaction_ids
FROM purchase JOIN unnest($1::text[], $2::text[]) AS wanted (customer_id, order_id) USING (customer_id, order_id)
"""


async def orders_by_key(connection: Connection, keys: Collection[Key]) -> dict[Key, Order]:
    """Orders by customer and id."""
    return _by_key(await connection.fetch(ORDERS_SQL, *_columns(keys)))


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
            multiplier=row["multiplier"],
            transaction_ids=tuple(row["transaction_ids"]),
        )
        for row in rows
    }


REFUNDS_SQL = """
SELECT customer_id, order_id, refund_id, occurred_at, currency, amount, lines
FROM refund JOIN unnest($1::text[], $2::text[]) AS wanted (customer_id, order_id) USING (customer_id, order_id)
"""


async def refunds(connection: Connection, orders: Collection[Key]) -> dict[Key, dict[str, Refund]]:
    """The refunds of orders, by order and refund id."""
    found: dict[Key, dict[str, Refund]] = defaultdict(dict)
    for row in await connection.fetch(REFUNDS_SQL, *_columns(orders)):
        found[row["customer_id"], row["order_id"]][row["refund_id"]] = refund_from_row(row)
    return found


REVIEWS_SQL = """
SELECT customer_id, review_id, sku, occurred_at, verified, rules_version, awarded, withdrawn
FROM review JOIN unnest($1::text[], $2::text[]) AS wanted (customer_id, review_id) USING (customer_id, review_id)
"""


async def _reviews(connection: Connection, reviews: Collection[Key]) -> dict[Key, Review]:
    rows = await connection.fetch(REVIEWS_SQL, *_columns(reviews))
    return {(row["customer_id"], row["review_id"]): Review(*tuple(row)[1:]) for row in rows}


REWARDED_SQL = """
SELECT customer_id, sku
FROM review JOIN unnest($1::text[], $2::text[]) AS wanted (customer_id, sku) USING (customer_id, sku)
WHERE awarded > 0 AND NOT withdrawn
"""


async def _rewarded(connection: Connection, skus: Collection[Key]) -> set[Key]:
    rows = await connection.fetch(REWARDED_SQL, *_columns(skus))
    return {(row["customer_id"], row["sku"]) for row in rows}


PAYMENTS_SQL = """
SELECT customer_id, referral_id, points, voided
FROM referral_payment JOIN unnest($1::text[], $2::text[]) AS wanted (customer_id, referral_id)
     USING (customer_id, referral_id)
"""


async def _payments(connection: Connection, payments: Collection[Key]) -> dict[Key, Payment]:
    rows = await connection.fetch(PAYMENTS_SQL, *_columns(payments))
    return {(row["customer_id"], row["referral_id"]): Payment(*tuple(row)[1:]) for row in rows}


OWN_LOTS_SQL = """
SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, reversed, spent, pending,
       occurred_at, activates_at, expires_at
FROM lot JOIN unnest($1::text[], $2::text[]) AS wanted (customer_id, origin) USING (customer_id, origin)
"""


async def _lots(connection: Connection, wanted: Wanted, state: State) -> dict[str, dict[UUID, Lot]]:
    """The lots of what may be taken back, and all open ones of a customer where those do not suffice."""
    origins = _takeable(wanted, state)
    if not origins:
        return {}
    rows = await connection.fetch(OWN_LOTS_SQL, *_columns(list(origins)))
    lots = [lot_from_row(row) for row in rows]
    left = dict(origins)
    for lot in lots:
        left[lot.customer_id, lot.origin] -= lot.remaining
    short = sorted({customer for (customer, _), missing in left.items() if missing > 0})
    if short:
        lots += await open_lots(connection, short)
    return by_customer(lots)


OPEN_LOTS_SQL = """
SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, reversed, spent, pending,
       occurred_at, activates_at, expires_at
FROM lot WHERE customer_id = ANY($1::text[]) AND remaining > 0
"""


async def open_lots(connection: Connection, customers: Sequence[str]) -> list[Lot]:
    """All open lots of customers."""
    return [lot_from_row(row) for row in await connection.fetch(OPEN_LOTS_SQL, customers)]


def _takeable(wanted: Wanted, state: State) -> dict[Key, int]:
    """By customer and origin of lots: the most points that this batch may take back from what was given before."""
    retold = {key for key in state.orders if key[0] in wanted.retold}
    found = {
        (customer, f"order/{order}"): sum(state.orders[customer, order].given.values())
        for customer, order in {*wanted.refunded, *retold} & state.orders.keys()
    }
    found |= {
        (customer, f"review/{review}"): known.awarded
        for (customer, review), known in state.reviews.items()
        if not known.withdrawn
    }
    found |= {
        (customer, f"referral/{referral}"): known.points
        for (customer, referral), known in state.payments.items()
        if not known.voided
    }
    return {origin: points for origin, points in found.items() if points}


def by_customer(lots: Sequence[Lot]) -> dict[str, dict[UUID, Lot]]:
    """Lots by customer and id."""
    found: dict[str, dict[UUID, Lot]] = defaultdict(dict)
    for lot in lots:
        found[lot.customer_id][lot.id] = lot
    return found


def lot_from_row(row: Sequence[object]) -> Lot:
    """A lot as OWN_LOTS_SQL and OPEN_LOTS_SQL give it."""
    return Lot(*row)  # type: ignore[arg-type]


def _columns(keys: Collection[Key]) -> tuple[list[str], list[str]]:
    return [key[0] for key in keys], [key[1] for key in keys]
