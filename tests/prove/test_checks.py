"""Every check passes on the real services, and fails after one wrong change."""

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from pydantic_core import from_json

from shared.contracts import topics
from tests.prove import earning, tiering
from tests.prove.checks import applied, published, refused, replayed
from tests.prove.checks.check import Check
from tests.prove.checks.oracle import Evidence, consult
from tests.prove.checks.tiers import kind_of
from tests.prove.findings import Dead
from tests.prove.history import History, Size
from tests.prove.log import Log
from tests.prove.rehearsal import rehearse
from tests.prove.tiered import Use
from tests.prove.writes import Kind, Write

# One process of pytest-xdist rehearses.
pytestmark = pytest.mark.xdist_group("rehearsal")

LATER = datetime(2040, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def rehearsed(postgres_url: str) -> tuple[History, Evidence]:
    """320 records of 8 customers, handled by the services."""
    return asyncio.run(rehearse(postgres_url, 21, Size(320, 8, malformed=0.05)))


def checks(shop_history: History, evidence: Evidence) -> Iterator[Check]:
    oracle = consult(evidence)
    yield from applied.checks(evidence, oracle, shop_history.items)
    yield from replayed.checks(evidence, oracle)
    yield from published.checks(evidence)
    yield from refused.checks(evidence, oracle, shop_history.items)


def test_the_services_agree_with_the_replay(rehearsed: tuple[History, Evidence]):
    assert {check.name: check.offenders for check in checks(*rehearsed) if check.count} == {}


def test_the_rehearsal_has_data_of_every_kind(rehearsed: tuple[History, Evidence]):
    _, evidence = rehearsed
    checked = {check.name: check.checked for check in checks(*rehearsed)}
    assert {name for name, count in checked.items() if not count} <= {
        "benefits are used as acknowledged, within their uses",
        "the reward's stock and limit per customer hold",
    }
    assert len({referral[3] for referral in evidence.findings.referrals}) > 1
    entries = [entry for timeline in evidence.findings.tiers.timelines.values() for entry in timeline]
    assert {entry.kind for entry in entries} == {"promoted", "demoted", "retained"}
    assert evidence.quiet is not None
    assert any(evidence.quiet.after.values())


Change = Callable[[Evidence], Evidence]


def with_findings(evidence: Evidence, **parts: Any) -> Evidence:
    return replace(evidence, findings=replace(evidence.findings, **parts))


def points(evidence: Evidence, **parts: Any) -> Evidence:
    return with_findings(evidence, points=replace(evidence.findings.points, **parts))


def without_records(evidence: Evidence, topic: str, count: int = 1) -> Evidence:
    log = dict(evidence.log.by_topic)
    log[topic] = log[topic][count:]
    return replace(evidence, log=Log(log))


def swapped(evidence: Evidence) -> Evidence:
    """Swap two events of a customer on the topic."""
    log = dict(evidence.log.by_topic)
    of_topic = list(log[topics.POINTS])
    first = of_topic[0]
    other = next(i for i, item in enumerate(of_topic[1:], 1) if item.record.key == first.record.key)
    of_topic[0], of_topic[other] = of_topic[other], of_topic[0]
    return replace(evidence, log=Log(log | {topics.POINTS: of_topic}))


def without_inbox_row(evidence: Evidence) -> Evidence:
    inboxes = dict(evidence.findings.inboxes)
    return with_findings(evidence, inboxes=inboxes | {"tiers": frozenset(sorted(inboxes["tiers"])[1:])})


def with_inbox_row(evidence: Evidence) -> Evidence:
    return with_findings(
        evidence, inboxes=dict(evidence.findings.inboxes) | {"points": evidence.findings.inboxes["points"] | {uuid4()}}
    )


def without_line(evidence: Evidence) -> Evidence:
    statements = dict(evidence.findings.points.statements)
    customer = max(statements, key=lambda statement: len(statements[statement]))
    return points(evidence, statements=statements | {customer: statements[customer][:-1]})


def richer(evidence: Evidence) -> Evidence:
    balances = {customer: dict(balance) for customer, balance in evidence.balances.items()}
    balances[evidence.customers[0]]["available"] += 1
    return replace(evidence, balances=balances)


def tiers(evidence: Evidence, **parts: Any) -> Evidence:
    return with_findings(evidence, tiers=replace(evidence.findings.tiers, **parts))


def without_entry(evidence: Evidence) -> Evidence:
    timelines = dict(evidence.findings.tiers.timelines)
    customer = next(customer for customer, entries in timelines.items() if entries[-1].before != entries[-1].tier)
    return tiers(evidence, timelines=timelines | {customer: timelines[customer][:-1]})


def held_longer(evidence: Evidence) -> Evidence:
    standings = dict(evidence.findings.tiers.standings)
    customer = next(iter(standings))
    return tiers(evidence, standings=standings | {customer: standings[customer]._replace(valid_until=LATER)})


def more_orders(evidence: Evidence) -> Evidence:
    customer = evidence.customers[0]
    answer = dict(evidence.standings[customer])
    answer["metrics"] = answer["metrics"] | {"orders": answer["metrics"]["orders"] + 1}
    return replace(evidence, standings=dict(evidence.standings) | {customer: answer})


def told_again(evidence: Evidence) -> Evidence:
    rows = evidence.findings.outboxes["tiers"]
    kinds = {"promoted", "demoted", "retained"}
    row = next(row for row in rows if kind_of(from_json(row.value)) in kinds)
    return with_findings(evidence, outboxes=dict(evidence.findings.outboxes) | {"tiers": [*rows, row]})


def warned_again(evidence: Evidence) -> Evidence:
    rows = evidence.findings.outboxes["tiers"]
    row = next(row for row in rows if kind_of(from_json(row.value)) == "at_risk")
    return with_findings(evidence, outboxes=dict(evidence.findings.outboxes) | {"tiers": [*rows, row]})


def not_warned(evidence: Evidence) -> Evidence:
    assert evidence.quiet is not None
    after = dict(evidence.quiet.after)
    return replace(evidence, quiet=replace(evidence.quiet, after=dict.fromkeys(after, False)))


def not_given(evidence: Evidence) -> Evidence:
    return replace(evidence, writes=[])


def used(evidence: Evidence) -> Evidence:
    use = Use(evidence.customers[0], tiering.GIFT, "r", LATER)
    return tiers(evidence, uses=[use])


def another_state(evidence: Evidence) -> Evidence:
    first, *rest = evidence.findings.referrals
    return with_findings(evidence, referrals=[(*first[:3], "flagged", *first[4:]), *rest])


def over_the_limit(evidence: Evidence) -> Evidence:
    count, given = evidence.findings.points.uses[earning.LAUNCH]
    return points(evidence, uses=dict(evidence.findings.points.uses) | {earning.LAUNCH: (count + 1, given)})


def oversold(evidence: Evidence) -> Evidence:
    return points(evidence, rewards=[(0, earning.REWARD["stock"] + 1, 1)])


def greedy(evidence: Evidence) -> Evidence:
    return points(evidence, rewards=[(97, 3, earning.REWARD["limit_per_customer"] + 1)])


def duplicate_message(evidence: Evidence) -> Evidence:
    return with_findings(evidence, messages=[*evidence.findings.messages, evidence.findings.messages[0]])


def missing_message(evidence: Evidence) -> Evidence:
    return with_findings(evidence, messages=evidence.findings.messages[1:])


def one_letter_more(evidence: Evidence) -> Evidence:
    letter = Dead(("shop.purchases", 0, 0), "handler_refused", "broken")
    return with_findings(
        evidence, dead=dict(evidence.findings.dead) | {"points": [*evidence.findings.dead["points"], letter]}
    )


def one_letter_less(evidence: Evidence) -> Evidence:
    return with_findings(evidence, dead=dict(evidence.findings.dead) | {"tiers": evidence.findings.dead["tiers"][1:]})


def uncommitted(evidence: Evidence) -> Evidence:
    return with_findings(
        evidence, outboxes=dict(evidence.findings.outboxes) | {"tiers": evidence.findings.outboxes["tiers"][1:]}
    )


def unwritten(evidence: Evidence) -> Evidence:
    write = Write("k", Kind.ADJUST, evidence.customers[0], "/", {"points": 5, "reason": "n"}, status=201)
    return replace(evidence, writes=[write])


def unanswered(evidence: Evidence) -> Evidence:
    return replace(evidence, writes=[Write("k", Kind.ADJUST, evidence.customers[0], "/", {"points": 5, "reason": "n"})])


@pytest.mark.parametrize(
    "change, name",
    [
        (lambda item: without_records(item, topics.REVIEWS), "acknowledged records are in the log"),
        (without_inbox_row, "tiers: inbox = accepted events of the log"),
        (with_inbox_row, "points: inbox = accepted events of the log"),
        (unwritten, "acknowledged API writes = API writes in the ledger"),
        (unanswered, "acknowledged API writes = API writes in the ledger"),
        (without_line, "statements = the replay, line by line"),
        (richer, "balances (read over HTTP) = the replay"),
        (without_entry, "timelines of tiers = the model"),
        (without_entry, "told timelines of tiers = the stored ones"),
        (without_entry, "points' timelines = tiers' timelines"),
        (held_longer, "customers' tiers = the model"),
        (more_orders, "tiers (read over HTTP) = the model"),
        (told_again, "every change of a tier is told once"),
        (warned_again, "a tier at risk is told once"),
        (not_warned, "tiers at risk = the model"),
        (not_given, "tiers given by hand = acknowledged writes"),
        (used, "benefits are used as acknowledged, within their uses"),
        (another_state, "referrals = a replay"),
        (over_the_limit, f"limit of the program: {earning.LAUNCH}"),
        (oversold, "the reward's stock and limit per customer hold"),
        (greedy, "the reward's stock and limit per customer hold"),
        (lambda item: without_records(item, topics.POINTS), "points: the outbox is on Kafka"),
        (
            lambda item: without_records(item, topics.POINTS),
            "points: every change of a balance has its event",
        ),
        (uncommitted, "tiers: Kafka has only committed events"),
        (swapped, "points: first occurrences are in order per customer"),
        (one_letter_more, "points: dead letters = malformed and refused records"),
        (one_letter_less, "tiers: dead letters = malformed and refused records"),
        (duplicate_message, "messages: one per event and channel"),
        (missing_message, "messages: one per event and channel"),
    ],
)
def test_a_check_fails(rehearsed: tuple[History, Evidence], change: Change, name: str):
    shop_history, evidence = rehearsed
    assert name in {check.name for check in checks(shop_history, change(evidence)) if check.count}


def test_a_missing_event_is_named(rehearsed: tuple[History, Evidence]):
    shop_history, evidence = rehearsed
    changed = without_inbox_row(evidence)
    [failed] = [check for check in applied.checks(changed, consult(changed), shop_history.items) if check.count]
    assert re.search(r"(shop|loyalty)\.[a-z]+/0@", failed.offenders[0])


def test_an_unexpected_malformed_record_is_a_violation(rehearsed: tuple[History, Evidence]):
    shop_history, evidence = rehearsed
    meant = tuple(replace(item, flaw=None) for item in shop_history.items)
    [failed] = [check for check in refused.checks(evidence, consult(evidence), meant) if check.count]
    assert failed.name == "malformed records of the log = those of the history"
