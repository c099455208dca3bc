"""Waits until all published records and everything that follows from them are handled."""

from collections.abc import Sequence

from deploy.local import drain
from deploy.local.drain import DrainTimeoutError
from deploy.local.readers import Reader, broker_of
from services import SERVICES
from shared.postgres.pool import Pool
from tests.prove import progress, tiered
from tests.prove.patience import until
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


async def applied(pool: Pool, seconds: float) -> None:
    """Wait until all published tier programs are applied to everybody.

    Raises:
        DrainTimeoutError: one is not within `seconds`.
    """

    async def is_finished() -> bool:
        return await tiered.unfinished(pool) == 0

    if not await until(is_finished, seconds):
        raise DrainTimeoutError("a tier program is not applied to everybody")
