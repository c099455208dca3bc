"""Drafts of the tier program that are simulated and published, as the API and the jobs do it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.tiers.handlers import simulating
from services.tiers.handlers.applying import apply_versions
from services.tiers.handlers.rejudging import rejudge
from services.tiers.handlers.simulating import simulate
from services.tiers.rules.program.kind import KIND
from services.tiers.store import publications
from services.tiers.store.simulations import Simulation
from shared.postgres.pool import Pool
from shared.programs import store
from shared.programs.drafting import Author
from shared.programs.kind import Key, dump
from shared.programs.store import Publication, Version

KEY = Key(KIND.name)


def changed(document: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A document with other values of some fields."""
    return {**document, **fields}


async def draft(pool: Pool, document: Mapping[str, Any], now: datetime) -> Version:
    """Store a document as a draft."""
    async with pool.acquire() as connection, connection.transaction():
        return await store.insert(connection, KEY, dump(KIND.model.model_validate(document)), now, "tests")


async def rewrite(pool: Pool, version: int, document: Mapping[str, Any]) -> Version:
    """Replace the document of a draft."""
    async with pool.acquire() as connection, connection.transaction():
        return await store.update(connection, KEY, version, dump(KIND.model.model_validate(document)), "tests")


async def start(pool: Pool, draft: Version, at: datetime, now: datetime) -> Simulation:
    """Store a simulation for the job."""
    async with pool.acquire() as connection, connection.transaction():
        return await simulating.start(connection, draft, at, Author("tests", now))


async def find(pool: Pool, simulation: Simulation) -> Simulation:
    """A simulation as it is now."""
    found = await simulating.find(pool, simulation.id)
    assert found is not None
    return found


async def simulated(pool: Pool, document: Mapping[str, Any], at: datetime, now: datetime) -> tuple[Version, Any]:
    """A draft, and the result of its simulation."""
    drafted = await draft(pool, document, now)
    simulation = await start(pool, drafted, at, now)
    await simulate(pool, now)
    found = await find(pool, simulation)
    assert found.state == "done", found.failure
    return drafted, found.result


async def customers_of(pool: Pool, simulation: Simulation) -> dict[str, tuple[str, str, str]]:
    """For each customer of a simulation: the tiers before and after, and why."""
    rows = await pool.fetch(
        """SELECT customer_id, from_tier, to_tier, why
           FROM simulation_customers, unnest(customer_ids, whys) AS listed (customer_id, why)
           WHERE simulation_id = $1""",
        simulation.id,
    )
    return {row["customer_id"]: (row["from_tier"], row["to_tier"], row["why"]) for row in rows}


async def publish(pool: Pool, version: int, effective_at: datetime, now: datetime) -> None:
    """Publish a draft, without its checks."""
    async with pool.acquire() as connection, connection.transaction():
        await store.publish(connection, KEY, version, Publication(now, effective_at, "tests"))
        await publications.add(connection, version, effective_at, now)


async def publish_and_apply(pool: Pool, version: int, effective_at: datetime, now: datetime) -> None:
    """Publish a draft that is in force by now, and apply it to all customers."""
    await publish(pool, version, effective_at, now)
    await apply_versions(pool, now)
    await rejudge(pool, now)


async def tiers(pool: Pool) -> dict[str, str]:
    """The tiers of all customers as they are stored."""
    rows = await pool.fetch("SELECT customer_id, tier FROM customer WHERE tier IS NOT NULL")
    return {row["customer_id"]: row["tier"] for row in rows}
