"""4. Every committed outbox row reached Kafka, in order per customer, and nothing else did."""

from collections.abc import Iterator, Sequence

from pydantic_core import from_json

from shared.contracts.envelope import Record
from tests.prove.checks.check import Check, check
from tests.prove.checks.oracle import Evidence
from tests.prove.findings import Published
from tests.prove.log import Log


def checks(evidence: Evidence) -> Iterator[Check]:
    """The checks of this group."""
    for service in evidence.services:
        rows = evidence.findings.outboxes[service]
        topic = TOPICS[service]
        records = [item.record for item in evidence.log.by_topic.get(topic, ()) if _is_ours(item.record)]
        yield check(4, f"{service}: the outbox is on Kafka", len(rows), _missing(rows, records))
        yield check(4, f"{service}: Kafka has only committed events", len(records), _unknown(rows, records))
        yield check(4, f"{service}: first occurrences are in order per customer", len(rows), _disorder(rows, records))
    yield check(
        4,
        "points: every change of a balance has its event",
        len(evidence.findings.points.statements),
        _without_event(evidence),
    )


TOPICS = {
    "points": "loyalty.points",
    "tiers": "loyalty.tiers",
    "referrals": "loyalty.referrals",
    "notifications": "loyalty.messages",
}
_KINDS_WITHOUT_EVENT = frozenset({"held", "released"})


def repeats(evidence: Evidence) -> int:
    """Number of records that relays published more than once."""
    count = 0
    for topic in TOPICS.values():
        values = [item.record.value for item in evidence.log.by_topic.get(topic, ()) if _is_ours(item.record)]
        count += len(values) - len(set(values))
    return count


def _is_ours(record: Record) -> bool:
    return b'"type":"loyalty.' in (record.value or b"")


def _missing(rows: Sequence[Published], records: Sequence[Record]) -> Iterator[str]:
    there = {record.value for record in records}
    return (f"outbox row {row.id} of {row.key.decode()}" for row in rows if row.value not in there)


def _unknown(rows: Sequence[Published], records: Sequence[Record]) -> Iterator[str]:
    committed = {row.value for row in rows}
    return (f"{record.topic}/{record.partition}@{record.offset}" for record in records if record.value not in committed)


def _disorder(rows: Sequence[Published], records: Sequence[Record]) -> Iterator[str]:
    numbers = {row.value: row.id for row in rows}
    last: dict[bytes, int] = {}
    seen: set[bytes | None] = set()
    for record in records:
        if record.value in seen or record.value not in numbers or record.key is None:
            continue
        seen.add(record.value)
        if numbers[record.value] < last.get(record.key, 0):
            yield f"outbox row {numbers[record.value]} of {record.key.decode()} came after {last[record.key]}"
        last[record.key] = max(numbers[record.value], last.get(record.key, 0))


def _without_event(evidence: Evidence) -> Iterator[str]:
    """Transactions without their event on Kafka, and transactions with two."""
    event_ids: dict[str, set[str]] = {}
    for record in _ours(evidence.log):
        event = from_json(record.value or b"")
        if not event["type"].endswith(".expiring.v1"):
            event_ids.setdefault(event["data"]["transaction_id"], set()).add(event["id"])
    for entries in evidence.findings.points.statements.values():
        for entry in entries:
            wanted = int(entry.line.points != 0 and entry.line.kind not in _KINDS_WITHOUT_EVENT)
            if len(event_ids.get(entry.id, ())) != wanted:
                yield f"transaction {entry.id} has {len(event_ids.get(entry.id, ()))} events, should have {wanted}"


def _ours(log: Log) -> Iterator[Record]:
    return (item.record for item in log.by_topic.get(TOPICS["points"], ()) if _is_ours(item.record))
