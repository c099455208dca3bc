"""The progress of services: committed positions, backlogs, and recovery times after faults."""

import asyncio
import importlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import asyncpg

from shared.messaging.worker import WorkerSpec
from shared.postgres.pool import Pool

_LOOK: Final = 0.1
_SOME_MORE: Final = 0.5
MOST_SECONDS: Final = 90.0
"""Seconds after which a service without progress counts as stuck."""

_POSITIONS_SQL: Final = "SELECT topic, partition, next_offset FROM position"
Partition = tuple[str, int]
Places = dict[Partition, int]


@cache
def spec(service: str) -> WorkerSpec:
    """The specification of a service's worker."""
    settings = importlib.import_module(f"services.{service}.settings").Settings()
    worker_spec: WorkerSpec = importlib.import_module(f"services.{service}.worker").spec(settings)
    return worker_spec


@dataclass(slots=True)
class Progress:
    """Reads positions past the proxy; `acknowledged` are the ends of the shops' topics."""

    pools: Mapping[str, Pool]
    acknowledged: dict[Partition, int]

    def note(self, place: Partition, end: int) -> None:
        """Note the end of a partition after a record from another producer than the publisher."""
        self.acknowledged[place] = max(self.acknowledged.get(place, 0), end)

    async def handled(self, service: str) -> Places | None:
        """The next offset of each partition of a service; None while the database does not answer."""
        try:
            rows = await asyncio.wait_for(self.pools[service].fetch(_POSITIONS_SQL), 3.0)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return None
        return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def left(self, service: str) -> int:
        """Number of shops' records that a service has not handled yet."""
        handled = await self.handled(service) or {}
        topics = spec(service).topics
        ends = dict(self.acknowledged)
        return sum(max(0, end - handled.get(place, 0)) for place, end in ends.items() if place[0] in topics)

    async def gone_on(self, services: Iterable[str], struck_at: float) -> float | None:
        """Seconds from a fault until the services resumed; None when that takes too long.

        A service has resumed when it has handled all records published up to half a second from now. So partitions
        that were idle at the instant of the fault count too.
        """
        await asyncio.sleep(_SOME_MORE)
        ends, waiting = dict(self.acknowledged), set(services)
        while waiting:
            for service in sorted(waiting):
                now = await self.handled(service)
                if now is not None and _is_past(service, now, ends):
                    waiting.discard(service)
            if time.monotonic() - struck_at > MOST_SECONDS:
                return None
            if waiting:
                await asyncio.sleep(_LOOK)
        return time.monotonic() - struck_at


def _is_past(service: str, now: Places, ends: Places) -> bool:
    topics = spec(service).topics
    return all(now.get(place, 0) >= end for place, end in ends.items() if place[0] in topics)
