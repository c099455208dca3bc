"""Totals of the committed rows of the four databases."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg

from deploy.sample.settings import setting
from services import SERVICES


@dataclass(frozen=True, slots=True)
class Points:
    """Totals of the accounts: points `earned` so far (net of reversals), `available` now, and owed (`debt`)."""

    customers: int
    orders: int
    earned: int
    available: int
    debt: int


@dataclass(frozen=True, slots=True)
class Books:
    """Totals of all databases. They are read one by one: consistent only while the system is idle."""

    points: Points
    tiers: Mapping[str, int]
    referrals: Mapping[str, int]
    messages: Mapping[tuple[str, str], int]
    dead_letters: int


async def read(env: Mapping[str, str]) -> Books:
    """Read the current totals; `env` has WAFA_DATABASE_URL_<SERVICE>.

    Raises:
        SettingMissingError: an address is missing.
        OSError, asyncpg.PostgresError: a database does not answer.
    """
    async with AsyncExitStack() as stack:
        databases = {
            service: await stack.enter_async_context(_connected(setting(env, f"WAFA_DATABASE_URL_{service.upper()}")))
            for service in SERVICES
        }
        return Books(
            points=await _points(databases["points"]),
            tiers=await _tiers(databases["tiers"]),
            referrals=await _referrals(databases["referrals"]),
            messages=await _messages(databases["notifications"]),
            dead_letters=sum([await _dead_letters(database) for database in databases.values()]),
        )


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


POINTS_SQL: Final = """
SELECT count(*) AS customers, coalesce(sum(orders), 0)::bigint AS orders, coalesce(sum(earned), 0)::bigint AS earned,
       coalesce(sum(available), 0)::bigint AS available, coalesce(sum(debt), 0)::bigint AS debt
FROM account
"""


async def _points(connection: asyncpg.Connection) -> Points:
    return Points(**dict(await connection.fetchrow(POINTS_SQL)))


# A customer without an entry in the timeline is in the program's first tier.
TIERS_SQL: Final = "SELECT coalesce(tier, 'member'), count(*) FROM customer GROUP BY 1"


async def _tiers(connection: asyncpg.Connection) -> dict[str, int]:
    return dict(await connection.fetch(TIERS_SQL))


REFERRALS_SQL: Final = "SELECT state, count(*) FROM referral GROUP BY state"


async def _referrals(connection: asyncpg.Connection) -> dict[str, int]:
    return dict(await connection.fetch(REFERRALS_SQL))


MESSAGES_SQL: Final = "SELECT channel, state, count(*) FROM message GROUP BY channel, state"


async def _messages(connection: asyncpg.Connection) -> dict[tuple[str, str], int]:
    return {(channel, state): count for channel, state, count in await connection.fetch(MESSAGES_SQL)}


DEAD_LETTERS_SQL: Final = "SELECT count(*) FROM dead_letter"


async def _dead_letters(connection: asyncpg.Connection) -> int:
    return await connection.fetchval(DEAD_LETTERS_SQL)
