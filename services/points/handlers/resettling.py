"""Timelines that change more than one transaction settles: the job that goes on with them."""

from datetime import datetime
from typing import Final

from services.points.handlers.announcing import new_ids, save_and_announce
from services.points.rules.books.books import Books
from services.points.rules.books.fold import fold
from services.points.store import loading, rejudging, rules
from services.points.store.loading import Wanted
from shared.postgres.pool import Connection, Pool

_CUSTOMERS: Final = 10
"""So many customers are looked at at once; each is settled further in a transaction of its own."""


async def resettle(pool: Pool, now: datetime) -> None:
    """The job: settle all that timelines changed and no event's transaction settled."""
    while True:
        async with pool.acquire() as connection:
            customers = await rejudging.next_customers(connection, _CUSTOMERS)
            for customer in customers:
                async with connection.transaction():
                    await _go_on(connection, customer, now)
        if not customers:
            return


async def _go_on(connection: Connection, customer: str, now: datetime) -> None:
    state = await loading.load(connection, Wanted(customers={customer}), now)
    judged = {order.rules_version for order in state.orders.values()}
    judged |= {accrual.rules_version for accrual in state.accruals.values()}
    books = Books(state, await rules.book_at(connection, [now], judged), now, new_ids())
    await save_and_announce(connection, state, fold(books, ()))
