"""A customer's tier and benefits as of now; reading writes nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from services.tiers.handlers.judging import assignment_of, outdated_from, standing_of, state_of
from services.tiers.handlers.rounds import run, run_apart
from services.tiers.rules import benefits as rules
from services.tiers.rules.judging.answering import InMemory
from services.tiers.rules.judging.machine import Happenings
from services.tiers.rules.judging.run import MOMENT
from services.tiers.rules.judging.state import Standing
from services.tiers.rules.metrics import Reading, Request
from services.tiers.rules.orders import takings_of
from services.tiers.rules.program.compiled import Benefit
from services.tiers.rules.program.versions import Versions
from services.tiers.rules.status import Known, Status, status
from services.tiers.store import assignments, benefits, customers, metrics, orders, reading, timelines
from services.tiers.store.customers import Customer
from services.tiers.store.programs import Programs
from shared.postgres.pool import Connection, Pool


class Entitlement(NamedTuple):
    """A benefit that a customer has; `left` is the number of uses that are left, None for any number."""

    benefit: Benefit
    left: int | None


@dataclass(frozen=True, slots=True)
class Seen:
    """A customer's tier, and the benefits that the customer has now."""

    status: Status
    benefits: tuple[Entitlement, ...]


async def read(pool: Pool, cached: Programs, customer_id: str, now: datetime) -> Seen:
    """A customer's tier as of now; an unknown customer is in the first tier, and nothing counts."""
    async with pool.acquire() as connection:
        found = await reading.read(connection, cached, customer_id)
        if found is not None and (seen := await _see_found(connection, found, now)) is not None:
            return seen
        # All reads see the same snapshot.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await see(connection, await cached.load(connection), customer_id, now)


async def _see_found(connection: Connection, found: reading.Read, now: datetime) -> Seen | None:
    """A customer's tier as of now without a transaction; None if that needs one."""
    customer, versions, _ = found
    state, name = state_of(versions, customer, now), customer.customer_id
    if outdated_from(versions, customer) is not None or (state.at is not None and state.at > now):
        return None
    asking = status(versions, Known(state), Happenings(), now)
    try:
        asked = next(asking)
    except StopIteration as end:
        seen: Status = end.value
        if not any(benefit.uses for benefit in rules.listed(seen, now)):
            return Seen(seen, await entitled(connection, name, seen, now))
    else:
        seen = (await run(connection, {name: _begun(asking, asked)}))[name]
    benefits_ = await entitled(connection, name, seen, now)
    # All of it was read of the same state of the customer, hence as of one instant.
    return Seen(seen, benefits_) if await reading.is_unchanged(connection, found) else None


def _begun(reading_: Reading[Status], asked: Sequence[Request]) -> Reading[Status]:
    """A computation that goes on with what it asked for first."""
    while True:
        answers = yield asked
        try:
            asked = reading_.send(answers)
        except StopIteration as end:
            return end.value


async def see(connection: Connection, versions: Versions, customer_id: str, now: datetime) -> Seen:
    """A customer's tier as of now, within a transaction."""
    customer = await customers.find(connection, customer_id)
    found = await _status(connection, versions, customer, now)
    return Seen(found, await entitled(connection, customer_id, found, now))


async def entitled(connection: Connection, customer_id: str, found: Status, now: datetime) -> tuple[Entitlement, ...]:
    """The benefits that a customer has now, with what is left of them."""
    own = rules.listed(found, now)
    since = {
        benefit.id: rules.counted_since(found.program, found.calendar, uses, now)
        for benefit in own
        if (uses := benefit.uses)
    }
    used = await benefits.count(connection, customer_id, since)
    return tuple(Entitlement(benefit, rules.left(benefit, used.get(benefit.id, 0))) for benefit in own)


async def _status(connection: Connection, versions: Versions, customer: Customer, now: datetime) -> Status:
    state = state_of(versions, customer, now)
    name, late_from = customer.customer_id, outdated_from(versions, customer)
    if late_from is not None and late_from <= now:
        return await _judged_in_memory(connection, versions, customer._replace(rejudge_from=late_from), now)
    known = Known(state)
    if state.at is not None and state.at > now:
        # Something is dated ahead: what stands now is what the last entry by now says.
        known = Known(state, await _standing_before(connection, name, now + MOMENT))
    return (await run(connection, {name: status(versions, known, Happenings(), now)}))[name]


async def _judged_in_memory(connection: Connection, versions: Versions, customer: Customer, now: datetime) -> Status:
    """The status of a customer who is marked to be judged again, which a job will do."""
    name, since = customer.customer_id, customer.rejudge_from
    assert since is not None, "the customer is marked"
    changes = (await metrics.load_changes(connection, {name: since}))[name].changes
    given = (await assignments.load_from(connection, {name: since}))[name]
    late = Happenings(
        [change for change in changes if change.at <= now],
        [assignment_of(assignment) for assignment in given if assignment.at <= now],
    )
    standing = await _standing_before(connection, name, since)
    reading = status(versions, Known(state_of(versions, customer, now), standing, since), late, now)
    if customer.carried:
        return await run_apart(connection, name, reading)
    # What an earlier release recorded of refunds is not yet in the rows that sums are read from.
    own = (await orders.load_all(connection, [name])).get(name, ())
    taken = [change for order in own for change in takings_of(order) if change.at <= now]
    late = Happenings([*late.changes, *taken], late.assignments)
    reading = status(versions, Known(state_of(versions, customer, now), standing, since), late, now)
    return await asyncio.to_thread(InMemory(late.changes).run, reading)


async def _standing_before(connection: Connection, customer_id: str, moment: datetime) -> Standing | None:
    """The standing of the last entry before an instant."""
    entries = await timelines.load_last_before(connection, {customer_id: moment})
    return standing_of(entries.get(customer_id))
