"""The job that judges customers again: of whom much is late, or whom an earlier release judged."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from services.tiers.handlers.announcing import announce
from services.tiers.handlers.arrivals import Arrival
from services.tiers.handlers.judging import judged_again, load_pasts, outdated_from
from services.tiers.handlers.recounting import recount_orders
from services.tiers.handlers.rounds import run
from services.tiers.rules.program.versions import Versions
from services.tiers.store import customers, programs
from services.tiers.store.customers import Customer
from shared.contracts.envelope import Cause
from shared.postgres.pool import Connection, Pool

_CUSTOMERS: Final = 20
"""Customers who are judged in one transaction."""

SINCE_EVER: Final = datetime(1, 1, 1, tzinfo=UTC)


async def rejudge(pool: Pool, now: datetime) -> None:
    """Judge every customer again who is marked."""
    while True:
        async with pool.acquire() as connection, connection.transaction():
            marked = await customers.claim_marked(connection, _CUSTOMERS)
            if marked:
                await rejudge_marked(connection, await programs.load_all(connection), marked, now)
        if not marked:
            return


async def rejudge_marked(
    connection: Connection, versions: Versions, marked: Mapping[str, Customer], now: datetime
) -> None:
    """Judge locked customers again who are marked."""
    await recount_orders(connection, [name for name, customer in marked.items() if not customer.carried])
    since = {name: outdated_from(versions, customer) or SINCE_EVER for name, customer in marked.items()}
    pasts = await load_pasts(connection, since)
    readings = {
        name: judged_again(versions, marked[name], past, [_arrival(marked[name])], now) for name, past in pasts.items()
    }
    await announce(connection, versions, await run(connection, readings), now)


def _arrival(customer: Customer) -> Arrival:
    """What arrived at the instant from which on a customer is judged again."""
    arrived: Mapping[str, Any] = customer.rejudge_for or {}
    correlation_id = arrived.get("correlation_id", "tiers-upgrade")
    id_ = arrived.get("id", correlation_id)
    at = customer.rejudge_from or SINCE_EVER
    time = datetime.fromisoformat(arrived["time"]) if arrived else at
    return Arrival(
        Cause(correlation_id, id_),
        arrived.get("source", "/wafa/tiers"),
        id_,
        time,
        marked=(at, arrived.get("reason", "program")),
    )
