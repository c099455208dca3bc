"""Usage counters of limits: those of a customer under the customer's lock, those of the program under row locks."""

from collections.abc import Collection, Iterable

from services.points.rules.program.limits import PROGRAM, Use, UseKey
from shared.postgres.pool import Connection

OPEN_SQL = """
INSERT INTO limit_use (owner, rule, span, count, points)
SELECT owner, rule, span, 0, 0 FROM unnest($1::text[], $2::text[], $3::text[]) AS new (owner, rule, span)
ORDER BY owner, rule, span
ON CONFLICT (owner, rule, span) DO NOTHING
"""

LOCK_SQL = """
SELECT owner, rule, span, count, points
FROM limit_use JOIN unnest($1::text[], $2::text[], $3::text[]) AS wanted (owner, rule, span) USING (owner, rule, span)
ORDER BY owner, rule, span
FOR UPDATE OF limit_use
"""

LOAD_SQL = """
SELECT owner, rule, span, count, points
FROM limit_use JOIN unnest($1::text[], $2::text[], $3::text[]) AS wanted (owner, rule, span) USING (owner, rule, span)
"""


async def load(connection: Connection, keys: Collection[UseKey], *, lock: bool = True) -> dict[UseKey, Use]:
    """Usage counters by key.

    Counters of the program are locked in sorted order, after all customers: transactions that use the same counter
    run one after the other, so together they never exceed its limit. `lock=False` reads without locks.
    """
    uses: dict[UseKey, Use] = {}
    shared = sorted(key for key in keys if key.owner == PROGRAM)
    if shared and lock:
        await connection.execute(OPEN_SQL, *_columns(shared))
        uses |= _by_key(await connection.fetch(LOCK_SQL, *_columns(shared)))
    rest = [key for key in keys if key not in uses]
    if rest:
        uses |= _by_key(await connection.fetch(LOAD_SQL, *_columns(rest)))
    return uses


SAVE_SQL = """
INSERT INTO limit_use (owner, rule, span, count, points)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
ON CONFLICT (owner, rule, span) DO UPDATE SET count = excluded.count, points = excluded.points
"""


async def save(connection: Connection, uses: Iterable[tuple[UseKey, Use]]) -> None:
    """Store usage counters."""
    rows = [(*key, *use) for key, use in uses]
    if rows:
        await connection.execute(SAVE_SQL, *map(list, zip(*rows, strict=True)))


def _by_key(rows: Iterable[tuple[object, ...]]) -> dict[UseKey, Use]:
    return {UseKey(*row[:3]): Use(*row[3:]) for row in map(tuple, rows)}  # type: ignore[arg-type]


def _columns(keys: Collection[UseKey]) -> tuple[list[str], list[str], list[str]]:
    return [key.owner for key in keys], [key.rule for key in keys], [key.span for key in keys]
