"""Checks of a database on one snapshot: each gives the ids of the offenders."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, LiteralString, TypeVar

from shared.postgres.pool import Connection, Pool

MOST_SHOWN: Final = 20
"""Number of ids that a check gives at most."""

_AT_ONCE: Final = 500

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check: up to MOST_SHOWN ids of offenders; none if it passes."""

    name: str
    offenders: list[str]


@dataclass(frozen=True, slots=True)
class Query:
    """A check by a statement that selects ids of offenders as `id`, at most $1; `arguments` are $2 and so on."""

    name: str
    statement: LiteralString
    arguments: tuple[Any, ...] = ()


UNBOUNDED_SQL = """
SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true)
"""


@asynccontextmanager
async def snapshot(pool: Pool) -> AsyncGenerator[Connection]:
    """A connection in a read-only transaction on one snapshot, without a timeout for statements."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(UNBOUNDED_SQL)
        yield connection


async def ask(connection: Connection, queries: Iterable[Query]) -> AsyncIterator[Check]:
    """The result of each query, in order."""
    for query in queries:
        rows = await connection.fetch(query.statement, MOST_SHOWN, *query.arguments)
        yield Check(query.name, [row["id"] for row in rows])


async def judge(name: str, sample: Sequence[T], wrong: Callable[[Sequence[T]], Awaitable[Iterable[str]]]) -> Check:
    """A check of a sample, a part at a time; `wrong` gives the ids of the offenders in a part."""
    offenders: list[str] = []
    for start in range(0, len(sample), _AT_ONCE):
        offenders += await wrong(sample[start : start + _AT_ONCE])
        if len(offenders) >= MOST_SHOWN:
            break
    return Check(name, offenders[:MOST_SHOWN])
