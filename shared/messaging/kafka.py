"""The address of Kafka, and its clients, with the same settings in every process."""

from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from shared.messaging.fetching import Consumer

_ENOUGH: Final = 256 * 1024
"""Bytes of records that end a fetch before its delay is over."""
_LOOK_AGAIN_MS: Final = 50
"""Delay of a fetch without batching: the embedded broker does not see records that arrive while a fetch waits."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A Kafka cluster and the settings of its clients.

    `idempotent` is False only for the embedded broker, which lacks idempotent producers. `linger_ms` is the maximum
    batching delay of a fetch in milliseconds: fewer and larger answers make fewer transactions; with 0 a fetch answers
    as soon as there is a record. `relay_linger_ms` is the same for the relay.
    """

    bootstrap: str
    client_id: str
    idempotent: bool = True
    session_timeout_ms: int = 10_000
    linger_ms: int = 50
    relay_linger_ms: int = 50

    async def cluster_id(self) -> str:
        """The id of the cluster; offsets have a meaning only together with it.

        Raises:
            aiokafka.errors.KafkaError: the broker does not answer.
        """
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, client_id=self.client_id)
        try:
            await admin.start()
            description = await admin.describe_cluster()
        finally:
            await admin.close()
        return str(description.get("cluster_id") or "")

    def consumer(self, group: str) -> Consumer:
        """A consumer without a default position: positions come from PostgreSQL, and a lost one is an error."""
        return Consumer(
            bootstrap_servers=self.bootstrap,
            client_id=self.client_id,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            session_timeout_ms=self.session_timeout_ms,
            heartbeat_interval_ms=self.session_timeout_ms // 5,
            # The embedded broker looks for new records only when a fetch begins, so this is its polling interval too.
            fetch_max_wait_ms=self.linger_ms or _LOOK_AGAIN_MS,
            fetch_min_bytes=_ENOUGH if self.linger_ms else 1,
            retry_backoff_ms=500,
            # A group that forms while a broker comes back may see no partition and assign none: refresh soon.
            metadata_max_age_ms=10_000,
            max_partition_fetch_bytes=2 * 1024 * 1024,
            fetch_max_bytes=16 * 1024 * 1024,
        )

    def producer(self) -> AIOKafkaProducer:
        """A producer whose acknowledgement means that the record is on every in-sync replica."""
        return AIOKafkaProducer(
            bootstrap_servers=self.bootstrap,
            client_id=self.client_id,
            acks="all",
            enable_idempotence=self.idempotent,
            # aiokafka delays the batch of each partition separately: the relay's chunk would leave in two requests,
            # and arrive in two transactions.
            linger_ms=0,
        )
