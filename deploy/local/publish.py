"""Publishes lines of JSON to a topic: `python -m deploy.local publish TOPIC`, without a Kafka client."""

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import IO, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from deploy.local.program import StartError
from deploy.local.readers import broker_of
from shared.contracts import topics
from shared.contracts.envelope import STRUCTURED, Record, decode
from shared.contracts.reasons import Malformed
from shared.contracts.registry import TYPES

TOPICS: Final = topics.SHOP
"""The topics that backends publish to; Wafa publishes the others."""

LONGEST_LINE: Final = 1_000_000
"""Bytes; Kafka's own limit of a record is a little higher."""

_HEADERS: Final = ((b"content-type", STRUCTURED),)
_IN_FLIGHT: Final = 500


class RefusedError(Exception):
    """A line is not an event of the contract. The message names the problem and its place in the event."""


def publish(env: Mapping[str, str], topic: str, lines: IO[bytes]) -> int:
    """Publish the events in the lines, in structured mode, keyed by customer; returns the exit code.

    A line that is not an event is not sent but reported on stderr; the others are sent. Publishing the same lines again
    is safe: a repeat of an event has no effect.

    Raises:
        StartError: the broker does not answer, or did not accept the events.
    """
    try:
        sent, refused = asyncio.run(_publish(env, topic, lines))
    except KafkaError as error:
        raise StartError(f"Kafka at {env['WAFA_KAFKA_BOOTSTRAP']}: {error}") from error
    print(f"published {sent} to {topic}" + (f", refused {refused}" if refused else ""))
    return 1 if refused else 0


def check(topic: str, value: bytes, now: datetime) -> bytes:
    """The key of an event's record.

    Raises:
        RefusedError: a service that reads the topic would refuse the event or skip its type.
    """
    key = _customer(value).encode("utf-8", "surrogatepass")
    names = frozenset(name for name, type_ in TYPES.items() if type_.topic == topic)
    try:
        event = decode(Record(topic, 0, 0, key, value, _HEADERS, now), frozenset(TYPES))
    except Malformed as error:
        raise RefusedError(str(error)) from error
    if event is None:
        raise RefusedError(f"type: has to be one of {', '.join(sorted(names))}")
    return key


async def _publish(env: Mapping[str, str], topic: str, lines: IO[bytes]) -> tuple[int, int]:
    """Returns the numbers of acknowledged and of refused lines."""
    sent = refused = 0
    producer = broker_of(env).producer()
    await producer.start()
    try:
        flying: list[asyncio.Future[object]] = []
        for number, line in _numbered(lines):
            try:
                flying.append(await _send(producer, topic, line))
            except RefusedError as error:
                refused += 1
                print(f"line {number}: {error}", file=sys.stderr)
            if len(flying) == _IN_FLIGHT:
                sent += len(await asyncio.gather(*flying))
                flying.clear()
        sent += len(await asyncio.gather(*flying))
    finally:
        await producer.stop()
    return sent, refused


async def _send(producer: AIOKafkaProducer, topic: str, line: bytes) -> "asyncio.Future[object]":
    if len(line) > LONGEST_LINE:
        raise RefusedError(f"longer than {LONGEST_LINE:,} bytes")
    key = check(topic, line, datetime.now(UTC))
    headers = [(name.decode(), content) for name, content in _HEADERS]
    return await producer.send(topic, line, key=key, headers=headers)


def _numbered(lines: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers; only the beginning of a line that is too long."""
    number = 0
    while line := lines.readline(LONGEST_LINE + 2):
        number += 1
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = lines.readline(LONGEST_LINE)
        if line.strip():
            yield number, line.strip()


def _customer(value: bytes) -> str:
    """The customer id of an event; empty if there is none, which the contract then refuses."""
    try:
        customer_id = json.loads(value)["data"]["customer_id"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return customer_id if isinstance(customer_id, str) else ""
