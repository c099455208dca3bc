"""The job that judges customers again: of whom much is late, or whom an earlier release judged.

Most are judged in one transaction, which holds their rows. Whoever has a long history is judged on a snapshot without
a lock, for which events would wait; then the row is locked, and the outcome stored. What arrived meanwhile has marked
the customer again. Such a customer rests after it, so that late events that follow each other cost a bounded share.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from services.tiers.handlers import judging
from services.tiers.handlers.announcing import announce
from services.tiers.handlers.arrivals import Arrival
from services.tiers.handlers.judging import judged_again, load_pasts, outdated_from
from services.tiers.handlers.recounting import recount_orders
from services.tiers.handlers.rounds import run
from services.tiers.rules.program.versions import Versions
from services.tiers.store import customers, programs, rejudging
from services.tiers.store.customers import Customer
from shared.contracts.envelope import Cause
from shared.postgres.pool import Connection, Pool

_CUSTOMERS: Final = 20
"""Customers who are judged in one transaction."""
LEASE: Final = timedelta(seconds=60)
"""A judging without a lock that takes longer was interrupted: another worker may begin."""
_REST: Final = timedelta(microseconds=250)
"""Rest of a customer by change, beyond `_FREE` of them: about seven times of what judging a change takes."""
_FREE: Final = 2_000

SINCE_EVER: Final = datetime(1, 1, 1, tzinfo=UTC)


async def rejudge(pool: Pool, now: datetime) -> None:
    """Judge every customer again who is marked and does not rest."""
    while True:
        async with pool.acquire() as connection, connection.transaction():
            marked = await customers.claim_marked(connection, now, _CUSTOMERS)
            if not marked:
                return
            long = await _judge_short(connection, marked, now)
            await rejudging.begin(connection, long, now + LEASE)
        for customer_id in long:
            await judge_long(pool, customer_id, now)


async def rejudge_marked(
    connection: Connection, versions: Versions, marked: Mapping[str, Customer], now: datetime
) -> None:
    """Judge locked customers again who are marked, however long their histories are."""
    await rejudging.stop(connection, list(marked))
    await _judge(connection, versions, marked, now, None)


async def _judge_short(connection: Connection, marked: Mapping[str, Customer], now: datetime) -> list[str]:
    """Judge locked customers again; returns those with long histories, who are left as they are."""
    versions = await programs.load_all(connection)
    # Until the orders are recounted nothing can be read but under a lock.
    await _judge(connection, versions, {name: own for name, own in marked.items() if not own.carried}, now, None)
    carried = {name: own for name, own in marked.items() if own.carried}
    judged = await _judge(connection, versions, carried, now, judging.MOST_INLINE)
    return [name for name in carried if name not in judged]


async def _judge(
    connection: Connection, versions: Versions, marked: Mapping[str, Customer], now: datetime, limit: int | None
) -> set[str]:
    """Judge locked customers again of whom no more than `limit` changes of a kind follow; returns them."""
    if not marked:
        return set()
    await recount_orders(connection, [name for name, customer in marked.items() if not customer.carried])
    since = {name: outdated_from(versions, customer) or SINCE_EVER for name, customer in marked.items()}
    pasts = await load_pasts(connection, since, limit)
    readings = {
        name: judged_again(versions, marked[name], past, [_arrival(marked[name])], now) for name, past in pasts.items()
    }
    await announce(connection, versions, await run(connection, readings), now)
    return set(pasts)


async def judge_long(pool: Pool, customer_id: str, now: datetime) -> None:
    """Judge a customer again on a snapshot, and store the outcome unless others have judged the customer meanwhile."""
    async with pool.acquire() as connection:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            versions = await programs.load_all(connection)
            customer = await customers.find(connection, customer_id)
            if customer.rejudge_from is None:
                return
            since = outdated_from(versions, customer) or SINCE_EVER
            past = (await load_pasts(connection, {customer_id: since}))[customer_id]
            reading = judged_again(versions, customer, past, [_arrival(customer)], now)
            judged = await run(connection, {customer_id: reading})
        rest = _REST * max(0, len(past.happenings.changes) - _FREE)
        async with connection.transaction():
            await customers.lock(connection, [customer_id])
            if list(await programs.load_all(connection)) != list(versions):
                return  # A version was published: it is judged again by all of them when the lease ends.
            ended = await rejudging.end(connection, customer_id, now + LEASE, now + rest)
            if ended is None:
                return
            await announce(connection, versions, judged, now)
            if ended.late is not None:
                await customers.mark(connection, {customer_id: ended.late})


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
