"""Waits until all published records and everything that follows from them are handled."""

from collections.abc import Sequence

from deploy.local import drain
from deploy.local.readers import Reader, broker_of
from services import SERVICES
from tests.prove import progress
from tests.prove.stage import Stage


async def settle(stage: Stage, seconds: float, services: Sequence[str] = SERVICES) -> int:
    """Wait until services have nothing left to do; returns the number of rounds of markers.

    Raises:
        DrainTimeoutError: something is left after `seconds`.
    """
    broker = broker_of(stage.env)
    cluster = await broker.cluster_id()
    readers = [Reader.of(progress.spec(service), cluster, stage.pools[service]) for service in services]
    return await drain.drain_readers(broker, readers, seconds)
