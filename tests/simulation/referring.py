"""Referrals in a simulated world: their program, the last sweep, and what has to have come of them."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from services.referrals.handlers import day
from shared.contracts.envelope import Event
from shared.contracts.topics import PURCHASES
from shared.postgres.pool import open_pool
from tests.prove.lives import code_of
from tests.prove.replay.referrals import Terms, replay
from tests.referrals.oracles.program import Program
from tests.simulation.history import CUSTOMERS
from tests.simulation.watch import Watch

PROGRAM: Final[dict[str, Any]] = {
    "advocate_points": 300,
    "friend_points": 100,
    "currency": "USD",
    "rates": {"EUR": "1.08"},
    "qualifies": {"nth_order": 1, "amount_at_least": "100.00", "within_days": 100},
    "hold_days": 92,
    "signals": [
        {"id": "already_bought", "action": "flag"},
        {"id": "already_referred", "action": "block"},
        {"id": "threshold_order", "action": "block"},
    ],
    "undecided": {"after_days": 14, "then": "reject"},
}
"""The hold of an order of the first instant ends when the world begins, all others in the last sweep."""

PREPARE_SQL: Final = """
INSERT INTO document_version (kind, id, version, document, created_at, published_at, effective_at)
VALUES ('referral_program', '', 2, {document}, now(), now(), '2020-01-01');
INSERT INTO referral_code (customer_id, code, created_at) VALUES {codes};
"""
VERSIONS_SQL: Final = """
SELECT version, document, effective_at FROM document_version
WHERE kind = 'referral_program' AND effective_at IS NOT NULL ORDER BY version
"""
STORED_SQL: Final = """
SELECT code, advocate_id, friend_id, state, reason, order_id, advocate_points, friend_points FROM referral
"""
TAKEN_SQL: Final = "SELECT referral_id::text, state, count(*) AS times FROM referral_step GROUP BY 1, 2"


def prepare(watch: Watch) -> None:
    """Put the program into force, and give everybody a code."""
    codes = ", ".join(f"('{customer}', '{code_of(customer)}', now())" for customer in CUSTOMERS)
    watch.run(PREPARE_SQL.format(document="'" + json.dumps(PROGRAM) + "'", codes=codes))


async def sweep(url: str, at: datetime) -> None:
    """Apply everything that falls due by an instant."""
    pool = await open_pool(url, application="office", max_size=2)
    try:
        await day.sweep(pool, at)
    finally:
        pool.terminate()


def violations(events: Sequence[Event], watch: Watch, sweeps: tuple[datetime, datetime]) -> Iterator[str]:
    """The outcome of every friend is that of some interleaving, and every step was told once."""
    programs = [Program(*row) for row in watch.rows(VERSIONS_SQL)]
    terms = Terms(programs, {code_of(customer): customer for customer in CUSTOMERS}, *sweeps)
    stored: defaultdict[str, set[tuple[object, ...]]] = defaultdict(set)
    for row in watch.rows(STORED_SQL):
        stored[row["friend_id"]].add(tuple(row))
    of_friend: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events:
        of_friend[event.customer_id].append(event)
    for friend in sorted(of_friend.keys() | stored.keys()):
        orders = [event for event in of_friend[friend] if event.record.topic == PURCHASES]
        sign_ups = [event for event in of_friend[friend] if event.record.topic != PURCHASES]
        possible = replay(terms, orders, sign_ups).outcomes
        if frozenset(stored[friend]) not in possible:
            yield f"{friend} has {stored[friend]}, and should have one of {possible}"
    told = Counter[tuple[str, str]]()
    for row in watch.rows("SELECT value FROM announced"):
        event = json.loads(row["value"])
        told[event["data"]["referral_id"], event["type"].split(".")[2]] += 1
    taken = {(row["referral_id"], row["state"]): row["times"] for row in watch.rows(TAKEN_SQL)}
    if told != taken:
        yield f"steps {taken}, told {dict(told)}"
