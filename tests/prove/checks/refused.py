"""5. Dead letters are the malformed records and what rules refuse, exactly; messages: one per event and channel."""

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
    yield check(5, "malformed records of the log = those that were meant to be", len(meant), _misread(evidence, items))
    for service in evidence.services:
        due, found = Counter(_due(evidence, oracle, service)), Counter(_found(evidence, service))
        wrong = [f"missing {one}" for one in due - found] + [f"unknown {one}" for one in found - due]
        yield check(5, f"{service}: dead letters = malformed and refused records", due.total(), wrong)
    if "notifications" in evidence.services:
        yield _messages(evidence, oracle)


def _messages(evidence: Evidence, oracle: Oracle) -> Check:
    there = Counter(one[:4] for one in evidence.found.messages)
    wrong = [f"missing {one}" for one in oracle.messages - there.keys()]
    wrong += [f"unknown {one}" for one in there.keys() - oracle.messages]
    wrong += [f"{count} times {one}" for one, count in there.items() if count > 1]
    return check(5, "messages: one per event and channel", len(oracle.messages), wrong)


def _misread(evidence: Evidence, items: Sequence[Item]) -> Iterator[str]:
    flaws = {item.number: FLAWS[item.flaw].reason for item in items if item.flaw is not None}
    for one in evidence.log.all():
        if one.place in evidence.poisoned:
            if one.reason is None:
                yield f"{one.place} was meant to be unreadable"
            continue
        meant = None if one.number is None else flaws.get(one.number)
        if one.reason is not meant:
            yield f"{one.place} (item {one.number}) is {one.reason}, meant to be {meant}"


def _due(evidence: Evidence, oracle: Oracle, service: str) -> Iterator[Letter]:
    """What a service has to refuse: malformed records of its topics and types, and what its rules refuse."""
    spec = progress.spec(service)
    for topic in spec.topics:
        for one in evidence.log.by_topic.get(topic, ()):
            if one.is_unreadable:
                yield one.place, str(Reason.NOT_A_CLOUDEVENT)
            elif one.reason is not None:
                try:
                    decode(one.record, spec.wanted)
                except Malformed as error:
                    yield one.place, str(error.reason)
    for refusal in oracle.refused[service]:
        record = refusal.event.record
        yield (record.topic, record.partition, record.offset), str(refusal.reason)


def _found(evidence: Evidence, service: str) -> Iterator[Letter]:
    return ((one.place, one.reason) for one in evidence.found.dead[service])
