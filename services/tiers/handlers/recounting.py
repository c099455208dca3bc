"""Records anew what refunds took of the orders of customers, from the orders and refunds themselves."""

from collections.abc import Sequence

from services.tiers.rules.orders import takings_of
from services.tiers.rules.refunding import Refunding
from services.tiers.store import orders, taken
from services.tiers.store.taken import Taking
from shared.contracts.orders import about_order
from shared.postgres.pool import Connection


async def recount_orders(connection: Connection, customer_ids: Sequence[str]) -> None:
    """Replace what is recorded as taken of customers' orders, and since when nothing of them is kept.

    The customers are locked. Their rows say afterwards that they are `carried` once the caller saves them so.
    """
    if not customer_ids:
        return
    own = await orders.load_all(connection, customer_ids)
    refunded = {
        (customer_id, order.order_id): order for customer_id, mine in own.items() for order in mine if order.refunds
    }
    await taken.forget_orders(connection, customer_ids)
    await taken.add(
        connection,
        [
            Taking(key[0], about_order(key[1]), change)
            for key, order in refunded.items()
            for change in takings_of(order)
        ],
    )
    await orders.save_refunding(connection, {key: Refunding(order) for key, order in refunded.items()})
