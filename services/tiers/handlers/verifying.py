"""The stored state, verified."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from services.tiers.handlers import replaying
from services.tiers.rules.metrics import Change
from services.tiers.rules.orders import takings_of
from services.tiers.rules.refunding import Refunding
from services.tiers.rules.reversing import changes_of
from services.tiers.store import auditing, orders, programs
from shared.contracts.orders import Order, about_order
from shared.postgres import checks
from shared.postgres.checks import Check
from shared.postgres.pool import Connection, Pool

_MOST_ORDERS: Final = 20_000
"""The maximum number of orders in memory, unless a single customer has more."""

_AT_ONCE: Final = 500
"""The number of customers whose orders are counted together."""

_Sums = Counter[tuple[str, Change]]
"""Sums of what was taken, by what it was a part of; the amount of the change is 0 in the key."""


async def verify(pool: Pool, sample: int, now: datetime) -> AsyncIterator[Check]:
    """Check the database in one snapshot; `sample` customers are judged again from nothing."""
    async with checks.snapshot(pool) as connection:
        async for check in checks.ask(connection, auditing.QUERIES):
            yield check
        chosen = await auditing.sample(connection, sample)
        yield await checks.judge(
            "what was taken back = a replay of the events", chosen, partial(_misrecorded, connection)
        )
        offenders = await _replay(connection, chosen, now)
        for name in replaying.CHECKS:
            yield Check(name, offenders[name][: checks.MOST_SHOWN])


async def _replay(connection: Connection, chosen: Sequence[str], now: datetime) -> Mapping[str, list[str]]:
    """By check, those of the customers who fail it."""
    versions = await programs.load_all(connection)
    offenders: defaultdict[str, list[str]] = defaultdict(list)
    for start in range(0, len(chosen), _AT_ONCE):
        names = chosen[start : start + _AT_ONCE]
        for portion in _portions(names, await auditing.count_orders(connection, names)):
            for stored in await replaying.load(connection, portion):
                for failed in replaying.offending(versions, stored, now):
                    offenders[failed].append(stored.customer.customer_id)
    return offenders


async def _misrecorded(connection: Connection, customer_ids: Sequence[str]) -> list[str]:
    """Those of the customers whose takings are not those of their orders, refunds and points."""
    wrong: list[str] = []
    for portion in _portions(customer_ids, await auditing.count_orders(connection, customer_ids)):
        wrong += await _misrecorded_of(connection, portion)
    return wrong


def _portions(customer_ids: Sequence[str], counts: Mapping[str, int]) -> Iterator[list[str]]:
    """Customers in portions, each with no more orders than fit in memory."""
    portion: list[str] = []
    total = 0
    for customer_id in customer_ids:
        total += counts.get(customer_id, 0)
        if portion and total > _MOST_ORDERS:
            yield portion
            portion, total = [], counts.get(customer_id, 0)
        portion.append(customer_id)
    if portion:
        yield portion


async def _misrecorded_of(connection: Connection, customer_ids: Sequence[str]) -> list[str]:
    own = await orders.load_all(connection, customer_ids)
    gone = await auditing.load_gone(connection, customer_ids)
    recorded = await auditing.load_takings(connection, customer_ids)
    due: defaultdict[str, list[tuple[str, Change]]] = defaultdict(list)
    for (customer_id, about), transactions in (await auditing.load_transactions(connection, customer_ids)).items():
        due[customer_id] += [(about, change) for change in changes_of(transactions) if change.is_taking]
    wrong: list[str] = []
    for customer_id in customer_ids:
        mine = own.get(customer_id, [])
        try:
            due[customer_id] += [
                (about_order(order.order_id), change) for order in mine for change in takings_of(order)
            ]
            is_right = _sums(due[customer_id]) == _sums(recorded.get(customer_id, ())) and all(
                gone.get((customer_id, order.order_id)) == _gone_at(order) for order in mine
            )
        except LookupError:
            is_right = False  # a refund of a line that its order does not have
        if not is_right:
            wrong.append(customer_id)
    return wrong


def _gone_at(order: Order) -> datetime | None:
    return Refunding(order).gone_at


def _sums(takings: Iterable[tuple[str, Change]]) -> _Sums:
    sums: _Sums = Counter()
    for about, change in takings:
        sums[about, change._replace(amount=0)] += change.amount  # pyright: ignore[reportArgumentType] exact, not float
    return Counter({key: amount for key, amount in sums.items() if amount})
