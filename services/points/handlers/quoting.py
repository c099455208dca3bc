"""Quotes: what an order would earn. It is judged as a purchase would be, and nothing is written."""

from datetime import datetime

from services.points.rules.books import orders
from services.points.rules.books.orders import OrderCase
from services.points.rules.books.tiers import Span, standing_before
from services.points.rules.ledger import receipts
from services.points.rules.ledger.receipts import Receipt
from services.points.store import accounts, limits, rules, timelines
from shared.contracts.shop import PurchaseCompleted
from shared.postgres.pool import Pool


async def quote(pool: Pool, cart: PurchaseCompleted, customer: str | None, at: datetime) -> tuple[int, Receipt]:
    """The points that a cart would earn for a customer (None: a new one) at an instant, and the receipt."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        account = None if customer is None else await accounts.find(connection, customer)
        tiers = await timelines.load(connection, [customer] if customer else [], lambda _: Span(at, at))
        in_force = await rules.in_force(connection, at)
        uses = await limits.load(connection, set(orders.use_keys(in_force, cart, at)), lock=False)
    standing = standing_before(tiers.get(customer or "", ()), at)
    case = OrderCase(in_force, cart, at, (account.orders if account else 0) + 1, standing)
    judgement = orders.judge_bought(case, uses).judgement
    return sum(judgement.due.values()), receipts.of_order(in_force.version, judgement)
