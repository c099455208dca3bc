"""The invariants that hold after the drain, whatever faults happened before."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from shared.contracts.envelope import Event, decode
from shared.contracts.reasons import Malformed, Reason
from shared.messaging.inbox import digest
from shared.messaging.record_batches import Unreadable
from tests.points.oracles.model import Model
from tests.prove import tiered
from tests.prove.checks import tiers
from tests.prove.replay import counted
from tests.simulation import referring
from tests.simulation.broker import Kept
from tests.simulation.node import Service
from tests.simulation.watch import Watch
from tests.simulation.world import World
from tests.tiers.oracles.facts import Assignment
from tests.tiers.oracles.model import Entry, judge


def violations(world: World) -> Iterator[str]:
    """Descriptions of the violations."""
    logs: dict[str, _Read] = {}
    for service in world.services:
        log = logs[service.name] = _Read(world, service)
        watch = world.watches[service.name]
        for check in (_effects, _letters, _positions):
            yield from (f"{service.name}: {violation}" for violation in check(log, watch))
        yield from (f"{service.name}: {violation}" for violation in _published(world, watch))
    yield from (f"points: {violation}" for violation in _points(logs["points"].model, world.watches["points"]))
    yield from (f"tiers: {violation}" for violation in _tiers(world, logs["tiers"], world.watches["tiers"]))
    if world.refers:
        watch = world.watches["referrals"]
        found = referring.violations(logs["referrals"].events, watch, (world.until, world.ahead))
        yield from (f"referrals: {violation}" for violation in found)


class _Read:
    """The records that a service reads, by partition, and the model's result."""

    def __init__(self, world: World, service: Service) -> None:
        self.model = Model()
        self.events: list[Event] = []
        self.malformed: list[tuple[str, int, int]] = []
        self.poisoned: list[tuple[str, int, int]] = []
        poison = world.poison
        self.poison = poison.customer if poison is not None and poison.service == service.name else None
        topics, wanted = service.spec.topics, service.spec.wanted
        for place, log in sorted(world.broker.logs.items()):
            for kept in log.records if place.topic in topics else ():
                self._read(kept, wanted)
        self.first: dict[Any, Event] = {}
        for event in self.events:
            self.first.setdefault(digest(event), event)
        applied: set[Any] = set()
        for event in self.events:
            if digest(event) not in applied and event.type != "shop.referral.signed_up.v1":
                self.model.apply(event)
            # The inbox does not hold refused events: a repeat is judged, and refused, again.
            applied = (applied | {digest(event)}) - {digest(item) for item in self.model.refused}
        self.refused = {digest(item) for item in self.model.refused}

    def _read(self, kept: Kept, wanted: frozenset[str]) -> None:
        fetched = kept.fetched()
        if isinstance(fetched, Unreadable):
            self.malformed.append(kept[:3])
            return
        try:
            event = decode(fetched, wanted)
        except Malformed:
            self.malformed.append(kept[:3])
        else:
            if event is not None and event.customer_id == self.poison:
                self.poisoned.append(kept[:3])
            elif event is not None:
                self.events.append(event)


def _effects(log: _Read, watch: Watch) -> Iterator[str]:
    """Every accepted event had its effect once, by its first record, in the order of its partition."""
    rows = watch.rows('SELECT topic, partition, "offset", id, source, customer_id FROM effect ORDER BY number')
    had = Counter((row["customer_id"], row["source"], row["id"]) for row in rows)
    names = {
        (item.customer_id, item.source, item.id): item for name, item in log.first.items() if name not in log.refused
    }
    for name in names:
        if had[name] != 1:
            yield f"the event {name} had its effect {had[name]} times"
    if log.poison is not None and any(row["customer_id"] == log.poison for row in rows):
        yield f"events of {log.poison} had an effect"
    last: dict[tuple[str, int], int] = {}
    for row in rows:
        event = names.get((row["customer_id"], row["source"], row["id"]))
        place = (row["topic"], row["partition"])
        if event is None:
            continue
        if row["offset"] != event.record.offset:
            yield f"the event {row['id']} had its effect by its record {row['offset']}, not by {event.record.offset}"
        if row["offset"] <= last.get(place, -1):
            yield f"{place} {row['offset']} had its effect after {last[place]}"
        last[place] = row["offset"]


def _letters(log: _Read, watch: Watch) -> Iterator[str]:
    """The dead letters are the malformed, poisoned and refused records, each once."""
    rows = watch.rows('SELECT topic, partition, "offset", value, reason FROM dead_letter')
    letters = [((row["topic"], row["partition"], row["offset"]), row["reason"]) for row in rows]
    rules = {"order_conflict", "currency_mismatch", "unknown_line"}
    poisoned = sorted(place for place, reason in letters if reason == Reason.HANDLER_REFUSED)
    if poisoned != sorted(log.poisoned):
        yield f"the handler refused {poisoned}, poisonous are {sorted(log.poisoned)}"
    broken = sorted(place for place, reason in letters if reason not in rules | {Reason.HANDLER_REFUSED})
    if broken != sorted(log.malformed):
        yield f"dead letters are {broken}, malformed are {sorted(log.malformed)}"
    refused = {json.loads(row["value"])["id"] for row in rows if row["reason"] in rules}
    expected = {item.id for item in log.model.refused}
    if refused != expected:
        yield f"refused are {refused}, and should be {expected}"
    twice = [place for place, count in Counter(place for place, _ in letters).items() if count > 1]
    if twice:
        yield f"{twice} are dead letters more than once"


def _positions(_: _Read, watch: Watch) -> Iterator[str]:
    """Positions never decreased."""
    for row in watch.rows("SELECT * FROM moved_back"):
        yield f"a position went from {row['from_offset']} to {row['to_offset']} in {row['topic']}/{row['partition']}"


def _published(world: World, watch: Watch) -> Iterator[str]:
    """Every committed outbox row was published, a customer's first occurrences in order, and nothing else."""
    announced: dict[tuple[str, bytes], list[str]] = defaultdict(list)
    for row in watch.rows("SELECT topic, key, value FROM announced ORDER BY id"):
        announced[row["topic"], row["key"]].append(json.loads(row["value"])["id"])
    topics = {topic for topic, _ in announced}
    first: dict[tuple[str, bytes], dict[str, None]] = defaultdict(dict)
    for place, log in sorted(world.broker.logs.items()):
        for kept in log.records if place.topic in topics else ():
            first[kept.topic, kept.key or b""].setdefault(json.loads(kept.value or b"{}")["id"])
    for name in announced.keys() | first.keys():
        if announced[name] != list(first[name]):
            yield f"{name}: committed {announced[name]}, published {list(first[name])}"


def _points(model: Model, watch: Watch) -> Iterator[str]:
    """Accounts equal the model; statements have no gap, add up, and every line was published."""
    accounts = {row["customer_id"]: row for row in watch.rows("SELECT * FROM account")}
    owners = {key[0] for key in (*model.orders, *model.reviews, *model.referrals)}
    for customer in owners | accounts.keys():
        row = accounts.get(customer)
        actual = (row["available"], row["debt"], row["earned"], row["pending"]) if row else (0, 0, 0, 0)
        expected = (*model.balance(customer), model.earned(customer), 0)
        if actual != expected:
            yield f"{customer} has (available, debt, earned, pending) {actual}, and should have {expected}"
    rows = watch.rows("SELECT * FROM transaction ORDER BY customer_id, sequence")
    nets: Counter[str] = Counter()
    for row in rows:
        nets[row["customer_id"]] += row["points"]
        if row["available_after"] - row["debt_after"] != nets[row["customer_id"]]:
            yield f"the statement of {row['customer_id']} does not add up at {row['sequence']}"
    published: dict[str, list[str]] = defaultdict(list)
    for row in watch.rows("SELECT value FROM announced ORDER BY id"):
        data = json.loads(row["value"])["data"]
        published[data["customer_id"]].append(data["transaction_id"])
    for customer in accounts:
        transactions = [str(row["id"]) for row in rows if row["customer_id"] == customer and row["points"]]
        if published[customer] != transactions:
            yield f"{customer}: transactions {transactions}, published {published[customer]}"


def _tiers(world: World, log: _Read, watch: Watch) -> Iterator[str]:
    """Timelines equal the slow model's, and what was told, put together, is what is stored."""
    first, *later = [(row["effective_at"], row["document"]) for row in watch.rows(tiered.VERSIONS_SQL)]
    versions = [(None, first[1]), *later]
    by_customer: dict[str, dict[str, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in log.events:
        by_customer[event.customer_id][event.record.topic].append(event)
    given: dict[str, list[Assignment]] = defaultdict(list)
    for customer, *fields in watch.rows(tiered.ASSIGNMENTS_SQL):
        given[customer].append(Assignment(*fields))
    stored: dict[str, list[Entry]] = defaultdict(list)
    for customer, *fields in watch.rows(tiered.TIMELINE_SQL):
        stored[customer].append(Entry(*fields))
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in watch.rows("SELECT key, value FROM announced ORDER BY id"):
        told[row["key"].decode()].append(json.loads(row["value"]))
    for customer in sorted(by_customer.keys() | given.keys() | stored.keys()):
        changes = counted.replay(by_customer[customer]).changes
        expected = judge(versions, changes, given[customer], world.ahead)
        for actual, due in zip_longest(stored[customer], expected.entries):
            if actual != due:
                yield f"the timeline of {customer} has {actual}, and should have {due}"
        steps = tiers.compact(tiers.put_together(told[customer]))
        due_steps = tiers.compact((entry.at, entry.tier, entry.points_multiplier) for entry in stored[customer])
        if steps != due_steps:
            yield f"{customer} was told {steps}, and should have been {due_steps}"
