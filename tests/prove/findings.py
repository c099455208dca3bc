"""The services' state after a run, read by SQL of its own and through the HTTP API."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import httpx
from pydantic_core import from_json

from services import SERVICES
from services.points.rules.program.checking import parse
from services.points.rules.program.limits import Cut
from services.points.rules.program.ruleset import RuleBook, RuleSet
from shared.postgres.pool import Pool
from tests.prove import tiered
from tests.prove.replay.statement import Entry, Line
from tests.prove.tiered import Tiers
from tests.referrals.oracles.program import Program

_AT_ONCE: Final = 12
_MOST_TRIES: Final = 30

ASKED_AT: Final = "asked at"
"""The field of an answer with the instant of the question."""

STATEMENT_SQL: Final = """
SELECT id::text, customer_id, sequence, kind, points, available_after, pending_after, held_after, debt_after,
       earned_after, redeemed_after, reason, inputs, occurred_at, recorded_at
FROM transaction ORDER BY customer_id, sequence
"""
CUTS_SQL: Final = """
SELECT customer_id, 'order/' || order_id AS origin, found FROM purchase WHERE found::text <> '{}'
UNION ALL SELECT customer_id, origin, found FROM accrual WHERE found::text <> '{}'
"""
# Rows that are still in the outbox count as published: the next worker publishes them.
OUTBOX_SQL: Final = """
SELECT id, topic, key, value FROM proof_outbox WHERE id NOT IN (SELECT id FROM outbox) ORDER BY id
"""
INBOX_SQL: Final = "SELECT digest FROM inbox"
DEAD_SQL: Final = 'SELECT topic, partition, "offset", reason, error FROM dead_letter'
USES_SQL: Final = "SELECT rule, count, points FROM limit_use WHERE owner = ''"
ENTRIES_SQL: Final = """
SELECT customer_id, effective_at, tier, multiplier FROM tier_entry ORDER BY customer_id, effective_at
"""
REFERRALS_SQL: Final = """
SELECT code, advocate_id, friend_id, state, reason, order_id, advocate_points, friend_points FROM referral
"""
REFERRAL_KEYS_SQL: Final = "SELECT referral_id::text, friend_id, code FROM referral"
REFERRAL_PROGRAMS_SQL: Final = """
SELECT version, document, effective_at FROM document_version
WHERE kind = 'referral_program' AND effective_at IS NOT NULL ORDER BY version
"""
# A mail that was too late already when it was made is told by the inbox message alone.
MESSAGES_SQL: Final = """
SELECT customer_id, channel, trigger, occasion, state FROM message
UNION ALL
SELECT customer_id, unsent.key, trigger, occasion, 'skipped' FROM message, json_each(message.unsent) AS unsent
"""
WRITTEN_SQL: Final = """
SELECT 'redemption ' || id::text AS id FROM redemption WHERE hold_id IS NULL
UNION ALL SELECT 'hold ' || id::text FROM hold
"""
REWARDS_SQL: Final = """
SELECT reward.stock, coalesce(sum(had.quantity), 0)::bigint, coalesce(max(had.quantity), 0)::bigint
FROM reward LEFT JOIN (
    SELECT reward_id, customer_id, sum(quantity) AS quantity
    FROM redemption WHERE cancelled_at IS NULL GROUP BY reward_id, customer_id
) AS had ON had.reward_id = reward.id
GROUP BY reward.id
"""

Steps = Mapping[str, Sequence[tuple[datetime, str, str]]]
"""Instant, tier and multiplier of each step of a timeline, by customer."""


@dataclass(frozen=True, slots=True)
class Published:
    """A row that was committed to an outbox."""

    id: int
    topic: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Dead:
    """A dead letter: where its record is, and why it was refused."""

    place: tuple[str, int, int]
    reason: str
    error: str


@dataclass(frozen=True, slots=True)
class Points:
    """The ledger: statements by customer, cuts by limits of the program by customer and origin, and uses of limits."""

    statements: Mapping[str, Sequence[Entry]]
    cuts: Mapping[str, Mapping[str, Mapping[str, Cut]]]
    uses: Mapping[str, tuple[int, int]]
    rules: RuleBook
    tiers: Steps
    written: frozenset[str]
    rewards: Sequence[tuple[int, int, int]]
    """Of each reward: what is left of its stock, how many were redeemed, and how many by one customer at most."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The state to check, from databases after the last write."""

    points: Points
    tiers: Tiers
    referral_programs: Sequence[Program]
    referrals: Sequence[tuple[Any, ...]]
    referral_keys: Mapping[str, tuple[str, str]]
    """The friend and the code of each referral, by its id."""
    messages: Sequence[tuple[Any, ...]]
    outboxes: Mapping[str, Sequence[Published]]
    inboxes: Mapping[str, frozenset[UUID]]
    dead: Mapping[str, Sequence[Dead]]


async def read(pools: Mapping[str, Pool], versions: Iterable[Mapping[str, Any]]) -> Findings:
    """Read the state; `versions` are the earning rules from the API."""
    outboxes = {service: [Published(*row) for row in await pools[service].fetch(OUTBOX_SQL)] for service in SERVICES}
    return Findings(
        points=await _points(pools["points"], versions, outboxes["points"]),
        tiers=await tiered.read(pools["tiers"]),
        referral_programs=[Program(*row) for row in await pools["referrals"].fetch(REFERRAL_PROGRAMS_SQL)],
        referrals=[tuple(row) for row in await pools["referrals"].fetch(REFERRALS_SQL)],
        referral_keys={row[0]: (row[1], row[2]) for row in await pools["referrals"].fetch(REFERRAL_KEYS_SQL)},
        messages=[tuple(row) for row in await pools["notifications"].fetch(MESSAGES_SQL)],
        outboxes=outboxes,
        inboxes={service: frozenset(row[0] for row in await pools[service].fetch(INBOX_SQL)) for service in SERVICES},
        dead={
            service: [Dead(tuple(row)[:3], row[3], row[4]) for row in await pools[service].fetch(DEAD_SQL)]
            for service in SERVICES
        },
    )


async def _points(pool: Pool, versions: Iterable[Mapping[str, Any]], outbox: Sequence[Published]) -> Points:
    causes = _causes(outbox)
    statements: defaultdict[str, list[Entry]] = defaultdict(list)
    for row in await pool.fetch(STATEMENT_SQL):
        id_, customer, sequence, *numbers = tuple(row)[:11]
        details = (row["reason"], row["inputs"], row["occurred_at"], row["recorded_at"])
        statements[customer].append(Entry(id_, sequence, Line(*numbers), *details, causes.get(id_)))
    cuts: defaultdict[str, dict[str, Mapping[str, Cut]]] = defaultdict(dict)
    for row in await pool.fetch(CUTS_SQL):
        cuts[row["customer_id"]][row["origin"]] = {rule: Cut(*cut) for rule, cut in row["found"].items()}
    uses = {row["rule"]: (row["count"], row["points"]) for row in await pool.fetch(USES_SQL)}
    written = frozenset(row[0] for row in await pool.fetch(WRITTEN_SQL))
    tiers = _steps(await pool.fetch(ENTRIES_SQL))
    rewards = [tuple(row) for row in await pool.fetch(REWARDS_SQL)]
    return Points(statements, cuts, uses, _book(versions), tiers, written, rewards)


def _causes(outbox: Sequence[Published]) -> dict[str, str]:
    """The causation id of each transaction's event, by transaction."""
    causes: dict[str, str] = {}
    for item in outbox:
        event = from_json(item.value)
        if not event["type"].endswith(".expiring.v1"):
            causes[event["data"]["transaction_id"]] = event["causationid"]
    return causes


def _book(versions: Iterable[Mapping[str, Any]]) -> RuleBook:
    return RuleBook(
        [
            (
                datetime.fromisoformat(version["effective_at"]),
                RuleSet.of(version["version"], parse(version["document"])),
            )
            for version in versions
            if version["status"] == "published"
        ]
    )


def _steps(rows: Iterable[Any]) -> Steps:
    steps: defaultdict[str, list[tuple[datetime, str, str]]] = defaultdict(list)
    for customer, *step in rows:
        steps[customer].append(tuple(step))  # type: ignore[arg-type]
    return steps


async def balances(client: httpx.AsyncClient, customers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Every customer's balance from the API."""
    return await _ask(client, customers, "points")


async def standings(client: httpx.AsyncClient, customers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Every customer's tier from the API."""
    return await _ask(client, customers, "tier")


async def _ask(client: httpx.AsyncClient, customers: Sequence[str], what: str) -> dict[str, dict[str, Any]]:
    """The API's answers about customers, each with the instant of the question."""
    by_customer: dict[str, dict[str, Any]] = {}
    left = iter(customers)

    async def ask() -> None:
        for customer in left:
            path = f"/v1/customers/{quote(customer, safe='')}/{what}"
            asked_at, answer = await _read(client, path)
            by_customer[customer] = answer.raise_for_status().json() | {ASKED_AT: asked_at}

    await asyncio.gather(*(ask() for _ in range(_AT_ONCE)))
    return by_customer


async def _read(client: httpx.AsyncClient, path: str) -> tuple[datetime, httpx.Response]:
    """The instant of the question, and its answer; a busy service is asked again, as any client would."""
    tries = 0
    while True:
        asked_at, tries = datetime.now(UTC), tries + 1
        answer = await client.get(path, timeout=30.0)
        if answer.status_code != 503 or tries == _MOST_TRIES:
            return asked_at, answer
        await asyncio.sleep(float(answer.headers["Retry-After"]))


async def earning_rules(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """The versions of the earning rules."""
    answer = await client.get("/v1/earning-rules")
    versions: list[dict[str, Any]] = answer.raise_for_status().json()["data"]
    return versions
