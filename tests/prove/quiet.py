"""Waiting until everything that was published is handled, and everything that followed from it too."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from deploy.local import drain
from deploy.local.readers import Reader, broker_of
from services import SERVICES
from tests.prove import progress
from tests.prove.stage import Stage

_LOOK: Final = 0.2


class NotQuietError(Exception):
    """Something is left after the time that it may take; the message says what."""


async def settle(stage: Stage, seconds: float, services: Sequence[str] = SERVICES) -> int:
    """Wait for it; answers how many rounds of markers it took.

    Raises:
        NotQuietError: see there.
    """
    deadline = time.monotonic() + seconds
    broker = broker_of(stage.env)
    cluster = await broker.cluster_id()
    readers = [_reader(stage, cluster, service) for service in services]
    producer = broker.producer()
    await producer.start()
    try:
        before: dict[tuple[str, int], int] = {}
        rounds = 0
        while True:
            rounds += 1
            markers = await drain.mark(producer, sorted({topic for one in readers for topic in one.topics}))
            while left := await drain.behind(readers, markers) + await drain.unpublished(readers):
                if time.monotonic() > deadline:
                    raise NotQuietError("; ".join(map(str, left)))
                await asyncio.sleep(_LOOK)
            if {place: offset + 1 for place, offset in before.items()} == markers:
                return rounds
            before = markers
    finally:
        await producer.stop()


def _reader(stage: Stage, cluster: str, service: str) -> Reader:
    return Reader.of(progress.spec(service), cluster, stage.pools[service])
