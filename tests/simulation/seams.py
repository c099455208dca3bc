"""Patches of the product while a seed is played, where no argument exists: ids, randomness, logs, delays."""

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import asyncpg
import structlog
import uuid_utils

from services.tiers.handlers import applying
from shared.messaging import culprits, inflow, relay
from shared.postgres import pool
from tests.simulation.loop import Loop, running
from tests.simulation.trace import Listener
from tests.simulation.watch import Watch

if TYPE_CHECKING:
    from tests.simulation.world import World


@contextmanager
def seams(world: "World") -> Iterator[None]:
    """Derive ids and randomness from the seed, log into the trace, and shorten delays."""
    numbers = itertools.count(1)

    def uuid7() -> uuid_utils.UUID:
        moment = int(world.broker.now().timestamp() * 1000)
        return uuid_utils.UUID(int=(moment << 80) | (7 << 76) | (2 << 62) | next(numbers))

    processors = structlog.get_config()["processors"]
    before = list(processors)
    state = random.getstate()
    listener = Listener(world.trace, world.loop.time, running)
    processors[:] = [listener]
    logging.disable()
    random.seed(world.seed)
    try:
        with (
            patch.object(uuid_utils, "uuid7", uuid7),
            # Timeouts of the real server must not end statements when this process is slow.
            patch.object(pool, "STATEMENT_TIMEOUT", timedelta(0)),
            patch.object(culprits, "_MILLISECONDS", 0),
            patch.object(asyncpg.Connection, "_introspect_types", _types_of(world.watches)),
            # Idle polls would take most of the time.
            patch.object(relay, "_IDLE", world.chance.choice((0.1, 1.0))),
            patch.object(inflow, "_POLL_MS", 1250),
            # Longer than a process can be paused within a transaction, as in production.
            patch.object(applying, "SETTLED", timedelta(seconds=20)),
        ):
            yield
    finally:
        random.setstate(state)
        processors[:] = before
        poisoned = f"{world.poison.service}-" if world.poison is not None else "\0"
        world.violations += [f"a handler failed: {item}" for item in listener.wrong if not item.startswith(poisoned)]
        logging.disable(logging.NOTSET)


_types: dict[frozenset[int], Any] = {}


def _types_of(watches: Mapping[str, Watch]) -> Callable[..., Any]:
    """Cache the driver's introspection of types, which takes a tenth of the time."""

    original = asyncpg.Connection._introspect_types

    async def introspect(connection: Any, oids: Iterable[int], *given: Any) -> tuple[Any, Any]:
        if not isinstance(asyncio.get_running_loop(), Loop):
            return await original(connection, oids, *given)
        wanted = frozenset(oids)
        if wanted not in _types:
            _types[wanted] = next(iter(watches.values())).rows(connection._intro_query, sorted(wanted))
        return _types[wanted], SimpleNamespace(name="known")

    return introspect
