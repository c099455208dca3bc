"""The expected state of all customers, from the replays."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from shared.contracts import topics
from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.contracts.reasons import Reason
from shared.contracts.shop import CustomerErased, ReferralSignedUp
from shared.messaging.inbox import digest
from tests.prove import progress
from tests.prove.findings import ASKED_AT, Findings
from tests.prove.lives import code_of
from tests.prove.log import Log
from tests.prove.replay import counted, messages, points, referrals, tiers
from tests.prove.replay.dedupe import Seen
from tests.prove.replay.messages import Message
from tests.prove.replay.points import Given
from tests.prove.replay.points import Replayed as PointsReplayed
from tests.prove.replay.referrals import Place, Terms
from tests.prove.replay.referrals import Replayed as ReferralsReplayed
from tests.prove.replay.tiers import History, Judged
from tests.prove.tiered import Quiet
from tests.prove.writes import Kind, Write
from tests.tiers.oracles.at_risk import Moment

_ORDERS: Final = counted.COUNTED[topics.PURCHASES]

_WARNED: Final = 150
"""Most customers whose warnings are judged by the model, which takes several replays of each."""
_SHORT: Final = 300
"""Most changes of such a customer."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The inputs of the checks: the log, the API's answers, and the services' databases."""

    services: Sequence[str]
    log: Log
    writes: Sequence[Write]
    findings: Findings
    balances: Mapping[str, Mapping[str, Any]]
    customers: Sequence[str]
    advocates: Sequence[str]
    standings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The API's answers about tiers."""
    until: datetime | None = None
    """The instant up to which what fell due was applied during the run, before the last sweeps."""
    ahead: datetime | None = None
    """The instant up to which everything that falls due was swept at the end."""
    quiet: Quiet | None = None
    poisoned: frozenset[tuple[str, int, int]] = frozenset()
    """Topic, partition and offset of records that are unreadable on purpose."""


@dataclass(slots=True)
class Oracle:
    """Expected state by customer; expected inbox and refusals by service."""

    points: dict[str, PointsReplayed] = field(default_factory=dict)
    tiers: dict[str, Judged] = field(default_factory=dict)
    warnings: dict[str, list[Moment]] = field(default_factory=dict)
    """Of some customers, the moments that had come by the quiet sweep."""
    referrals: dict[str, ReferralsReplayed] = field(default_factory=dict)
    messages: set[Message] = field(default_factory=set)
    taken: dict[str, set[UUID]] = field(default_factory=lambda: defaultdict(set))
    refused: dict[str, list[Refusal]] = field(default_factory=lambda: defaultdict(list))
    unwritten: list[str] = field(default_factory=list)
    """Keys of acknowledged writes that are in no statement."""

    def note(self, service: str, taken: Seen, refused: Sequence[Refusal]) -> None:
        """Add a customer's expected inbox and refusals of a service."""
        self.taken[service] |= taken.names
        self.refused[service] += refused


def consult(evidence: Evidence) -> Oracle:
    """Replay everything."""
    oracle = Oracle()
    customers = sorted({*evidence.customers, *_customers_of(evidence)})
    _points(oracle, evidence, customers)
    if "tiers" in evidence.services:
        _tiers(oracle, evidence, customers)
    if "referrals" in evidence.services:
        _referrals(oracle, evidence, customers)
    if "notifications" in evidence.services:
        _messages(oracle, evidence)
    return oracle


def _messages(oracle: Oracle, evidence: Evidence) -> None:
    wanted = progress.spec("notifications")
    events = [event for topic in wanted.topics for event in evidence.log.events(topic) if event.type in wanted.wanted]
    oracle.messages, seen = messages.replay(events)
    oracle.note("notifications", seen, ())


def _customers_of(evidence: Evidence) -> set[str]:
    """The customers of all events in the log."""
    return {event.customer_id for topic in topics.SHOP for event in evidence.log.events(topic)}


def _points(oracle: Oracle, evidence: Evidence, customers: Sequence[str]) -> None:
    wanted = progress.spec("points")
    writes: defaultdict[str, list[Write]] = defaultdict(list)
    for write in evidence.writes:
        writes[write.customer].append(write)
    referred = _of_friends(evidence.log.events(topics.LOYALTY_REFERRALS))
    stored = evidence.findings.points
    for customer in customers:
        own = {topic: evidence.log.of_customers(topic).get(customer, []) for topic in wanted.topics}
        own |= {f"referred by {advocate}": events for advocate, events in referred.get(customer, {}).items()}
        queues = {topic: [event for event in events if event.type in wanted.wanted] for topic, events in own.items()}
        entries, cuts = stored.statements.get(customer, ()), stored.cuts.get(customer, {})
        given = Given(customer, queues, entries, writes[customer], stored.rules, cuts)
        replayed = points.replay(given, datetime.fromisoformat(evidence.balances[customer]["as_of"]))
        oracle.points[customer] = replayed
        oracle.note("points", replayed.taken, _own(replayed.refused, customer))
        oracle.unwritten += replayed.unwritten


def _own(refused: Sequence[Refusal], customer: str) -> list[Refusal]:
    return [item for item in refused if item.event.customer_id == customer]


def _of_friends(events: Sequence[Event]) -> Mapping[str, Mapping[str, list[Event]]]:
    """Referral events by friend and advocate; each advocate's events are ordered among themselves."""
    by_friend: defaultdict[str, defaultdict[str, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in events:
        data: Any = event.data
        if data.friend_id != event.customer_id:
            by_friend[data.friend_id][event.customer_id].append(event)
    return by_friend


def _tiers(oracle: Oracle, evidence: Evidence, customers: Sequence[str]) -> None:
    stored, histories = evidence.findings.tiers, list[History]()
    for customer in customers:
        own = {topic: evidence.log.of_customers(topic).get(customer, ()) for topic in counted.COUNTED}
        replayed = counted.replay(own)
        oracle.note("tiers", replayed.taken, replayed.refused)
        asked_at = evidence.standings[customer][ASKED_AT]
        histories.append(History(customer, replayed.changes, stored.assignments.get(customer, ()), asked_at))
    assert evidence.ahead is not None, "the last sweep reached an instant"
    oracle.tiers = tiers.judge_all(stored.versions, histories, evidence.ahead)
    if evidence.quiet is not None:
        some = _to_warn(evidence, evidence.quiet, histories)
        oracle.warnings = tiers.warnings(stored.versions, some, evidence.quiet.at)
    oracle.note("tiers", _taken(_erasures(evidence)), ())


def _to_warn(evidence: Evidence, quiet: Quiet, histories: Sequence[History]) -> list[History]:
    """Some of the customers: first those who were warned in the quiet sweep, then others with a short history.

    Last come those who had been judged beyond its instant, of whom the model does not say all (see `Quiet`).
    """
    new = {customer for customer, _, _ in quiet.after.keys() - quiet.before.keys()}
    known = evidence.findings.tiers.standings
    some = [own for own in histories if own.customer in known and len(own.changes) <= _SHORT]
    order = sorted(some, key=lambda own: (own.customer in quiet.passed, own.customer not in new, len(own.changes)))
    return order[:_WARNED]


def _referrals(oracle: Oracle, evidence: Evidence, customers: Sequence[str]) -> None:
    codes = {code_of(advocate): advocate for advocate in evidence.advocates}
    erasures = _erasures(evidence)
    assert evidence.until is not None, "the run ended"
    assert evidence.ahead is not None, "the last sweep reached an instant"
    terms = Terms(
        evidence.findings.referral_programs,
        codes,
        evidence.until,
        evidence.ahead,
        _too_late(evidence, codes, erasures),
        _decided(evidence),
        {customer: max(event.time for event in events) for customer, events in erasures.items()},
    )
    purchases = evidence.log.of_customers(topics.PURCHASES)
    sign_ups = evidence.log.of_customers(topics.REFERRALS)
    for customer in customers:
        orders = [event for event in purchases.get(customer, ()) if event.type in _ORDERS]
        referral = referrals.replay(terms, orders, sign_ups.get(customer, ()))
        oracle.referrals[customer] = referral
        oracle.note("referrals", referral.taken, referral.refused)
    wanted = progress.spec("referrals").wanted
    told = {digest(event) for event in evidence.log.events(topics.CUSTOMERS) if event.type in wanted}
    oracle.note("referrals", Seen(told), ())


def _decided(evidence: Evidence) -> dict[tuple[str, str], str]:
    """The acknowledged decisions on referrals."""
    keys = evidence.findings.referral_keys
    return {
        keys[write.path.split("/")[3]]: write.body["decision"]
        for write in evidence.writes
        if write.kind is Kind.DECIDE and write.done
    }


def _taken(erasures: Mapping[str, Sequence[Event]]) -> Seen:
    return Seen({digest(event) for events in erasures.values() for event in events})


def _erasures(evidence: Evidence) -> Mapping[str, Sequence[Event]]:
    """The erasures of the log, by customer."""
    by_customer: defaultdict[str, list[Event]] = defaultdict(list)
    for event in evidence.log.events(topics.CUSTOMERS):
        if isinstance(event.data, CustomerErased):
            by_customer[event.customer_id].append(event)
    return by_customer


def _too_late(evidence: Evidence, codes: Mapping[str, str], erased: Collection[str]) -> frozenset[Place]:
    """Sign-ups with the code of an erased advocate that were refused: the log has no order of the two."""
    refused = {item.place for item in evidence.findings.dead["referrals"] if item.reason == Reason.UNKNOWN_CODE}
    late: set[Place] = set()
    for event in evidence.log.events(topics.REFERRALS):
        place = (event.record.topic, event.record.partition, event.record.offset)
        if isinstance(event.data, ReferralSignedUp) and codes.get(event.data.code) in erased and place in refused:
            late.add(place)
    return frozenset(late)
