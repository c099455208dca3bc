"""Planted bugs in the delivery, in referrals and in the jobs of tiers: each violates an invariant within 100 seeds.

The search begins near a seed that finds the bug, where that is known, and goes through all of them if it must.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from services.points.store import accounts
from services.referrals.rules.program.compiled import Program
from services.tiers.handlers import events
from services.tiers.rules.judging import ending
from services.tiers.store import publications
from shared.contracts.envelope import Event
from shared.contracts.reasons import Reason
from shared.messaging import dead_letters, inbox, inflow, positions, relay
from shared.messaging.application import Application
from shared.messaging.batch import Batch, Malformation
from shared.messaging.culprits import Culprits, Search
from shared.messaging.delivery import Delivery
from shared.messaging.inbox import Claimed
from shared.messaging.inflow import Inflow
from shared.messaging.record_batches import Unreadable
from shared.postgres.pool import Connection
from tests.prove.plants.tiers import hasty, only_new
from tests.simulation.databases import Databases
from tests.simulation.seeds import play

ENOUGH = 100


async def position_first(self: Delivery, batch: Batch, *, careful: bool, culprits: Culprits) -> None:
    async with self.pool.acquire() as connection, connection.transaction():
        await positions.advance(connection, self.group, batch.spans)
    async with self.pool.acquire() as connection, connection.transaction():
        application = Application(self.handle, self.clock(), set(), careful)
        refusals = await application.apply(
            connection, [event for event in batch.events if event.customer_id not in culprits]
        )
        refusals += [application.refuse(event, "") for event in batch.events if event.customer_id in culprits]
        refused = [*batch.malformed, *map(dead_letters.from_refusal, refusals)]
        await dead_letters.write(connection, refused)


async def everything_is_new(_: Connection, events: Sequence[Event]) -> Claimed:
    return Claimed(list(events), [], 0)


def rows_of(rows: Iterable[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: row["id"])


async def send(producer: Any, rows: Iterable[Any]) -> list[Any]:
    return [await producer.send(row["topic"], row["value"], key=row["key"], headers=relay._HEADERS) for row in rows]


LAST: WeakKeyDictionary[Any, dict[str, int]] = WeakKeyDictionary()
"""The last published id by world and database, from which the next relay continues."""
AFTER_SQL = "SELECT id, topic, key, value FROM outbox WHERE id > $1 ORDER BY id LIMIT $2"
PUBLISHED_SQL = "DELETE FROM outbox WHERE id = ANY($1::bigint[])"


async def after_the_last(connection: Connection, producer: Any, limit: int = 2_000) -> int:
    last = LAST.setdefault(producer._broker, {})
    async with connection.transaction():
        database = await connection.fetchval("SELECT current_database()")
        rows = rows_of(await connection.fetch(AFTER_SQL, last.get(database, 0), limit))
        await asyncio.gather(*await send(producer, rows))
        await connection.execute(PUBLISHED_SQL, [row["id"] for row in rows])
    if rows:
        last[database] = rows[-1]["id"]
    return len(rows)


async def commit_first(connection: Connection, producer: Any, limit: int = 2_000) -> int:
    async with connection.transaction():
        rows = rows_of(await connection.fetch(relay.CLAIM_SQL, limit))
    await asyncio.gather(*await send(producer, rows))
    return len(rows)


async def ignore_failures(connection: Connection, producer: Any, limit: int = 2_000) -> int:
    async with connection.transaction():
        rows = rows_of(await connection.fetch(relay.CLAIM_SQL, limit))
        await asyncio.gather(*await send(producer, rows), return_exceptions=True)
    return len(rows)


ANYWHERE_SQL = positions.BEGIN_SQL.replace(
    "DO NOTHING", "(cluster_id, consumer_group, topic, partition) DO UPDATE SET next_offset = excluded.next_offset"
)


def lanes_read_at_once(reader: Inflow, *given: Any, initialize: Any = Inflow.__init__) -> None:
    initialize(reader, *given)
    reader._reading = nullcontext()  # type: ignore[assignment]


async def nobody(_: Search, _events: Sequence[Event]) -> Culprits:
    return {}


async def everybody(_: Search, events: Sequence[Event]) -> Culprits:
    return {event.customer_id: "too slow" for event in events}


async def without_letters(
    connection: Connection, refused: Sequence[Malformation], write: Any = dead_letters.write
) -> None:
    await write(connection, [item for item in refused if item.reason is not Reason.HANDLER_REFUSED])


def behind_the_first(fetched: Any) -> int:
    return (fetched.record.offset if isinstance(fetched, Unreadable) else fetched.offset) + 1


async def no_customers(*_: object) -> list[str]:
    return []


class Nothing:
    """A class without instances."""


Plant = tuple[Any, str, Any]
PLANTS: dict[str, list[Plant]] = {
    "the position is committed before the effect": [(Delivery, "_transact", position_first)],
    "a position moves without compare-and-set": [
        (positions, "ADVANCE_SQL", positions.ADVANCE_SQL.replace("AND next_offset = span.start_offset", "")),
        (positions, "BEGIN_SQL", ANYWHERE_SQL),
    ],
    "handled events are handled again": [(inbox, "claim", everything_is_new)],
    "the outbox is read after the last id": [(relay, "publish_chunk", after_the_last)],
    "the relay commits before the acknowledgements": [(relay, "publish_chunk", commit_first)],
    "failed acknowledgements are ignored": [(relay, "publish_chunk", ignore_failures)],
    "an account is read without its lock": [
        (accounts, "LOCK_SQL", accounts.LOCK_SQL.replace("FOR UPDATE", "")),
        (accounts, "LOCK_ONE_SQL", accounts.LOCK_ONE_SQL.replace("FOR UPDATE", "")),
    ],
    "culprits are never searched": [(Search, "find", nobody)],
    "the neighbors of a culprit are refused with it": [(Search, "find", everybody)],
    "refusals of the handler are lost": [(dead_letters, "write", without_letters)],
    "a position is sought while another lane reads": [(Inflow, "__init__", lanes_read_at_once)],
    "the position moves into unreadable records": [(inflow, "end_of", behind_the_first)],
    "unreadable records are dropped": [(inflow, "Unreadable", Nothing)],
    "a late event is not judged through a version": [(events, "judge", only_new(events.judge))],
    "tiers fall without their grace": [(ending, "_end_period", hasty(ending._end_period))],
    "a referral is approved without its hold": [(Program, "due_at", lambda _, ordered_at: ordered_at)],
    "a version is not applied to whom no event judges": [
        (publications, "judged_by", no_customers),
        (publications, "left_over", no_customers),
    ],
}

FIRST = {
    "a referral is approved without its hold": 37,
    "the outbox is read after the last id": 10,
    "the position moves into unreadable records": 49,
}
"""Where the search begins for bugs that few seeds find, to be quick; 0 for others."""

QUICK = {"handled events are handled again", "refusals of the handler are lost"}
"""Bugs that are also planted in `make test`."""


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.deep) for name in PLANTS]
)
def test_a_planted_bug_is_found(simulated: Databases, monkeypatch: pytest.MonkeyPatch, name: str):
    for place, function, wrong in PLANTS[name]:
        assert getattr(place, function) != wrong, "a plant changes something"
        monkeypatch.setattr(place, function, wrong)
    first = FIRST.get(name, 0)
    assert any(play(seed % ENOUGH, simulated).violations for seed in range(first, first + ENOUGH))
