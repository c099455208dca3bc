"""The stored state, verified."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from functools import partial
from typing import Final

from services.tiers.handlers.standing import load_pasts
from services.tiers.rules.customer import Standing, replay
from services.tiers.rules.program.compiled import Program
from services.tiers.rules.rejudging import Past, is_whole
from services.tiers.rules.spend import changes_of, kept_of
from services.tiers.rules.timeline import Timeline
from services.tiers.store import auditing, curves, customers, orders, timelines
from services.tiers.store.programs import load_program
from shared.contracts.orders import Order, OrderKey
from shared.postgres import checks
from shared.postgres.checks import Check
from shared.postgres.pool import Connection, Pool

_MOST_ORDERS: Final = 20_000
"""The maximum number of orders in memory, unless a single customer has more."""


async def verify(pool: Pool, sample: int, now: datetime) -> AsyncIterator[Check]:
    """Check the database in one snapshot; `sample` customers are judged again from their orders and refunds."""
    async with checks.snapshot(pool) as connection:
        program = await load_program(connection, now)
        async for check in checks.ask(connection, auditing.queries(program)):
            yield check
        chosen = await auditing.sample(connection, sample)
        yield await checks.judge(
            "timeline, spend and the money kept = a replay of the events",
            chosen,
            partial(_misjudged, connection, program),
        )


async def _misjudged(connection: Connection, program: Program, customer_ids: Sequence[str]) -> list[str]:
    """Those of the customers whose stored state is not that of their orders and refunds."""
    wrong: list[str] = []
    for portion in _portions(customer_ids, await auditing.count_orders(connection, customer_ids)):
        wrong += await _misjudged_of(connection, program, portion)
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


async def _misjudged_of(connection: Connection, program: Program, customer_ids: Sequence[str]) -> list[str]:
    standings = await customers.read(connection, customer_ids)
    stored = await timelines.load(connection, customer_ids)
    kept = await auditing.load_kept(connection, customer_ids)
    own = await orders.load_all(connection, customer_ids)
    counted = [standing for standing in standings.values() if standing.loose is not None]
    pasts = await load_pasts(connection, program, counted)
    wrong: list[str] = []
    for customer_id in customer_ids:
        standing, past = standings[customer_id], pasts.get(customer_id)
        if past is not None and standing.curve_until is not None:
            past = replace(past, curve=await curves.load_whole(connection, customer_id))
        judged = standing, stored.get(customer_id, ())
        is_right = _is_replayed(program, judged, past, own[customer_id])
        if not is_right or not _is_kept(own[customer_id], customer_id, kept):
            wrong.append(customer_id)
    return wrong


def _is_replayed(
    program: Program, judged: tuple[Standing, Timeline], past: Past | None, orders: Sequence[Order]
) -> bool:
    """Whether a customer's standing and timeline are those of a replay, and curve and loose changes are complete."""
    try:
        counted = [order for order in orders if order.purchase.currency == program.currency]
        spend_changes = [change for order in counted for change in changes_of(order)]
        is_same = judged == replay(program, judged[0].customer_id, orders)
        return is_same and (past is None or is_whole(past, spend_changes))
    except LookupError:
        return False  # a refund of a line that its order does not have


def _is_kept(orders: Sequence[Order], customer_id: str, kept: Mapping[OrderKey, Fraction]) -> bool:
    try:
        return all(kept_of(order) == kept[customer_id, order.order_id] for order in orders)
    except LookupError:
        return False  # a refund of a line that its order does not have
