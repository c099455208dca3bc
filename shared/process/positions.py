"""`positions list|set`: the position of each partition, and an operator's decision to change it."""

import argparse
from typing import Any

from pydantic_core import to_json

from shared.contracts.values import format_instant
from shared.messaging import positions
from shared.messaging.positions import Group
from shared.messaging.worker import WorkerSpec
from shared.postgres.pool import open_pool
from shared.process.settings import ServiceSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="list all stored positions")
    listing.add_argument("--json", action="store_true", help="one JSON object per line")
    put = actions.add_parser("set", help="set the next offset of a partition (stop the workers first)")
    put.add_argument("topic")
    put.add_argument("partition", type=int)
    put.add_argument("offset", type=int)
    put.add_argument("--cluster-id", help="the id of the cluster (default: the one that answers)")


async def run(arguments: argparse.Namespace, settings: ServiceSettings, spec: WorkerSpec) -> int:
    """Run the command; returns the exit code.

    Raises:
        ValueError: the service does not read the topic, or the partition or the offset is below 0.
    """
    application = f"wafa-{settings.service}-positions"
    async with await open_pool(settings.database_url, application=application, max_size=1) as pool:
        if arguments.action == "list":
            for row in await positions.every(pool):
                position: dict[str, Any] = dict(row) | {"updated_at": format_instant(row["updated_at"])}
                _print(to_json(position).decode() if arguments.json else "  ".join(map(str, position.values())))
            return 0
        if arguments.offset < 0 or arguments.partition < 0:
            raise ValueError("partition and offset have to be 0 or more")
        if arguments.topic not in spec.topics:
            raise ValueError(f"{settings.service} reads {', '.join(spec.topics)}, not {arguments.topic}")
        cluster_id = arguments.cluster_id or await settings.broker().cluster_id()
        async with pool.acquire() as connection:
            partition = (arguments.topic, arguments.partition)
            await positions.put(connection, Group(cluster_id, spec.group), partition, arguments.offset)
        _print(f"{arguments.topic} {arguments.partition}: {spec.group} goes on at {arguments.offset}")
        return 0


def _print(line: str) -> None:
    print(line)  # noqa: T201 a command line prints
