"""Clients of the broker, set up alike everywhere."""

from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from shared.messaging.fetching import Consumer

_ENOUGH: Final = 256 * 1024
"""Bytes of records that are worth an answer at once."""
_LOOK_AGAIN_MS: Final = 50
"""For a fetch that does not linger; the embedded broker finds nothing that comes while one waits."""


@dataclass(frozen=True, slots=True)
class Broker:
    """How to reach Kafka, how to read from it, and how often to write.

    `idempotent` is False only where the broker cannot (the embedded one). Where few records are there, it waits up to
    `linger_ms` milliseconds for more before it answers: what is paid for each answer, and for the transaction and the
    requests that follow, is shared by more records. With 0 it answers as soon as there is one. While events to be
    published are few, the relay waits for more up to `relay_linger_ms`.
    """

    bootstrap: str
    client_id: str
    idempotent: bool = True
    session_timeout_ms: int = 10_000
    linger_ms: int = 50
    relay_linger_ms: int = 50


async def cluster_id(broker: Broker) -> str:
    """The id of the cluster, which offsets belong to.

    Raises:
        aiokafka.errors.KafkaError: the broker does not answer.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap, client_id=broker.client_id)
    try:
        await admin.start()
        description = await admin.describe_cluster()
    finally:
        await admin.close()
    return str(description.get("cluster_id") or "")


def consumer(broker: Broker, group: str) -> Consumer:
    """A consumer that starts nowhere by itself: positions come from PostgreSQL, and a lost one is an error."""
    return Consumer(
        bootstrap_servers=broker.bootstrap,
        client_id=broker.client_id,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        session_timeout_ms=broker.session_timeout_ms,
        heartbeat_interval_ms=broker.session_timeout_ms // 5,
        # The embedded broker looks for new records only when a fetch begins, so this is its pace too.
        fetch_max_wait_ms=broker.linger_ms or _LOOK_AGAIN_MS,
        fetch_min_bytes=_ENOUGH if broker.linger_ms else 1,
        retry_backoff_ms=500,
        # A group that forms while a broker comes back may know no partition and assign none: it looks again soon.
        metadata_max_age_ms=10_000,
        max_partition_fetch_bytes=2 * 1024 * 1024,
        fetch_max_bytes=16 * 1024 * 1024,
    )


def producer(broker: Broker) -> AIOKafkaProducer:
    """A producer whose acknowledgement means that the record is on every in-sync replica."""
    return AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap,
        client_id=broker.client_id,
        acks="all",
        enable_idempotence=broker.idempotent,
        # aiokafka lets each partition's batch linger by itself: a chunk that the relay sends in one go would leave in
        # two requests, and arrive in two transactions.
        linger_ms=0,
    )
