"""Shows the processes of a stack, and how many records each service has to handle."""

import asyncio
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from deploy.local import environment, state
from deploy.local.layout import Layout
from deploy.local.program import StartError
from deploy.local.readers import UNREACHABLE, Partition, Reader, broker_of, open_readers
from deploy.local.state import StackState
from shared.messaging.fetching import Consumer, end_of

READ_SECONDS: Final = 2.0
QUIET_MS: Final = 300

EXACT: Final = "exact: the committed position, and the log end that the broker reports"
READ: Final = "exact unless marked ≥: the log end was read from the position on, for at most 2 s"


@dataclass(frozen=True)
class Lag:
    """Number of records of a topic that a service has not handled. If not `exact`, there may be more."""

    service: str
    topic: str
    records: int
    exact: bool


@dataclass(frozen=True)
class Backlog:
    """The remaining work: records to handle, and events to publish by service. `note` says what is exact."""

    lag: Sequence[Lag]
    outbox: Mapping[str, int]
    note: str


async def backlog(env: Mapping[str, str]) -> Backlog:
    """Measure the backlog of a running stack.

    Raises:
        StartError: the broker or a database does not answer.
    """
    broker = broker_of(env)
    trusted = broker.idempotent  # a broker with idempotent producers also reports log ends correctly
    try:
        async with open_readers(broker) as readers:
            stored = {reader.service: await reader.positions() for reader in readers}
            places = await _places(broker.bootstrap, readers)
            furthest = {place: max(positions.get(place, 0) for positions in stored.values()) for place in places}
            ends, exact = await _ends(broker.bootstrap, furthest, trusted=trusted)
            lag = [
                Lag(
                    reader.service,
                    topic,
                    sum(end - stored[reader.service].get(place, 0) for place, end in ends.items() if place[0] == topic),
                    exact=exact,
                )
                for reader in readers
                for topic in reader.topics
            ]
            outbox = {reader.service: await reader.outbox() for reader in readers}
    except (*UNREACHABLE, KafkaError) as error:
        raise StartError(f"the stack does not answer: {error or type(error).__name__}") from error
    return Backlog(lag, outbox, EXACT if trusted else READ)


async def _places(bootstrap: str, readers: Sequence[Reader]) -> list[Partition]:
    """Every partition that a service reads."""
    topics = sorted({topic for reader in readers for topic in reader.topics})
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        described: list[dict[str, Any]] = await admin.describe_topics(topics)
    finally:
        await admin.close()
    return [(topic["topic"], partition["partition"]) for topic in described for partition in topic["partitions"]]


async def _ends(bootstrap: str, starts: Mapping[Partition, int], *, trusted: bool) -> tuple[dict[Partition, int], bool]:
    """The log ends, as the broker reports them or read from `starts` on, and whether they are exact."""
    consumer = Consumer(bootstrap_servers=bootstrap, isolation_level="read_committed")
    await consumer.start()
    try:
        places = {TopicPartition(*place): place for place in starts}
        if trusted:
            offsets = await consumer.end_offsets(list(places))
            return {places[partition]: end for partition, end in offsets.items()}, True
        consumer.assign(list(places))
        for partition, place in places.items():
            consumer.seek(partition, starts[place])
        ends = dict(starts)
        deadline = time.monotonic() + READ_SECONDS
        while time.monotonic() < deadline:
            batches = await consumer.getmany(timeout_ms=QUIET_MS)
            if not batches:
                return ends, True
            ends |= {places[partition]: end_of(records[-1]) for partition, records in batches.items()}
        return ends, False
    finally:
        await consumer.stop()


def status(layout: Layout, *, as_json: bool) -> int:
    """Print the state; returns 0 if the stack is ready, otherwise 3 (as `systemctl status` does)."""
    running = state.running_pid(layout) is not None
    current = state.read(layout) if running else None
    ready = current is not None and current.phase is state.Phase.READY
    env = environment.read(layout) if ready else {}
    left = asyncio.run(backlog(env)) if ready else None
    if as_json:
        print(json.dumps(_document(current, env, left), indent=2))
    elif current is None:
        print("The stack is not running.")
    else:
        _show(current, env, left)
    return 0 if ready else 3


def _document(current: StackState | None, env: Mapping[str, str], left: Backlog | None) -> dict[str, Any]:
    return {
        "running": current is not None,
        "phase": current.phase if current else "stopped",
        "pid": current.pid if current else None,
        "url": env.get("WAFA_URL"),
        "mail_url": env.get("WAFA_MAIL_URL"),
        "kafka_bootstrap": env.get("WAFA_KAFKA_BOOTSTRAP"),
        "processes": [dataclasses.asdict(member) for member in current.members] if current else [],
        **(dataclasses.asdict(left) if left else {"lag": [], "outbox": {}, "note": ""}),
    }


def _show(current: StackState, env: Mapping[str, str], left: Backlog | None) -> None:
    console = Console()
    console.print(
        f"{current.phase}: process {current.pid}, {env.get('WAFA_URL', '')} {current.message}", highlight=False
    )
    table = Table("program", "phase", "process", "restarts", "", box=None)
    for member in current.members:
        table.add_row(member.name, member.phase, str(member.pid or ""), str(member.restarts), member.message)
    console.print(table)
    if left is None:
        return
    lags = Table("service", "topic", "to handle", box=None)
    for lag in left.lag:
        lags.add_row(lag.service, lag.topic, f"{'' if lag.exact else '≥ '}{lag.records:,}")
    console.print(lags)
    waiting = ", ".join(f"{service} {count:,}" for service, count in left.outbox.items())
    console.print(f"to publish: {waiting} (exact)\n{left.note}", highlight=False)
