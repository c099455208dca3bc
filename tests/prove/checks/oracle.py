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
from tests.prove.findings import Findings
from tests.prove.lives import code_of
from tests.prove.log import Log
from tests.prove.replay import messages, referrals, tiers
from tests.prove.replay.acts import Acts
from tests.prove.replay.dedupe import Seen
from tests.prove.replay.messages import Message
from tests.prove.replay.points import Given, Replay
from tests.prove.replay.points import Replayed as PointsReplayed
from tests.prove.replay.referrals import Place, Terms
from tests.prove.replay.referrals import Replayed as ReferralsReplayed
from tests.prove.replay.tiers import Replayed as TiersReplayed
from tests.prove.writes import Write

_ORDERS: Final = frozenset({"shop.purchase.completed.v1", "shop.purchase.refunded.v1"})


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
    poisoned: frozenset[tuple[str, int, int]] = frozenset()
    """Topic, partition and offset of records that are unreadable on purpose."""


@dataclass(slots=True)
class Oracle:
    """Expected state by customer; expected inbox and refusals by service."""

    points: dict[str, PointsReplayed] = field(default_factory=dict)
    tiers: dict[str, TiersReplayed] = field(default_factory=dict)
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
    if {"tiers", "referrals"} & set(evidence.services):
        _tiers_and_referrals(oracle, evidence, customers)
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
        acts = Acts.of(writes[customer])
        entries = stored.statements.get(customer, ())
        replay = Replay(Given(customer, queues, entries, acts, stored.rules, stored.cuts.get(customer, {})))
        replayed = replay.run(datetime.fromisoformat(evidence.balances[customer]["as_of"]))
        oracle.points[customer] = replayed
        oracle.note("points", replayed.taken, _own(replayed.refused, customer))
        oracle.unwritten += acts.missing()


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


def _tiers_and_referrals(oracle: Oracle, evidence: Evidence, customers: Sequence[str]) -> None:
    codes = {code_of(advocate): advocate for advocate in evidence.advocates}
    erasures = _erasures(evidence)
    terms = Terms(evidence.findings.referral_programs, codes, _too_late(evidence, codes, erasures))
    purchases = evidence.log.of_customers(topics.PURCHASES)
    sign_ups = evidence.log.of_customers(topics.REFERRALS)
    for customer in customers:
        orders = [event for event in purchases.get(customer, ()) if event.type in _ORDERS]
        tier = tiers.replay(evidence.findings.tier_program, orders)
        referral = referrals.replay(terms, orders, sign_ups.get(customer, ()))
        oracle.tiers[customer], oracle.referrals[customer] = tier, referral
        oracle.note("tiers", tier.taken, tier.refused)
        oracle.note("referrals", referral.taken, referral.refused)
    taken = Seen({digest(event) for events in erasures.values() for event in events})
    for service in ("tiers", "referrals"):
        oracle.note(service, taken, ())


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
