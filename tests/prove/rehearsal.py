"""A run without Kafka or processes, for the tests: handlers on real databases, one batch after another.

Versions of the tier program take effect during it, tiers are given by hand, and what falls due is swept ahead of time.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

from services.points.handlers import balances
from services.referrals.handlers.day import sweep as sweep_referrals
from services.referrals.handlers.events import handle as handle_referrals
from services.referrals.rules.evidence.keys import EvidenceKey
from services.tiers.api.views import TierView
from services.tiers.handlers import day, standing
from services.tiers.handlers.applying import apply_versions
from services.tiers.handlers.assigning import Given, assign
from services.tiers.handlers.opening import Call
from services.tiers.store import programs, publications
from services.tiers.store.programs import Programs
from shared.contracts.envelope import Event, Record, decode
from shared.contracts.reasons import Malformed
from shared.contracts.values import format_instant
from shared.messaging.batch import Batch, Malformation
from shared.messaging.delivery import Delivery
from shared.messaging.positions import Group
from shared.postgres.pool import Pool
from tests.points.oracles.machine import publish
from tests.prove import findings, history, log, progress, referring, tiered, tiering
from tests.prove.checks.oracle import Evidence
from tests.prove.earning import DOCUMENT
from tests.prove.history import History
from tests.prove.items import STRUCTURED
from tests.prove.lives import code_of
from tests.prove.log import Log
from tests.prove.stage import KEEP_OUTBOX_SQL
from tests.prove.tiered import Quiet
from tests.prove.writes import Kind, Write
from tests.support import postgres
from tests.support.documents import put_into_force
from tests.support.headers import in_bytes
from tests.tiers import given

SERVICES: Final = ("tiers", "referrals", "points", "notifications")
"""In the order of their events; they take turns until nobody publishes any more."""

_KEY: Final = EvidenceKey("a key of the rehearsal, long enough for evidence")
_QUIET: Final = timedelta(days=7)
_AHEAD: Final = timedelta(days=45)

_BATCH: Final = 100
VERSIONS_SQL: Final = "SELECT version, 'published' AS status, document, effective_at FROM document_version"


async def rehearse(url: str, seed: int, size: history.Size) -> tuple[History, Evidence]:
    """Handle a history on new databases, and gather the evidence for the checks."""
    shop_history = history.make(seed, size)
    begin = datetime.now(UTC)
    async with AsyncExitStack() as databases:
        pools = {service: await databases.enter_async_context(postgres.database(url, service)) for service in SERVICES}
        for pool in pools.values():
            await pool.execute(KEEP_OUTBOX_SQL)
        await publish(pools["points"], DOCUMENT, begin - timedelta(hours=1))
        await pools["referrals"].executemany(
            "INSERT INTO referral_code VALUES ($1, $2, now())",
            [(advocate, code_of(advocate)) for advocate in shop_history.advocates],
        )
        await put_into_force(pools["referrals"], "referral_program", referring.PROGRAM, begin - timedelta(hours=1))
        rehearsal = _Rehearsal(pools, _published(shop_history, begin))
        await given.publish(pools["tiers"], (begin + timedelta(milliseconds=1), tiering.STEPWISE))
        await rehearsal.settle()
        writes = await _give_tiers(pools["tiers"], shop_history.customers)
        until = datetime.now(UTC)
        await sweep_referrals(pools["referrals"], until + _AHEAD, _KEY)
        await rehearsal.settle()
        now = await _publish_two(pools["tiers"])
        quiet = await tiered.watch(pools["tiers"], now + _QUIET, day.run(pools["tiers"], now + _QUIET))
        await day.run(pools["tiers"], until + _AHEAD)
        await rehearsal.settle()
        rest = Rest(writes, quiet, until, until + _AHEAD)
        return shop_history, await _evidence(pools, shop_history, rehearsal.read(), rest)


class Rest(NamedTuple):
    """What happened beside the events."""

    writes: Sequence[Write]
    quiet: Quiet
    until: datetime
    ahead: datetime


@dataclass(slots=True)
class _Rehearsal:
    """The databases, and all records that were published."""

    pools: Mapping[str, Pool]
    records: list[Record]
    handled: Counter[str] = field(default_factory=Counter[str])
    """The number of records that a service has handled or passed over."""

    def read(self) -> Log:
        """The log."""
        return log.arranged(iter(self.records))

    async def settle(self) -> None:
        """Let the services handle everything, and what follows from it."""
        for service in SERVICES:
            self.records += await _announced(self.pools[service])
        while any(self.handled[service] < len(self.records) for service in SERVICES):
            for service in SERVICES:
                new = self.records[self.handled[service] :]
                self.handled[service] = len(self.records)
                await _handle(self.pools[service], service, log.arranged(iter(new)))
                self.records += await _announced(self.pools[service])


async def _give_tiers(pool: Pool, customers: Sequence[str]) -> list[Write]:
    """Give some customers a tier by hand, for good and for a day; returns the writes as the API would answer them."""
    writes: list[Write] = []
    for number, customer in enumerate(customers[:2]):
        now = datetime.now(UTC)
        until = now + timedelta(days=1) if number else None
        async with pool.acquire() as connection, connection.transaction():
            gold = Given("gold", until, until is not None, "proof")
            call = Call(customer, f"r{number}", "proof", now)
            await assign(connection, await programs.load_all(connection), call, gold)
        body = {"tier": "gold", "locked": until is not None} | ({"until": until.isoformat()} if until else {})
        writes.append(Write(f"by-hand-{number}", Kind.ASSIGN, customer, "/", body, "PUT", status=200))
    return writes


async def _publish_two(pool: Pool) -> datetime:
    """Publish two versions, one right after the other, and apply them to everybody; returns when."""
    now = datetime.now(UTC)
    instants = (now, now + timedelta(microseconds=1))
    await given.publish(pool, (instants[0], tiering.EARNED), (instants[1], tiering.STEPWISE))
    async with pool.acquire() as connection:
        for version, at in enumerate(instants, 3):
            await publications.add(connection, version, at, at)
    await apply_versions(pool, datetime.now(UTC))
    return now


def _published(shop_history: History, begin: datetime) -> list[Record]:
    """The records of a history, in one partition."""
    offsets: defaultdict[str, int] = defaultdict(int)
    records: list[Record] = []
    for item in shop_history.items:
        topic = item.event.topic
        key, value, headers = item.record(begin)
        records.append(Record(topic, 0, offsets[topic], key, value, in_bytes(headers), datetime.now(UTC)))
        offsets[topic] += 1
    return records


async def _handle(pool: Pool, service: str, read: Log) -> None:
    spec = progress.spec(service)
    handle = partial(handle_referrals, key=_KEY) if service == "referrals" else spec.handle
    delivery = Delivery(pool, Group("rehearsal", spec.group), handle)
    records = [item.record for item in read.all() if item.record.topic in spec.topics]
    for at in range(0, len(records), _BATCH):
        events, malformed = _decoded(records[at : at + _BATCH], spec.wanted)
        assert await delivery.deliver(Batch({}, events, malformed, 0), lambda _: False)


def _decoded(records: Sequence[Record], wanted: frozenset[str]) -> tuple[list[Event], list[Malformation]]:
    events: list[Event] = []
    malformed: list[Malformation] = []
    for record in records:
        try:
            event = decode(record, wanted)
        except Malformed as error:
            malformed.append(Malformation(record, error.reason, error.detail, error.type))
        else:
            events += [event] if event is not None else []
    return events, malformed


async def _announced(pool: Pool) -> list[Record]:
    rows = await pool.fetch("WITH taken AS (DELETE FROM outbox RETURNING *) SELECT * FROM taken ORDER BY id")
    headers = in_bytes([STRUCTURED])
    return [Record(row["topic"], 0, row["id"], row["key"], row["value"], headers, datetime.now(UTC)) for row in rows]


async def _evidence(pools: Mapping[str, Pool], shop_history: History, read: Log, rest: Rest) -> Evidence:
    customers = sorted({item.event.customer_id for item in read.all() if item.event is not None})
    balance_of = {customer: await _balance(pools["points"], customer) for customer in customers}
    versions = [
        dict(row) | {"effective_at": format_instant(row["effective_at"])}
        for row in await pools["points"].fetch(VERSIONS_SQL)
    ]
    stored = await findings.read(pools, versions)
    standings = {customer: await _standing(pools["tiers"], customer) for customer in customers}
    about = (balance_of, customers, shop_history.advocates)
    return Evidence(SERVICES, read, rest.writes, stored, *about, standings, rest.until, rest.ahead, rest.quiet)


async def _standing(pool: Pool, customer: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    view = TierView.of(await standing.read(pool, Programs(), customer, now), None)
    return view.model_dump(mode="json", by_alias=True) | {findings.ASKED_AT: now}


async def _balance(pool: Pool, customer: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    account = (await balances.balance(pool, customer, now)).account
    names = ("available", "pending", "held", "debt")
    balance = {name: getattr(account, name) for name in names}
    return balance | {
        "lifetime_earned": account.earned,
        "lifetime_redeemed": account.redeemed,
        "as_of": now.isoformat(),
    }
