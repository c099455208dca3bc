"""Faust as the host of a worker: its agents run the lanes, its timers the jobs.

Faust's own consumer, producer and web server stay off: they acknowledge what failed (see docs/architecture.md).
"""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, cast

import faust
import structlog
from faust.app.base import BootStrategy

from shared.messaging.batch import Batch, Offer

GARBAGE_THRESHOLD: Final = 200_000
"""Batches live as long as their transaction: a rare collection of the youngest generation spares walking them often."""

_STOP_SECONDS: Final = 8.0

_log = structlog.stdlib.get_logger(__name__)


class Host(Protocol):
    """Runs the lanes and timers of a worker."""

    def lane(self, name: str, apply: Callable[[Batch], Awaitable[None]]) -> Offer:
        """Add a lane that applies its batches one after another, and holds one more."""
        ...

    def timer(self, name: str, seconds: float, run: Callable[[], Awaitable[None]]) -> None:
        """Add a function that runs every `seconds`, first after that time."""
        ...

    async def start(self) -> None:
        """Start the lanes and timers."""
        ...

    async def stop(self) -> None:
        """End them, within a bounded time."""
        ...


class _Boot(BootStrategy):
    """Faust without its Kafka and its web server."""

    enable_kafka = False
    enable_web = False


class _App(faust.App):
    """A Faust app that keeps no files: it has no tables, and its working folder may be read-only."""

    logger = logging.getLogger("faust.app")  # the default is the logger of this module

    def _create_directories(self) -> None:
        pass


class FaustHost:
    """A `Host` on a Faust app."""

    def __init__(self, service: str) -> None:
        self._app = _App(f"wafa-{service}", store="memory://", web_enabled=False, autodiscover=False)
        self._app.boot_strategy = _Boot(self._app, enable_web=False)

    def lane(self, name: str, apply: Callable[[Batch], Awaitable[None]]) -> Offer:
        """See `Host`."""
        channel: Any = self._app.channel(maxsize=1)

        async def consume(stream: Any) -> None:  # noqa: ANN401 Faust's streams have no types
            async for batch in stream:
                await apply(batch)

        self._app.agent(channel, name=name, concurrency=1)(consume)
        return channel.put

    def timer(self, name: str, seconds: float, run: Callable[[], Awaitable[None]]) -> None:
        """See `Host`."""
        self._app.timer(interval=seconds, on_leader=False, name=name)(run)

    async def start(self) -> None:
        """See `Host`."""
        # Faust's consumer would do this; otherwise agents wait for ever.
        self._app.flow_control.resume()
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_THRESHOLD)
        await self._app.start()

    async def stop(self) -> None:
        """See `Host`."""
        try:
            await asyncio.wait_for(cast("Awaitable[None]", self._app.stop()), timeout=_STOP_SECONDS)
        except TimeoutError:
            _log.warning("faust_stopped_late", seconds=_STOP_SECONDS)
