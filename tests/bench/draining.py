"""The worker's rates: a full topic of purchases, against the SQL alone, the textbook, and a mixed stream."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from statistics import fmean
from typing import Final

from deploy.sample.grocer import Sample
from shared.messaging.relay import _LEADER_LOCK
from shared.postgres.pool import Connection, Pool
from tests.bench import stream, tape
from tests.bench.figures import Figure, ratio
from tests.bench.pace import watch
from tests.bench.processes import points_worker, running
from tests.bench.tape import Take
from tests.bench.testbed import Testbed

EVENTS: Final = 40_000
TEXTBOOK_EVENTS: Final = 1_500

POSITIONS_SQL = "SELECT topic, partition, next_offset FROM position"

TRANSACTIONS_SQL = "SELECT coalesce(sum(sequence), 0)::bigint FROM account"

COUNTS_SQL = """
SELECT (SELECT count(*) FROM inbox) AS inbox, (SELECT count(*) FROM purchase) AS purchase,
       (SELECT count(*) FROM outbox) AS outbox, (SELECT count(*) FROM transaction WHERE points <> 0) AS moved,
       (SELECT count(*) FROM dead_letter) AS dead
"""

LEAD_SQL = "SELECT pg_advisory_lock($1)"


class WrongEffectError(Exception):
    """What was measured did not do its work."""


async def measure(bed: Testbed, year: Sample, rounds: int, say: Callable[[str], None]) -> list[Figure]:
    """All sides in every round, in an order that turns around from round to round."""
    rates: dict[str, list[float]] = {}
    say(f"recording the statements of {EVENTS:,} purchases")
    await bed.fill(stream.purchases(year, EVENTS))
    async with bed.database() as (_, pool):
        takes = await tape.record(bed, pool, EVENTS)
    sides: list[tuple[str, Callable[[], Awaitable[float]]]] = [
        ("worker", lambda: _drain(bed, EVENTS)),
        ("textbook", lambda: _textbook(bed)),
        ("relaying", lambda: _drain(bed, EVENTS, relaying=True)),
    ]
    for number in range(rounds):
        for name, side in sides if number % 2 == 0 else reversed(sides):
            # The SQL right before and right after the worker: the machine's speed drifts within a round.
            around = [await _play(bed, takes)] if name == "worker" else []
            rates.setdefault(name, []).append(await side())
            say(f"round {number + 1}: {name} {rates[name][-1]:,.0f} events/s")
            if around:
                around.append(await _play(bed, takes))
                rates.setdefault("SQL", []).append(fmean(around))
                say(f"round {number + 1}: SQL {rates['SQL'][-1]:,.0f} events/s")
        await bed.fill(stream.mixed(year, EVENTS))
        rates.setdefault("mixed", []).append(await _drain(bed, EVENTS))
        say(f"round {number + 1}: mixed {rates['mixed'][-1]:,.0f} events/s")
        await bed.fill(stream.purchases(year, EVENTS))
    return _figures(rates)


def _figures(rates: Mapping[str, Sequence[float]]) -> list[Figure]:
    return [
        ratio("worker / the same SQL from memory", rates["worker"], rates["SQL"], 0.5),
        ratio("worker / textbook Faust agent", rates["worker"], rates["textbook"], 15),
        ratio("mixed stream / purchases alone", rates["mixed"], rates["worker"], 0.7),
        Figure("worker, purchases", rates["worker"], "events/s"),
        Figure("worker that also relays", rates["relaying"], "events/s"),
        Figure("worker, mixed stream", rates["mixed"], "events/s"),
        Figure("the same SQL from memory", rates["SQL"], "events/s"),
        Figure("textbook Faust agent", rates["textbook"], "events/s"),
    ]


async def _play(bed: Testbed, takes: list[Take]) -> float:
    async with bed.database() as (_, pool):
        rate = await tape.play(takes, pool)
        await _check(pool, EVENTS)
        return rate


async def _drain(bed: Testbed, total: int, *, relaying: bool = False) -> float:
    """Start a worker on a new database and wait until it has handled everything."""
    async with bed.database() as (url, pool), AsyncExitStack() as stack:
        if not relaying:
            # Another relay leads, as where several workers run: outbox rows are committed and stay.
            leader: Connection = await stack.enter_async_context(pool.acquire())
            await leader.fetchval(LEAD_SQL, _LEADER_LOCK)
        await stack.enter_async_context(points_worker(bed, url))
        pace = await watch(total, lambda: handled(bed, pool))
        await _check(pool, total, relaying=relaying)
        return pace.rate


async def handled(bed: Testbed, pool: Pool) -> int:
    """How many records of the fed topics a worker is through."""
    rows = await pool.fetch(POSITIONS_SQL)
    ends = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
    return sum(end - bed.begins[tp] for tp, end in ends.items() if tp in bed.begins)


async def _textbook(bed: Testbed) -> float:
    async with bed.database() as (url, pool):
        arguments = ("tests.bench.textbook", bed.bootstrap, url, str(bed.folder))
        async with running("textbook", arguments, {}, bed.folder):
            return (await watch(TEXTBOOK_EVENTS, lambda: pool.fetchval(TRANSACTIONS_SQL))).rate


async def _check(pool: Pool, total: int, *, relaying: bool = False) -> None:
    """Every event left its mark, and every transaction that moved points its outbox row."""
    found = await pool.fetchrow(COUNTS_SQL)
    assert found is not None, "it has a row"
    if found["inbox"] != total or found["dead"] or (not relaying and found["outbox"] != found["moved"]):
        raise WrongEffectError(f"of {total} events came: {dict(found)}")
