"""A customer's tier and spend as of now."""

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from services.tiers.handlers.judging import state_of
from services.tiers.handlers.rounds import run
from services.tiers.rules.judging.machine import Happenings, advance, values_at
from services.tiers.rules.judging.state import State, Values
from services.tiers.rules.metrics import Reading
from services.tiers.rules.program.compiled import Program, Tier
from services.tiers.rules.program.versions import Versions
from services.tiers.store import customers
from services.tiers.store.programs import load_all
from shared.contracts.values import UNITS
from shared.postgres.pool import Pool


@dataclass(frozen=True, slots=True)
class Status:
    """A customer's tier at an instant; `since` is None where the customer has never left the first tier."""

    program: Program
    tier: Tier
    since: datetime | None
    spend: Fraction


async def read_status(pool: Pool, customer_id: str, now: datetime) -> Status:
    """A customer's tier and spend as of now; an unknown customer is in the first tier and has spent nothing."""
    # All reads see the same snapshot.
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        versions = await load_all(connection)
        customer = await customers.find(connection, customer_id)
        reading = _values(versions, state_of(versions, customer, now), now)
        state, values = (await run(connection, {customer_id: reading}))[customer_id]
    program = versions.in_force(now)
    spend = Fraction(values.get("spend", 0)) / UNITS
    return Status(program, program.tier(state.tier), state.standing.since, spend)


def _values(versions: Versions, state: State, now: datetime) -> Reading[tuple[State, Values]]:
    advanced = yield from advance(versions, state, Happenings(), now)
    return advanced.state, (yield from values_at(versions, advanced.state, now))
