"""1. Every accepted event and every acknowledged write is applied once, and none is missing."""

from collections.abc import Collection, Iterator, Sequence
from uuid import UUID

from shared.messaging.inbox import digest
from tests.prove import progress
from tests.prove.checks.check import Check, check
from tests.prove.checks.oracle import Evidence, Oracle
from tests.prove.items import Item
from tests.prove.writes import Kind


def checks(evidence: Evidence, oracle: Oracle, items: Sequence[Item]) -> Iterator[Check]:
    """The checks of this group."""
    there = {item.number for item in evidence.log.all()}
    lost = [f"item {item.number} ({item.event.id})" for item in items if item.number not in there]
    yield check(1, "acknowledged records are in the log", len(items), lost)
    for service in evidence.services:
        wanted, inbox = oracle.taken[service], evidence.findings.inboxes[service]
        named = _named(evidence, service, wanted ^ inbox)
        wrong = [f"missing {named.get(name, name)}" for name in wanted - inbox]
        wrong += [f"unknown {named.get(name, name)}" for name in inbox - wanted]
        yield check(1, f"{service}: inbox = accepted events of the log", len(wanted), wrong)
    yield _writes(evidence, oracle)


def _named(evidence: Evidence, service: str, wanted: Collection[UUID]) -> dict[UUID, str]:
    """Descriptions of events by their inbox digest."""
    named: dict[UUID, str] = {}
    for topic in progress.spec(service).topics if wanted else ():
        for event in evidence.log.events(topic):
            if (name := digest(event)) in wanted:
                record = event.record
                named[name] = f"{event.id} of {event.customer_id} ({topic}/{record.partition}@{record.offset})"
    return named


def _writes(evidence: Evidence, oracle: Oracle) -> Check:
    """Every acknowledged write is in a statement, and every write in the tables was acknowledged.

    The replay applies acknowledged writes only, so every write in a statement was acknowledged too.
    """
    acknowledged = {
        f"{'hold' if write.kind is Kind.HOLD else 'redemption'} {write.answer['id']}"
        for write in evidence.writes
        if write.done and write.kind in {Kind.HOLD, Kind.REDEEM, Kind.REWARD}
    }
    recorded = evidence.findings.points.written
    wrong = [f"{key} is in no statement" for key in oracle.unwritten]
    wrong += [f"{write.key} was never answered" for write in evidence.writes if write.status == 0]
    wrong += [f"{item} is not in the ledger" for item in acknowledged - recorded]
    wrong += [f"{item} was not acknowledged" for item in recorded - acknowledged]
    return check(1, "acknowledged API writes = API writes in the ledger", len(evidence.writes), wrong)
