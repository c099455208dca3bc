"""Quotes: what an order would earn. It is judged as a purchase would be, and nothing is written."""

from datetime import datetime
from typing import NamedTuple

from services.points.rules.books import orders
from services.points.rules.books.orders import OrderCase
from services.points.rules.books.tiers import Span, standing_before
from services.points.rules.ledger import receipts
from services.points.rules.ledger.receipts import Receipt
from services.points.store import accounts, limits, rules, timelines
from shared.contracts.shop import PurchaseCompleted
from shared.postgres.pool import Pool


class Quoted(NamedTuple):
    """The points that a cart would earn, the receipt, and the customer's tier where the rules do not list it."""

    points: int
    receipt: Receipt
    unlisted_tier: str | None


async def quote(pool: Pool, cart: PurchaseCompleted, customer: str | None, at: datetime) -> Quoted:
    """The points that a cart would earn for a customer (None: a new one) at an instant."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        account = None if customer is None else await accounts.find(connection, customer)
        tiers = await timelines.load(connection, [customer] if customer else [], lambda _: Span(at, at))
        in_force = await rules.in_force(connection, at)
        uses = await limits.load(connection, set(orders.use_keys(in_force, cart, at)), lock=False)
    standing = standing_before(tiers.get(customer or "", ()), at)
    case = OrderCase(in_force, cart, at, (account.orders if account else 0) + 1, standing)
    judgement = orders.judge_bought(case, uses).judgement
    receipt = receipts.of_order(in_force.version, judgement)
    return Quoted(sum(judgement.due.values()), receipt, in_force.unlisted(standing.tier))
