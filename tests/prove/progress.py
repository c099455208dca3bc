"""How far services are: positions as they are committed, and how long a service takes to go on after a fault."""

import asyncio
import importlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from shared.messaging.worker import WorkerSpec
from shared.postgres.pool import Pool

_LOOK: Final = 0.1
MOST_SECONDS: Final = 90.0
"""A service that has not gone on by then needs a person."""

_POSITIONS_SQL: Final = "SELECT topic, partition, next_offset FROM position"
Partition = tuple[str, int]
Places = dict[Partition, int]


def spec(service: str) -> WorkerSpec:
    """What a service's worker reads."""
    settings = importlib.import_module(f"services.{service}.settings").Settings()
    found: WorkerSpec = importlib.import_module(f"services.{service}.worker").spec(settings)
    return found


@dataclass(slots=True)
class Progress:
    """Looks at the databases past the proxy; `acknowledged` is how far the topics of shops are."""

    pools: Mapping[str, Pool]
    acknowledged: Mapping[Partition, int]

    async def handled(self, service: str) -> Places | None:
        """The next offset of each partition of a service; None while the database does not answer."""
        try:
            rows = await asyncio.wait_for(self.pools[service].fetch(_POSITIONS_SQL), 3.0)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return None
        return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def left(self, service: str) -> int:
        """How many records of shops a service has to handle."""
        handled = await self.handled(service) or {}
        topics = spec(service).topics
        known = dict(self.acknowledged)
        return sum(max(0, end - handled.get(place, 0)) for place, end in known.items() if place[0] in topics)

    async def mark(self, services: Sequence[str]) -> "Mark":
        """What has to be behind the services, some time after now, for them to have gone on."""
        before = {service: await self.handled(service) or {} for service in services}
        return Mark(time.monotonic(), before, dict(self.acknowledged))

    async def gone_on(self, mark: "Mark") -> float | None:
        """Seconds until every service moved and handled all that was there at the mark; None when it takes too long."""
        waiting = set(mark.before)
        while waiting:
            for service in sorted(waiting):
                now = await self.handled(service)
                if now is not None and mark.is_passed(service, now):
                    waiting.discard(service)
            if time.monotonic() - mark.at > MOST_SECONDS:
                return None
            if waiting:
                await asyncio.sleep(_LOOK)
        return time.monotonic() - mark.at


@dataclass(frozen=True, slots=True)
class Mark:
    """Where services and topics were at an instant."""

    at: float
    before: Mapping[str, Places]
    ends: Places

    def is_passed(self, service: str, now: Places) -> bool:
        """Whether a service has moved since, and has handled all that had been published."""
        topics = spec(service).topics
        caught_up = all(now.get(place, 0) >= end for place, end in self.ends.items() if place[0] in topics)
        return caught_up and now != self.before[service]
