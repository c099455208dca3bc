"""Checks of a database, all from one snapshot: each names the ids that it found wrong."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, LiteralString, TypeVar

from shared.postgres.pool import Connection, Pool

MOST_SHOWN: Final = 20
"""How many offenders a check names."""

_AT_ONCE: Final = 500

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Check:
    """What a check found: up to MOST_SHOWN ids that are wrong, none where all is well."""

    name: str
    offenders: list[str]


@dataclass(frozen=True, slots=True)
class Query:
    """A check that a statement makes: it selects offenders as `id`, at most $1 of them; `arguments` are $2 and on."""

    name: str
    statement: LiteralString
    arguments: tuple[Any, ...] = ()


UNBOUNDED_SQL = """
SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true)
"""


@asynccontextmanager
async def snapshot(pool: Pool) -> AsyncGenerator[Connection]:
    """A connection that sees one state of the database throughout; its statements take as long as they need."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(UNBOUNDED_SQL)
        yield connection


async def ask(connection: Connection, queries: Iterable[Query]) -> AsyncIterator[Check]:
    """What each of the statements finds, in their order."""
    for query in queries:
        rows = await connection.fetch(query.statement, MOST_SHOWN, *query.arguments)
        yield Check(query.name, [row["id"] for row in rows])


async def judge(name: str, sample: Sequence[T], wrong: Callable[[Sequence[T]], Awaitable[Iterable[str]]]) -> Check:
    """A check that judges a sample anew, a part at a time; `wrong` names the offenders of a part."""
    offenders: list[str] = []
    for start in range(0, len(sample), _AT_ONCE):
        offenders += await wrong(sample[start : start + _AT_ONCE])
        if len(offenders) >= MOST_SHOWN:
            break
    return Check(name, offenders[:MOST_SHOWN])
