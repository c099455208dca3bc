"""What is stored of customers, to compare it with a replay."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, cast

from services.tiers.store.benefits import Use
from shared.postgres.pool import Connection

Steps = Sequence[tuple[str, str, str]] | None
"""What a change published: instants, tiers and multipliers; None: an earlier release recorded it."""


TOLD_SQL = """
SELECT customer_id, timeline FROM tier_change WHERE customer_id = ANY($1::text[]) ORDER BY customer_id, id
"""


async def load_told(connection: Connection, customer_ids: Sequence[str]) -> dict[str, list[Steps]]:
    """What the changes of customers published, in their order."""
    told: defaultdict[str, list[Steps]] = defaultdict(list)
    rows: Sequence[Any] = await connection.fetch(TOLD_SQL, customer_ids)
    for row in rows:
        told[row["customer_id"]].append(cast("Steps", row["timeline"]))
    return told


USES_SQL = """
SELECT customer_id, benefit, reference, used_at, uses_left, tier, program_version, principal
FROM benefit_use
WHERE customer_id = ANY($1::text[])
ORDER BY customer_id, benefit, used_at, uses_left DESC, reference
"""


async def load_uses(connection: Connection, customer_ids: Sequence[str]) -> dict[str, list[Use]]:
    """The uses of benefits of customers, those of each benefit in the order of time."""
    uses: defaultdict[str, list[Use]] = defaultdict(list)
    rows: Sequence[Any] = await connection.fetch(USES_SQL, customer_ids)
    for row in rows:
        uses[row["customer_id"]].append(Use(*row))
    return uses


JUDGED_SQL = """
SELECT at_risk.customer_id, days
FROM customer JOIN at_risk USING (customer_id, valid_until)
WHERE customer_id = ANY($1::text[])
"""


async def load_judged(connection: Connection, customer_ids: Sequence[str]) -> dict[str, set[int]]:
    """The days of the moments before the current end of each customer's tier that were judged."""
    judged: defaultdict[str, set[int]] = defaultdict(set)
    for row in await connection.fetch(JUDGED_SQL, customer_ids):
        judged[row["customer_id"]].add(row["days"])
    return judged
