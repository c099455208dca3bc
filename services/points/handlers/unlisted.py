"""Tiers that customers have and earning rules do not list: warnings about a draft, and a measurement."""

from collections.abc import Sequence
from datetime import datetime

from services.points.rules.program.document import Document
from services.points.store import rules, timelines
from shared import telemetry
from shared.postgres.pool import Connection, Pool
from shared.programs.faults import Fault, pointer


async def warnings(connection: Connection, document: Document, moment: datetime) -> Sequence[Fault]:
    """Warnings about the tiers of customers that a document does not list, if it is in force from an instant on."""
    customers = await timelines.unlisted(connection, document.tiers, moment)
    return [Fault(pointer("tiers"), _message(tier, count)) for tier, count in customers.items()]


async def measure(pool: Pool, now: datetime) -> None:
    """Measure the customers whose tier the rules in force do not list."""
    async with pool.acquire() as connection, connection.transaction(readonly=True):
        in_force = await rules.in_force(connection, now)
        customers = await timelines.unlisted(connection, in_force.document.tiers, now)
    telemetry.UNLISTED_TIER_CUSTOMERS.clear()
    for tier, count in customers.items():
        telemetry.UNLISTED_TIER_CUSTOMERS.labels(tier).set(count)


def _message(tier: str, count: int) -> str:
    are = "customer is" if count == 1 else "customers are"
    return (
        f"{tier} is missing, and {count:,} {are} in this tier: no minimum_tier includes them, and multipliers decide "
        "whether they rise"
    )
