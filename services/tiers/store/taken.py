"""Everything that was taken back."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from services.tiers.rules.metrics import Change
from services.tiers.store.fractions import to_columns
from shared.postgres.pool import Connection


class Taking(NamedTuple):
    """Something of a customer's that was taken back; `about` is what it was a part of, as `kind/id`."""

    customer_id: str
    about: str
    change: Change


async def add(connection: Connection, takings: Iterable[Taking]) -> None:
    """Record what was taken back."""
    records = [
        (
            customer_id,
            change.earned_at,
            change.at,
            change.metric,
            change.name,
            *to_columns(change.metric, change.amount),
            about,
        )
        for customer_id, about, change in takings
    ]
    if records:
        await connection.copy_records_to_table(
            "taken",
            records=records,
            columns=("customer_id", "earned_at", "at", "metric", "name", "amount", "divisor", "about"),
        )


FORGET_ORDERS_SQL = """
DELETE FROM taken WHERE customer_id = ANY($1::text[]) AND metric IN ('spend', 'orders')
"""


async def forget_orders(connection: Connection, customer_ids: Sequence[str]) -> None:
    """Delete what was taken of customers' orders, to record it anew."""
    await connection.execute(FORGET_ORDERS_SQL, customer_ids)
