"""The peers on the worker's topic and tables: their rates, and the worker's speed relative to them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from tests.bench import effects
from tests.bench.cpu import Meter
from tests.bench.figures import Figure, Measured, rate, ratio
from tests.bench.pace import watch
from tests.bench.plan import Plan
from tests.bench.rounds import Results, Side
from tests.support.fleet import Member, running

ONE_BY_ONE: Final = 1_000
"""Number of events for a peer with a transaction per event, which is slow."""
BATCHES: Final = 8_000

_FEWEST: Final = 1_500
"""Minimum number of events for the peer with batches: three batches."""

_TEXTBOOK: Final = "textbook Faust agent"
_FASTSTREAM: Final = "FastStream"
_BATCHES: Final = "aiokafka with batches"

TRANSACTIONS_SQL = "SELECT coalesce(sum(sequence), 0)::bigint FROM account"


def textbook(plan: Plan) -> Side:
    """The side of the Faust agent, as Faust's documentation shows it."""
    return _side(plan, _TEXTBOOK, "textbook")


def sides(plan: Plan) -> list[Side]:
    """The sides of the other peers."""
    return [_side(plan, _FASTSTREAM, "stream_app"), _side(plan, _BATCHES, "batches")]


def _side(plan: Plan, name: str, module: str) -> Side:
    return Side("purchases", partial(_measure, plan, name, module))


def figures(results: Results) -> list[Figure]:
    """The rows of the table."""
    each, many = "a transaction per event", "a transaction per batch, a statement per row"
    return [
        rate(f"peer: {_TEXTBOOK}", results[_TEXTBOOK], "events/s", each),
        ratio(f"ours: 1 worker / {_TEXTBOOK}", results["worker"], results[_TEXTBOOK], 20),
        ratio(f"limit: the same SQL, 1 connection / {_TEXTBOOK}", results["SQL"], results[_TEXTBOOK]),
        rate(f"peer: {_FASTSTREAM}", results[_FASTSTREAM], "events/s", each),
        ratio(f"ours: 1 worker / {_FASTSTREAM}", results["worker"], results[_FASTSTREAM]),
        rate(f"peer: {_BATCHES}", results[_BATCHES], "events/s", many),
        ratio(f"ours: 1 worker / {_BATCHES}", results["worker"], results[_BATCHES]),
    ]


async def _measure(plan: Plan, name: str, module: str) -> Mapping[str, Measured]:
    events = plan.events(BATCHES, _FEWEST) if name == _BATCHES else plan.events(ONE_BY_ONE)
    async with plan.bed.database() as (url, pool):
        arguments = _arguments(plan, module, url)
        async with running(Member(module, module, arguments, {}, plan.bed.folder)) as process:
            meter = Meter(plan.bed, pool, {"peer": [process.pid]})
            measured = await watch(events, lambda: pool.fetchval(TRANSACTIONS_SQL), meter)
        await effects.check_peer(pool, events)
    return {name: measured}


def _arguments(plan: Plan, module: str, url: str) -> tuple[str, ...]:
    given: Sequence[str] = (plan.bed.bootstrap, url)
    if module == "textbook":
        given = (*given, str(plan.bed.folder))
    return (f"tests.bench.peers.{module}", *given)
