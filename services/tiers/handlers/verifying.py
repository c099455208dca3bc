"""What is stored, verified."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from functools import partial
from typing import Final

from services.tiers.handlers.standing import load_pasts
from services.tiers.rules.customer import Standing, replay
from services.tiers.rules.program import Program
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
"""The most orders that are in memory at once, unless they are one customer's."""


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
    wrong: list[str] = []
    for some in _portions(customer_ids, await auditing.count_orders(connection, customer_ids)):
        wrong += await _misjudged_of(connection, program, some)
    return wrong


def _portions(customer_ids: Sequence[str], counts: Mapping[str, int]) -> Iterator[list[str]]:
    """Customers, so many together as have no more orders than can be in memory."""
    some: list[str] = []
    total = 0
    for customer_id in customer_ids:
        total += counts.get(customer_id, 0)
        if some and total > _MOST_ORDERS:
            yield some
            some, total = [], counts.get(customer_id, 0)
        some.append(customer_id)
    if some:
        yield some


async def _misjudged_of(connection: Connection, program: Program, customer_ids: Sequence[str]) -> list[str]:
    standings = await customers.read(connection, customer_ids)
    known = await timelines.load(connection, customer_ids)
    kept = await auditing.load_kept(connection, customer_ids)
    found = await orders.load_all(connection, customer_ids)
    counted = [standing for standing in standings.values() if standing.loose is not None]
    pasts = await load_pasts(connection, program, counted)
    wrong: list[str] = []
    for one in customer_ids:
        stands = standings[one], known.get(one, ())
        past = pasts.get(one)
        if past is not None and standings[one].curve_until is not None:
            past = replace(past, curve=await curves.load_whole(connection, one))
        if not _is_replayed(program, stands, past, found[one]) or not _is_kept(found[one], one, kept):
            wrong.append(one)
    return wrong


def _is_replayed(
    program: Program, stands: tuple[Standing, Timeline], past: Past | None, orders: Sequence[Order]
) -> bool:
    """Whether a customer stands where the orders lead, and all changes of spend are there for who counts them."""
    try:
        counted = [order for order in orders if order.purchase.currency == program.currency]
        spend_changes = [change for order in counted for change in changes_of(order)]
        return stands == replay(program, stands[0].customer_id, orders) and (
            past is None or is_whole(past, spend_changes)
        )
    except LookupError:
        return False  # a refund of a line that the order has not


def _is_kept(orders: Sequence[Order], customer_id: str, kept: Mapping[OrderKey, Fraction]) -> bool:
    try:
        return all(kept_of(order) == kept[customer_id, order.order_id] for order in orders)
    except LookupError:
        return False  # likewise
