"""Events that tell of customers, stored as the worker stores them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from services.referrals.handlers.evidence import Asked, Marks, SignUpRow, load_facts, record, trace
from services.referrals.rules.evidence.keys import EvidenceKey, key_of
from services.referrals.rules.program.compiled import Program
from services.referrals.rules.signals import Facts
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.referrals.shop import START, event

KEY = key_of("a secret of the tests, thirty-two characters")
NAMESPACE = UUID(int=18)


def registered(customer_id: str, hours: float = 0, **fields: Any) -> Event:
    return event("shop.customer.registered.v1", hours, {"customer_id": customer_id} | fields)


def updated(customer_id: str, hours: float = 0, **fields: Any) -> Event:
    return event("shop.customer.updated.v1", hours, {"customer_id": customer_id} | fields)


def signed_up(friend_id: str, hours: float = 0, code: str = "ADA", **fields: Any) -> Event:
    return event("shop.referral.signed_up.v1", hours, {"customer_id": friend_id, "code": code} | fields)


def referral_of(friend_id: str, code: str = "ADA") -> UUID:
    return uuid5(NAMESPACE, f"{friend_id}/{code}")


def is_sign_up(event: Event) -> bool:
    return event.type == "shop.referral.signed_up.v1"


def code_of(event: Event) -> str:
    return event.data.code  # pyright: ignore[reportAttributeAccessIssue]


async def store(pool: Pool, *events: Event, now: datetime = START, key: EvidenceKey | None = KEY) -> Marks:
    """Store a batch, with the traces of its sign-ups; the owner of a code has its name in lower case."""
    async with pool.acquire() as connection, connection.transaction():
        marks = await record(connection, events, now, key)
        rows = [
            SignUpRow(
                referral_of(each.customer_id, code_of(each)),
                code_of(each).lower(),
                code_of(each),
                marks.at(index),
                each,
            )
            for index, each in enumerate(events)
            if is_sign_up(each)
        ]
        await trace(connection, rows, key)
        return marks


def asked(sign_up: Event, mark: int | None = None) -> Asked:
    code, friend_id = code_of(sign_up), sign_up.customer_id
    known = Asked(referral_of(friend_id, code), friend_id, code.lower(), code, sign_up.time)
    return known if mark is None else known._replace(mark=mark)


async def facts_of(
    pool: Pool,
    program: Program,
    *wanted: Asked,
    now: datetime = START,
    key: EvidenceKey | None = KEY,
) -> list[Facts]:
    async with pool.acquire() as connection:
        return await load_facts(connection, wanted, program, now, key)


async def facts_now(pool: Pool, program: Program, sign_up: Event, now: datetime = START) -> Facts:
    """The facts about a sign-up, by all that is stored."""
    (facts,) = await facts_of(pool, program, asked(sign_up), now=now)
    return facts


async def in_batches(pool: Pool, program: Program, batches: Sequence[Sequence[Event]]) -> list[Facts]:
    """Store batches; the facts about each sign-up as of its own place in the order of handling."""
    found: list[Facts] = []
    for batch in batches:
        marks = await store(pool, *batch)
        wanted = [asked(each, marks.at(index)) for index, each in enumerate(batch) if is_sign_up(each)]
        found += await facts_of(pool, program, *wanted)
    return found
