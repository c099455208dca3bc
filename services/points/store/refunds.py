"""Refunds of orders: a batch loads only those that it needs."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from services.points.rules.books.refunds import Later, RefundState, needs_later, refund_states
from services.points.rules.books.state import Key, Order, State
from services.points.store.documents import refund_from_row, refund_lines_to_json
from shared.contracts.kept import Fold, keep
from shared.contracts.refunds import Place, Purchase, Refund, misfit, place_of
from shared.postgres.ids import joined
from shared.postgres.pool import Connection

Arrived = tuple[Key, tuple[int | None, Refund]]
"""A refund with the key of its order and its number within the order, None for refunds stored before numbers."""

REPEATED_SQL = """
SELECT stored.*
FROM unnest(string_to_array($1, chr(31)), string_to_array($2, chr(31)), string_to_array($3, chr(31)))
     AS wanted (customer_id, order_id, refund_id)
CROSS JOIN LATERAL (
    SELECT customer_id, order_id, refund_id, occurred_at, currency, amount, lines FROM refund
    WHERE refund.customer_id = wanted.customer_id AND refund.order_id = wanted.order_id
      AND refund.refund_id = wanted.refund_id
    LIMIT 1
) AS stored
"""


async def load(connection: Connection, state: State, arriving: Mapping[Key, Sequence[Refund]]) -> None:
    """Load what the fold needs of the refunds of the orders in `state`, to which `arriving` are added."""
    wanted = {key: refunds for key, refunds in arriving.items() if key in state.orders}
    if wanted:
        rows = await connection.fetch(REPEATED_SQL, *_names(wanted))
        for row in rows:
            state.repeated_refunds.setdefault(_key(row), {})[row["refund_id"]] = refund_from_row(row)
    late: dict[Key, Place] = {}
    for key, refunds in wanted.items():
        order = state.orders[key]
        bought, before = Purchase.of(order.bought), state.repeated_refunds.get(key, {})
        # A refund that does not fit its order is refused later: the fold cannot take it.
        new = [refund for refund in refunds if refund.refund_id not in before and misfit(bought, refund) is None]
        if new and order.refunded and needs_later(Fold.from_json(bought, order.refunded), new):
            late[key] = min(map(place_of, new))
    if late:
        state.later_refunds.update(await _later(connection, late))
    if unfolded := [key for key, order in state.orders.items() if order.refunded is None]:
        by_order = await all_of(connection, unfolded)
        state.later_refunds.update({key: Later({}, refunds) for key, refunds in by_order.items()})


async def all_of(connection: Connection, orders: Collection[Key]) -> dict[Key, list[Refund]]:
    """All refunds of orders, by order."""
    by_order: dict[Key, list[Refund]] = defaultdict(list)
    for key, (_, refund) in await _all(connection, orders):
        by_order[key].append(refund)
    return by_order


ALL_SQL = """
SELECT customer_id, order_id, refund_id, occurred_at, currency, amount, lines, number
FROM refund JOIN unnest(string_to_array($1, chr(31)), string_to_array($2, chr(31)))
     AS wanted (customer_id, order_id) USING (customer_id, order_id)
ORDER BY number NULLS FIRST, occurred_at, refund_id COLLATE "C"
"""


async def _all(connection: Connection, orders: Collection[Key]) -> list[Arrived]:
    """All refunds of orders, in the order of arrival."""
    rows = await connection.fetch(ALL_SQL, *_joined(orders)) if orders else ()
    return [(_key(row), (row["number"], refund_from_row(row))) for row in rows]


CHECKPOINTS_SQL = """
SELECT customer_id, order_id, checkpoint
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[])
     AS late (customer_id, order_id, occurred_at, refund_id)
CROSS JOIN LATERAL (
    SELECT checkpoint FROM refund
    WHERE refund.customer_id || chr(31) || refund.order_id = late.customer_id || chr(31) || late.order_id
      AND (refund.occurred_at, refund.refund_id COLLATE "C") < (late.occurred_at, late.refund_id COLLATE "C")
      AND checkpoint IS NOT NULL
    ORDER BY refund.occurred_at DESC, refund.refund_id COLLATE "C" DESC
    LIMIT 1
) AS last
"""


async def _later(connection: Connection, late: Mapping[Key, Place]) -> dict[Key, Later]:
    """By order: the fold of its last checkpoint before a place, and the refunds that count after that checkpoint."""
    rows = await connection.fetch(CHECKPOINTS_SQL, *_places(late))
    starts = {_key(row): row["checkpoint"]["fold"] for row in rows}
    refunds = await all_of(connection, [key for key in late if key not in starts])
    for key, (_, refund) in await _after(connection, starts):
        refunds[key].append(refund)
    return {key: Later(starts.get(key, {}), refunds[key]) for key in late}


AFTER_SQL = """
SELECT refund.customer_id, refund.order_id, refund.refund_id, refund.occurred_at, currency, amount, lines, number
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[])
     AS start (customer_id, order_id, occurred_at, refund_id)
JOIN refund ON refund.customer_id || chr(31) || refund.order_id = start.customer_id || chr(31) || start.order_id
           AND (refund.occurred_at, refund.refund_id COLLATE "C") > (start.occurred_at, start.refund_id COLLATE "C")
ORDER BY number NULLS FIRST, refund.occurred_at, refund.refund_id COLLATE "C"
"""


async def _after(connection: Connection, starts: Mapping[Key, Mapping[str, Any]]) -> list[Arrived]:
    """The refunds of orders that count after a stored checkpoint, in the order of arrival."""
    if not starts:
        return []
    places = {key: Fold.place_of(start) for key, start in starts.items()}
    rows = await connection.fetch(AFTER_SQL, *_places(places))
    return [(_key(row), (row["number"], refund_from_row(row))) for row in rows]


REACHING_SQL = """
SELECT wanted.customer_id, wanted.order_id, checkpoint
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS wanted (customer_id, order_id, number)
CROSS JOIN LATERAL (
    SELECT checkpoint FROM refund
    WHERE refund.customer_id || chr(31) || refund.order_id = wanted.customer_id || chr(31) || wanted.order_id
      AND checkpoint IS NOT NULL AND (checkpoint->>'known')::bigint < wanted.number
    ORDER BY refund.occurred_at DESC, refund.refund_id COLLATE "C" DESC
    LIMIT 1
) AS last
"""


async def states_at_counts(
    connection: Connection, orders: Mapping[Key, Order], wanted: Mapping[Key, Collection[int]]
) -> dict[tuple[Key, int], RefundState]:
    """By order and number: the state after so many refunds had arrived. Each order is folded once."""
    keys = [key for key in wanted if key in orders]
    if not keys:
        return {}
    columns = [key[0] for key in keys], [key[1] for key in keys], [min(wanted[key]) for key in keys]
    starts = {_key(row): row["checkpoint"]["fold"] for row in await connection.fetch(REACHING_SQL, *columns)}
    arrived: dict[Key, list[tuple[int | None, Refund]]] = defaultdict(list)
    for key, numbered in await _after(connection, starts):
        arrived[key].append(numbered)
    for key, numbered in await _all(connection, [key for key in keys if key not in starts]):
        arrived[key].append(numbered)
    states: dict[tuple[Key, int], RefundState] = {}
    for key, refunds in arrived.items():
        last = max(wanted[key])
        upto = [(number, refund) for number, refund in refunds if number is None or number <= last]
        for number, state in refund_states(orders[key].bought, starts.get(key, {}), upto):
            if number is not None and number in wanted[key]:
                states[key, number] = state
    return states


async def states_of_ids(
    connection: Connection, orders: Mapping[Key, Order], wanted: Mapping[Key, Iterable[Sequence[str]]]
) -> dict[tuple[Key, tuple[str, ...]], RefundState]:
    """By order and refund ids: the state with these refunds (transactions before 0008 name the ids)."""
    keys = [key for key in wanted if key in orders]
    refunds = {
        key: {refund.refund_id: refund for refund in several}
        for key, several in (await all_of(connection, keys)).items()
    }
    return {
        (key, tuple(ids)): RefundState(keep(Purchase.of(orders[key].bought), [refunds[key][id_] for id_ in ids]), None)
        for key in keys
        for ids in wanted[key]
    }


async def insert(connection: Connection, refunds: Iterable[tuple[Key, Refund, int]]) -> None:
    """Add refunds, each with the key of its order and its number within the order."""
    rows = [
        (*key, refund.refund_id, refund.time, refund.currency, refund.amount, refund_lines_to_json(refund), number)
        for key, refund, number in refunds
    ]
    if rows:
        columns = ("customer_id", "order_id", "refund_id", "occurred_at", "currency", "amount", "lines", "number")
        await connection.copy_records_to_table("refund", records=rows, columns=columns)


FORGET_SQL = """
UPDATE refund SET checkpoint = NULL
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[])
     AS void (customer_id, order_id, occurred_at, refund_id)
WHERE refund.customer_id || chr(31) || refund.order_id = void.customer_id || chr(31) || void.order_id
  AND checkpoint IS NOT NULL
  AND (refund.occurred_at, refund.refund_id COLLATE "C") > (void.occurred_at, void.refund_id COLLATE "C")
"""

KEEP_SQL = """
UPDATE refund SET checkpoint = new.checkpoint
FROM unnest($1::text[], $2::text[], $3::text[], $4::json[]) AS new (customer_id, order_id, refund_id, checkpoint)
WHERE refund.customer_id = new.customer_id AND refund.order_id = new.order_id AND refund.refund_id = new.refund_id
"""


async def save_checkpoints(connection: Connection, state: State) -> None:
    """Store new checkpoints, and remove those that became void because an earlier refund arrived late."""
    void = {key: refunds.void_after for key, refunds in state.refunds.items() if refunds.void_after is not None}
    if void:
        await connection.execute(FORGET_SQL, *_places(void))
    made = [
        (*key, place[1], {"known": checkpoint.arrived, "fold": checkpoint.fold.to_json()})
        for key, refunds in state.refunds.items()
        for place, checkpoint in refunds.checkpoints.items()
    ]
    if made:
        await connection.execute(KEEP_SQL, *map(list, zip(*made, strict=True)))


def _key(row: Any) -> Key:  # noqa: ANN401 asyncpg's Record has no types
    return row["customer_id"], row["order_id"]


def _names(refunds: Mapping[Key, Sequence[Refund]]) -> tuple[str, str, str]:
    names = [(*key, refund.refund_id) for key, arriving in refunds.items() for refund in arriving]
    return joined(name[0] for name in names), joined(name[1] for name in names), joined(name[2] for name in names)


def _joined(keys: Collection[Key]) -> tuple[str, str]:
    return joined(key[0] for key in keys), joined(key[1] for key in keys)


def _places(places: Mapping[Key, Place]) -> tuple[list[str], list[str], list[Any], list[str]]:
    return (
        [key[0] for key in places],
        [key[1] for key in places],
        [place[0] for place in places.values()],
        [place[1] for place in places.values()],
    )
