"""Creates Wafa's topics on a Kafka cluster: `python -m deploy.topics create --bootstrap HOST:PORT`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from shared.contracts import topics

PARTITIONS = 4
MOST_BYTES = 1024 * 1024
"""Maximum size of a batch as sent, compressed or not, and of a record (`record_fields.MOST_BYTES`)."""
ALREADY_EXISTS = 36  # Kafka's error code
INVALID_CONFIG = 40  # Kafka's error code


class TopicError(Exception):
    """A topic could not be created. The message is one line for the user."""


async def create(bootstrap: str, partitions: int = PARTITIONS, replication: int = 1) -> list[str]:
    """Create the missing topics, and return their names.

    If the broker has these settings, it stamps records with the time of arrival and refuses batches over `MOST_BYTES`.

    Raises:
        TopicError: the cluster refused.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        configs = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(MOST_BYTES)}
        errors = await _create(admin, topics.ALL, (partitions, replication), configs)
        plain = [name for name, (code, _) in errors.items() if code == INVALID_CONFIG]
        if plain:
            errors |= await _create(admin, plain, (partitions, replication), {})
    finally:
        await admin.close()
    for name, (code, text) in errors.items():
        if code not in (0, ALREADY_EXISTS):
            raise TopicError(f"{name}: {text or f'Kafka error {code}'}")
    return [name for name, (code, _) in errors.items() if code == 0]


async def _create(
    admin: AIOKafkaAdminClient, names: Sequence[str], size: tuple[int, int], configs: dict[str, str]
) -> dict[str, tuple[int, str | None]]:
    """Create topics of (partitions, replication factor); returns (error code, error text) by name."""
    wanted = [NewTopic(name, *size, topic_configs=configs) for name in names]
    response = await admin.create_topics(wanted)
    return {topic: (code, text) for topic, code, text in response.topic_errors}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.topics", description="Wafa's topics on a Kafka cluster.")
    commands = parser.add_subparsers(dest="command", required=True)
    creator = commands.add_parser("create", help="create the missing topics")
    default = os.environ.get("WAFA_KAFKA_BOOTSTRAP", "localhost:9092")
    creator.add_argument("--bootstrap", default=default, help="default: WAFA_KAFKA_BOOTSTRAP")
    creator.add_argument("--partitions", type=int, default=PARTITIONS)
    creator.add_argument("--replication", type=int, default=1, help="replication factor (three in production)")
    options = parser.parse_args(arguments)
    try:
        created = asyncio.run(create(options.bootstrap, options.partitions, options.replication))
    except (TopicError, KafkaError) as error:
        print(f"deploy.topics: {error}", file=sys.stderr)
        return 1
    print(f"{len(created)} topics created, {len(topics.ALL) - len(created)} existed already")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
