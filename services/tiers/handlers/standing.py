"""A customer's tier and spend as of now, and the past that judging on the curve needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Final

from services.tiers.rules.curve import Curve
from services.tiers.rules.customer import MOST_LOOSE, Leaving, Standing
from services.tiers.rules.program.compiled import Program, Tier
from services.tiers.rules.rejudging import Past, spend_at
from services.tiers.rules.spend import changes_of
from services.tiers.rules.timeline import tier_at
from services.tiers.rules.window import first_day, start_of
from services.tiers.store import curves, customers, orders, timelines
from services.tiers.store.programs import load_program
from shared.postgres.pool import Connection, Pool

_ANY: Final = 2**31


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
        standing = await customers.find(connection, customer_id)
        timeline = (await timelines.load(connection, [customer_id])).get(customer_id, ())
        spend = await _spend(connection, program, standing, now)
    tier, since = tier_at(program, timeline, now)
    return Status(program, tier, since, spend)


async def load_pasts(connection: Connection, program: Program, standings: Sequence[Standing]) -> dict[str, Past]:
    """What judging on the curve needs of each customer; the stretches of a stored curve are read later."""
    counted = [standing for standing in standings if standing.loose is not None]
    loose = await curves.load_loose(connection, counted, program.currency)
    uncounted = [standing.customer_id for standing in standings if standing.loose is None]
    for customer_id, own in (await orders.load_all(connection, uncounted)).items() if uncounted else ():
        loose[customer_id] = [
            change for order in own if order.purchase.currency == program.currency for change in changes_of(order)
        ]
    stored = await timelines.load(connection, [standing.customer_id for standing in standings])
    return {
        standing.customer_id: Past(
            stored.get(standing.customer_id, ()),
            loose.get(standing.customer_id, ()),
            Curve.empty() if standing.curve_until is None else Curve(),
        )
        for standing in standings
    }


async def _spend(connection: Connection, program: Program, standing: Standing, now: datetime) -> Fraction:
    """Spend within the window that ends today, as of now."""
    if standing.judged_at is None:
        return Fraction(0)
    if standing.judged_at <= now:
        judged, today = standing.judged_at.toordinal(), now.toordinal()
        left = Leaving(standing.customer_id, start_of(first_day(judged)), start_of(first_day(today)))
        # Customers from before the curve have no loose count: all their orders would have to be folded instead.
        most = MOST_LOOSE if standing.loose is not None else _ANY
        days = (await orders.load_leaving(connection, [left], program.currency, most)).get(standing.customer_id, {})
        if days is not None:
            return standing.spend - sum(days.values(), Fraction(0))
    # An event lies in the future, or more than MOST_LOOSE orders have left the window.
    past = (await load_pasts(connection, program, [standing]))[standing.customer_id]
    runs = {standing.customer_id: (past.curve, spend_at(past, now))}
    return (await curves.run(connection, runs))[standing.customer_id]
