"""Curves of spend, and the loose changes of spend, which are not on the curves."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any, Final, TypeVar

import msgspec

from services.tiers.rules.curve import Amount, Branch, Curve, Key, Leaf, Part, Reading, Stretch
from services.tiers.rules.customer import Folded, Standing
from services.tiers.rules.spend import SpendChange
from services.tiers.store.fractions import from_columns, to_columns
from shared.postgres.pool import Connection

T = TypeVar("T")

_ENCODER: Final = msgspec.json.Encoder()

LOAD_SQL = """
SELECT customer_id, bits, place, is_leaf, content
FROM unnest($1::text[], $2::smallint[], $3::bigint[]) AS wanted (customer_id, bits, place)
JOIN spend_curve USING (customer_id, bits, place)
"""


async def load(connection: Connection, wanted: Mapping[str, Iterable[Key]]) -> dict[str, dict[Key, Stretch]]:
    """Those of the wanted stretches, by customer, that are stored."""
    rows = [(customer_id, *key) for customer_id, keys in wanted.items() for key in keys]
    stored: defaultdict[str, dict[Key, Stretch]] = defaultdict(dict)
    if rows:
        for row in await connection.fetch(LOAD_SQL, *zip(*rows, strict=True)):
            stored[row["customer_id"]][row["bits"], row["place"]] = _stretch(row)
    return stored


async def run(connection: Connection, readings: Mapping[str, tuple[Curve, Reading[T]]]) -> dict[str, T]:
    """Run computations on customers' curves; the stretches that they need are read for all of them at once."""
    running = dict(readings)
    results: dict[str, T] = {}
    while running:
        wanted: dict[str, Sequence[Key]] = {}
        for customer_id, (_, reading) in list(running.items()):
            try:
                wanted[customer_id] = next(reading)
            except StopIteration as end:
                results[customer_id] = end.value
                del running[customer_id]
        for customer_id, stretches in (await load(connection, wanted)).items():
            running[customer_id][0].stretches.update(stretches)
    return results


async def save(connection: Connection, folded: Sequence[Folded]) -> None:
    """Write the changed stretches of curves, and the new loose changes."""
    await _save_stretches(connection, folded)
    await _delete_loose(
        connection, [customer.standing.customer_id for customer in folded if customer.curve is not None]
    )
    await _add_loose(
        connection, [(customer.standing.customer_id, change) for customer in folded for change in customer.loose]
    )


SAVE_SQL = """
INSERT INTO spend_curve (customer_id, bits, place, is_leaf, content)
SELECT customer_id, bits, place, is_leaf, content::json
FROM unnest($1::text[], $2::smallint[], $3::bigint[], $4::boolean[], $5::text[])
    AS changed (customer_id, bits, place, is_leaf, content)
ON CONFLICT (customer_id, bits, place) DO UPDATE SET is_leaf = excluded.is_leaf, content = excluded.content
"""


async def _save_stretches(connection: Connection, folded: Sequence[Folded]) -> None:
    rows = [
        (customer.standing.customer_id, *key, *_content(key, customer.curve.stretches[key]))
        for customer in folded
        if customer.curve is not None
        for key in customer.curve.changed
    ]
    if rows:
        await connection.execute(SAVE_SQL, *zip(*rows, strict=True))


# A purchase changes spend by its total: what refunds take of it are changes of their own.
LOOSE_SQL = """
SELECT wanted.customer_id, purchased_at AS at, (purchased_at AT TIME ZONE 'UTC')::date AS day, total AS amount,
       1::numeric AS divisor
FROM unnest($1::text[], $2::timestamptz[]) AS wanted (customer_id, since)
JOIN purchase ON purchase.customer_id = wanted.customer_id AND currency = $3
             AND purchased_at > coalesce(since, '-infinity')
UNION ALL
SELECT customer_id, at, day, amount, divisor FROM loose_refund WHERE customer_id = ANY($1::text[])
"""


async def load_loose(
    connection: Connection, standings: Iterable[Standing], currency: str
) -> dict[str, list[SpendChange]]:
    """The loose changes of spend of customers, from orders in a currency."""
    loose: defaultdict[str, list[SpendChange]] = defaultdict(list)
    wanted = [(standing.customer_id, standing.curve_until) for standing in standings]
    if wanted:
        for row in await connection.fetch(LOOSE_SQL, *zip(*wanted, strict=True), currency):
            amount = from_columns(row["amount"], row["divisor"])
            loose[row["customer_id"]].append(SpendChange(row["at"], row["day"].toordinal(), amount))
    return loose


DELETE_LOOSE_SQL = "DELETE FROM loose_refund WHERE customer_id = ANY($1::text[])"


async def _delete_loose(connection: Connection, customer_ids: Sequence[str]) -> None:
    """Delete the loose changes of customers, which are on their curves now."""
    if customer_ids:
        await connection.execute(DELETE_LOOSE_SQL, customer_ids)


async def _add_loose(connection: Connection, spend_changes: Sequence[tuple[str, SpendChange]]) -> None:
    if spend_changes:
        await connection.copy_records_to_table(
            "loose_refund",
            records=[
                (customer_id, change.at, date.fromordinal(change.day), *to_columns(change.amount))
                for customer_id, change in spend_changes
            ],
            columns=("customer_id", "at", "day", "amount", "divisor"),
        )


WHOLE_SQL = "SELECT bits, place, is_leaf, content FROM spend_curve WHERE customer_id = $1"


async def load_whole(connection: Connection, customer_id: str) -> Curve:
    """The complete curve of a customer."""
    rows = await connection.fetch(WHOLE_SQL, customer_id)
    return Curve({(row["bits"], row["place"]): _stretch(row) for row in rows})


def _stretch(row: Mapping[str, Any]) -> Stretch:
    begin = row["place"] << row["bits"]
    if row["is_leaf"]:
        return Leaf({begin + at: _amount(change) for at, change in row["content"]})
    first = row["place"] << 6
    return Branch({first + place: Part(_amount(sum_), _amount(peak)) for place, sum_, peak in row["content"]})


def _content(key: Key, stretch: Stretch) -> tuple[bool, str]:
    bits, place = key
    if isinstance(stretch, Leaf):
        begin = place << bits
        changes = [(at - begin, str(change)) for at, change in stretch.changes.items()]
        return True, _ENCODER.encode(changes).decode()
    parts = [(number & 63, str(part.sum), str(part.peak)) for number, part in stretch.parts.items()]
    return False, _ENCODER.encode(parts).decode()


def _amount(text: str) -> Amount:
    return Fraction(text) if "/" in text else int(text)
