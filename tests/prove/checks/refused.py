"""5. Dead letters are exactly the malformed and the refused records; there is one message per event and channel."""

from collections import Counter
from collections.abc import Iterator, Sequence

from shared.contracts.envelope import decode
from shared.contracts.reasons import Malformed, Reason
from tests.prove import progress
from tests.prove.checks.check import Check, check
from tests.prove.checks.oracle import Evidence, Oracle
from tests.prove.items import Item, Role
from tests.prove.malformed import FLAWS

Letter = tuple[tuple[str, int, int], str]


def checks(evidence: Evidence, oracle: Oracle, items: Sequence[Item]) -> Iterator[Check]:
    """The checks of this group."""
    meant = [item for item in items if item.role is Role.MALFORMED]
    yield check(5, "malformed records of the log = those of the history", len(meant), _misread(evidence, items))
    for service in evidence.services:
        due, letters = Counter(_due(evidence, oracle, service)), Counter(_letters(evidence, service))
        wrong = [f"missing {item}" for item in due - letters] + [f"unknown {item}" for item in letters - due]
        yield check(5, f"{service}: dead letters = malformed and refused records", due.total(), wrong)
    if "notifications" in evidence.services:
        yield _messages(evidence, oracle)


def _messages(evidence: Evidence, oracle: Oracle) -> Check:
    there = Counter(message[:4] for message in evidence.findings.messages)
    wrong = [f"missing {message}" for message in oracle.messages - there.keys()]
    wrong += [f"unknown {item}" for item in there.keys() - oracle.messages]
    wrong += [f"{count} times {item}" for item, count in there.items() if count > 1]
    return check(5, "messages: one per event and channel", len(oracle.messages), wrong)


def _misread(evidence: Evidence, items: Sequence[Item]) -> Iterator[str]:
    flaws = {item.number: FLAWS[item.flaw].reason for item in items if item.flaw is not None}
    for entry in evidence.log.all():
        if entry.place in evidence.poisoned:
            if entry.reason is None:
                yield f"{entry.place} was meant to be unreadable"
            continue
        meant = None if entry.number is None else flaws.get(entry.number)
        if entry.reason is not meant:
            yield f"{entry.place} (item {entry.number}) is {entry.reason}, meant to be {meant}"


def _due(evidence: Evidence, oracle: Oracle, service: str) -> Iterator[Letter]:
    """Expected dead letters of a service: malformed records of its topics and types, and what its rules refuse."""
    spec = progress.spec(service)
    for topic in spec.topics:
        for item in evidence.log.by_topic.get(topic, ()):
            if item.is_unreadable:
                yield item.place, str(Reason.NOT_A_CLOUDEVENT)
            elif item.reason is not None:
                try:
                    decode(item.record, spec.wanted)
                except Malformed as error:
                    yield item.place, str(error.reason)
    for refusal in oracle.refused[service]:
        record = refusal.event.record
        yield (record.topic, record.partition, record.offset), str(refusal.reason)


def _letters(evidence: Evidence, service: str) -> Iterator[Letter]:
    return ((item.place, item.reason) for item in evidence.findings.dead[service])
