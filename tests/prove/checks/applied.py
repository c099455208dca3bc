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
    lost = [f"item {item.number} ({item.told.id})" for item in items if item.number not in there]
    yield check(1, "acknowledged records are in the log", len(items), lost)
    for service in evidence.services:
        wanted, found = oracle.taken[service], evidence.found.inboxes[service]
        named = _named(evidence, service, wanted ^ found)
        wrong = [f"missing {named.get(name, name)}" for name in wanted - found]
        wrong += [f"unknown {named.get(name, name)}" for name in found - wanted]
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
    """Both ways: what was acknowledged stands in a statement, what stands in the tables was acknowledged.

    (What stands in a statement was acknowledged, too: the replay knows no other writes.)
    """
    told = {
        f"{'hold' if write.kind is Kind.HOLD else 'redemption'} {write.answer['id']}"
        for write in evidence.writes
        if write.done and write.kind in {Kind.HOLD, Kind.REDEEM, Kind.REWARD}
    }
    there = evidence.found.points.written
    wrong = [f"{key} is in no statement" for key in oracle.unwritten]
    wrong += [f"{write.key} was never answered" for write in evidence.writes if write.status == 0]
    wrong += [f"{item} is not there" for item in told - there] + [f"{item}: nobody was told" for item in there - told]
    return check(1, "acknowledged API writes = API writes in the ledger", len(evidence.writes), wrong)
