"""A customer's tier and spend as of now."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final, cast

from services.tiers.rules.metrics import Request, Sums
from services.tiers.rules.program.compiled import Program, Tier
from services.tiers.store import customers, metrics
from services.tiers.store.programs import load_program
from shared.postgres.pool import Pool

_DAYS: Final = 365


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
        program = await load_program(connection, now)
        customer = await customers.find(connection, customer_id)
        start = datetime.combine(now.date() - timedelta(days=_DAYS - 1), datetime.min.time(), UTC)
        request = Request(start, None, now + timedelta(microseconds=1))
        [sums] = await metrics.load_answers(connection, [(customer_id, request)])
    tier = program.first if customer.tier is None else program.tier(customer.tier)
    return Status(program, tier, customer.since, Fraction(cast("Sums", sums).get(("spend", program.currency), 0)))
