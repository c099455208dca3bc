"""Evidence: what a batch tells is stored, and what is stored of a referral's two sides is loaded for a judgement."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache, partial
from operator import attrgetter
from typing import Final, NamedTuple
from uuid import UUID

import phonenumbers

from services.referrals.rules.circle import MOST_PEOPLE
from services.referrals.rules.evidence import matching, normal, telling
from services.referrals.rules.evidence.keys import EvidenceKey, LocalPart
from services.referrals.rules.evidence.kinds import KEPT_FOR, Kind
from services.referrals.rules.evidence.lists import listed
from services.referrals.rules.evidence.matching import Match, Matcher, Stored, as_of
from services.referrals.rules.program.compiled import Program
from services.referrals.rules.program.signals import SignalId
from services.referrals.rules.signals import Facts
from services.referrals.store import evidence, sign_ups
from services.referrals.store.evidence import Registered, Span, Told
from services.referrals.store.sign_ups import LATEST, Asked, Counts, Trace, Wanted
from shared.contracts.envelope import Event
from shared.contracts.shop import CustomerProfile, CustomerRegistered, ReferralSignedUp
from shared.messaging import erasure
from shared.messaging.erasure import Erasure
from shared.postgres.pool import Connection, Pool
from shared.turns import map_in_turns

_KINDS: Final = {kind.value: kind for kind in Kind}
"""By number: `Kind(number)` takes ten times as long."""


class Marks(NamedTuple):
    """The order of handling: `marks.at(index)` is that of the event at an index of the batch."""

    first: int | None = None
    """None where the batch told nothing, so that all its events see what is stored."""

    def at(self, index: int) -> int:
        """The mark of an event of the batch."""
        return LATEST if self.first is None else self.first + index


async def record(
    connection: Connection,
    events: Sequence[Event],
    now: datetime,
    key: EvidenceKey | None,
    without: Collection[int] = (),
) -> Marks:
    """Store what profile events and sign-ups tell, but nothing from before an erasure or from over 400 days ago.

    `without` has the indexes of sign-ups without an effect: repeats, and those with an unknown code. The handler calls
    it while it holds the locks on the customers of the batch. Without a key, only registrations are stored.
    """
    telling_events = [
        (place, event)
        for place, event in enumerate(events)
        if isinstance(event.data, CustomerProfile | ReferralSignedUp) and place not in without
    ]
    if not telling_events:
        return Marks()
    erased = await erasure.find(connection, {event.customer_id for _, event in telling_events})
    kept = [
        (place, event)
        for place, event in telling_events
        if event.customer_id not in erased or not erased[event.customer_id].covers(event.time, event.record.timestamp)
    ]
    told = await _told(connection, kept, now, key) if key is not None else []
    return Marks(await evidence.add(connection, told, _registrations(kept), now))


def _registrations(events: Sequence[tuple[int, Event]]) -> list[Registered]:
    """The registrations of customers that are earlier than all that precede them in the batch."""
    registrations: list[Registered] = []
    earliest: dict[str, datetime] = {}
    for place, event in events:
        if isinstance(event.data, CustomerRegistered):
            known = earliest.get(event.customer_id)
            if known is None or event.time < known:
                earliest[event.customer_id] = event.time
                registrations.append(Registered(event.customer_id, event.time, place))
    return registrations


async def _told(
    connection: Connection, events: Sequence[tuple[int, Event]], now: datetime, key: EvidenceKey
) -> list[Told]:
    """What events of the last 400 days tell, each value of a customer once."""
    recent = [(place, event) for place, event in events if event.time >= now - KEPT_FOR]
    countries = await _countries(connection, recent, now, key)
    told: dict[tuple[str, Kind, bytes], Told] = {}
    for values in await map_in_turns(partial(_values, key, countries), recent):
        for value in values:
            known = told.setdefault(value[:3], value)
            if value.until > known.until:
                told[value[:3]] = known._replace(until=value.until)
    return list(told.values())


def _values(key: EvidenceKey, countries: dict[str, str], placed: tuple[int, Event]) -> list[Told]:
    """What an event tells; its country is remembered for the events of its customer that follow."""
    place, event = placed
    customer, data = event.customer_id, event.data
    assert isinstance(data, CustomerProfile | ReferralSignedUp)
    country = telling.country_of(data)
    if country is not None:
        countries[customer] = country
    told: list[Told] = []
    for kind, text, local in telling.values(data, countries.get(customer)):
        payload = None
        if local is not None:
            domain = key.hash(Kind.DOMAIN, text.rpartition("@")[2])
            payload = key.seal(customer, LocalPart(domain, local))
        told.append(Told(customer, kind, key.hash(kind, text), place, event.time, payload))
    return told


async def _countries(
    connection: Connection, events: Sequence[tuple[int, Event]], now: datetime, key: EvidenceKey
) -> dict[str, str]:
    """The stored countries of customers whose phone numbers need one."""
    asked: set[str] = set()
    for _, event in events:
        assert isinstance(event.data, CustomerProfile | ReferralSignedUp)
        if telling.needs_country(event.data):
            asked.add(event.customer_id)
    if not asked:
        return {}
    names = _country_names(key)
    hashes = await evidence.load_countries(connection, asked, now)
    return {customer: names[hash_] for customer, hash_ in hashes.items() if hash_ in names}


@lru_cache(maxsize=2)
def _country_names(key: EvidenceKey) -> Mapping[bytes, str]:
    """Countries that have phone numbers, by the hash of their code."""
    return {key.hash(Kind.COUNTRY, code): code for code in phonenumbers.SUPPORTED_REGIONS}


class SignUpRow(NamedTuple):
    """A sign-up that became a referral, also a rejected one; `mark` is that of its event."""

    referral_id: UUID
    advocate_id: str
    code: str
    mark: int
    event: Event


async def trace(connection: Connection, rows: Sequence[SignUpRow], key: EvidenceKey | None) -> None:
    """Store sign-ups for the counts over hours and days; the facts about them are loaded afterwards."""

    def trace_of(row: SignUpRow) -> Trace:
        event = row.event
        assert isinstance(event.data, ReferralSignedUp)
        ip = network = None
        if key is not None and event.data.ip is not None and (place := normal.place(event.data.ip)) is not None:
            ip, network = key.hash(Kind.IP, place.ip), key.hash(Kind.NETWORK, place.network)
        return Trace(row.referral_id, row.mark, event.customer_id, row.advocate_id, row.code, event.time, ip, network)

    await sign_ups.add(connection, [trace_of(row) for row in rows])


async def load_facts(
    connection: Connection, asked: Sequence[Asked], program: Program, now: datetime, key: EvidenceKey | None
) -> list[Facts]:
    """The facts about referrals that the program's signals need, in the order of `asked`, in a few statements."""
    if not asked:
        return []
    wanted: frozenset[SignalId] = frozenset(id_ for id_, setting in program.settings.items() if setting.action != "off")
    counts = await _count(connection, asked, program, wanted)
    edges: Sequence[Mapping[str, Collection[str]]] = [{}] * len(asked)
    if "circle" in wanted:
        above = [(referral.referral_id, referral.advocate_id) for referral in asked]
        edges = await evidence.load_edges(connection, above, MOST_PEOPLE - 1)
    compared = [Facts()] * len(asked)
    if key is not None and (kinds := matching.kinds(wanted)):
        stored = await _load_values(connection, asked, kinds, now, key)
        threshold = program.settings["similar_email"].threshold if "similar_email" in wanted else None
        matcher = Matcher(wanted, threshold, listed(key, program.blocklist))
        compared = await _compare(connection, asked, stored, matcher, now)
    return [
        _with_counts(facts, referral.signed_up_at, counted, own_edges)
        for facts, referral, counted, own_edges in zip(compared, asked, counts, edges, strict=True)
    ]


def _with_counts(facts: Facts, signed_up_at: datetime, counts: Counts, edges: Mapping[str, Collection[str]]) -> Facts:
    return replace(
        facts,
        customer_for=None if counts.customer_since is None else signed_up_at - counts.customer_since,
        advocate_for=None if counts.advocate_since is None else signed_up_at - counts.advocate_since,
        friends_of_ip=counts.friends_of_ip,
        friends_in_hour=counts.friends_in_hour,
        friends_in_day=counts.friends_in_day,
        networks=counts.networks,
        rejections=counts.rejections,
        edges=edges,
    )


async def _count(
    connection: Connection, asked: Sequence[Asked], program: Program, wanted: Collection[SignalId]
) -> list[Counts]:
    of_advocate = not {"advocate_velocity_hour", "advocate_velocity_day"}.isdisjoint(wanted)
    rejections = program.settings["advocate_suspended"].threshold if "advocate_suspended" in wanted else None
    chosen = Wanted("ip_velocity" in wanted, of_advocate, "many_networks" in wanted, int(rejections or 0))
    if not any(chosen) and {"already_customer", "fast_cycle"}.isdisjoint(wanted):
        return [Counts()] * len(asked)
    return await sign_ups.count(connection, asked, chosen)


async def _load_values(
    connection: Connection, asked: Sequence[Asked], kinds: Sequence[Kind], now: datetime, key: EvidenceKey
) -> Mapping[str, Sequence[Stored]]:
    """The values of both sides by customer, the newest first."""
    spans: dict[str, Span] = {}
    for referral in asked:
        for customer in (referral.friend_id, referral.advocate_id):
            span = spans.get(customer, Span(customer, referral.mark, referral.mark))
            spans[customer] = Span(customer, min(span.low, referral.mark), max(span.high, referral.mark))
    rows = await evidence.load_values(connection, spans.values(), kinds, now)
    stored: defaultdict[str, list[Stored]] = defaultdict(list)
    rows.sort(key=attrgetter("mark"), reverse=True)
    for customer, kind, mark, hash_, payload in rows:
        local = None if payload is None else key.open(customer, payload)
        stored[customer].append(Stored(_KINDS[kind], mark, hash_, local))
    return stored


async def _compare(
    connection: Connection,
    asked: Sequence[Asked],
    stored: Mapping[str, Sequence[Stored]],
    matcher: Matcher,
    now: datetime,
) -> list[Facts]:
    def matched(referral: Asked) -> Match:
        friend = as_of(stored.get(referral.friend_id, ()), referral.mark)
        return matcher.match(friend, as_of(stored.get(referral.advocate_id, ()), referral.mark))

    matches = await map_in_turns(matched, asked)
    pairs = list(zip(asked, matches, strict=True))
    candidates = {(hash_, referral.mark) for referral, match in pairs for hash_ in match.hashes}
    shared = await evidence.load_shared(connection, candidates, now)
    return [
        match.facts({hash_ for hash_ in match.hashes if (hash_, referral.mark) in shared}) for referral, match in pairs
    ]


async def forget(pool: Pool, now: datetime) -> None:
    """Job: delete the evidence and the sign-ups of more than 400 days ago."""
    await evidence.forget(pool, now)
    await sign_ups.forget(pool, now)


async def erase(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Erase what customers told before their erasure; see `erasure.EraseOwn`."""
    return await evidence.erase(connection, erasures, most) + await sign_ups.erase(connection, erasures, most)
