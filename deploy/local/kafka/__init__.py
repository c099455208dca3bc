"""Real Apache Kafka 4 in one process (KRaft, both roles), downloaded by Maven."""

from deploy.local.kafka.server import ApacheKafka

__all__ = ["ApacheKafka"]
