"""Reads of referrals for the people who review them: what has fallen due is applied first."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import structlog

from services.referrals.handlers import due, evidence
from services.referrals.rules.describing import Described, Purchased, describe
from services.referrals.rules.evidence.keys import EvidenceKey
from services.referrals.rules.program.compiled import Program, Setting
from services.referrals.rules.referral import Referral, State
from services.referrals.rules.signals import Facts
from services.referrals.store import codes, programs, purchases, queue, referrals, steps
from services.referrals.store.queue import Place
from services.referrals.store.sign_ups import Asked
from services.referrals.store.steps import Recorded
from shared import telemetry
from shared.postgres.pool import Connection, Pool, is_transient

_log = structlog.stdlib.get_logger(__name__)

_MOST_DUE: Final = 100
"""Advocates whose referrals fell due that a list applies at most: a job applies all."""


class Reviewed(NamedTuple):
    """A referral, with its code as customers spell it, and its history."""

    referral: Referral
    history: Sequence[Recorded]


class Wanted(NamedTuple):
    """A page of the queue: of a state or of all, below a place."""

    state: State | None
    before: Place | None
    limit: int


async def find_page(pool: Pool, wanted: Wanted, now: datetime, key: EvidenceKey | None) -> list[Reviewed]:
    """A page of referrals, the highest score first."""
    await _catch_up(pool, now, key)
    async with pool.acquire() as connection:
        if wanted.state is None:
            places = await queue.page(connection, wanted.before, wanted.limit)
        else:
            places = await queue.page_of_state(connection, wanted.state, wanted.before, now, wanted.limit)
        return await _read(connection, [place.referral_id for place in places])


async def _catch_up(pool: Pool, now: datetime, key: EvidenceKey | None) -> None:
    """Apply what has fallen due of a few advocates; lists leave out what is over anyway, if that fails."""
    async with pool.acquire() as connection:
        advocates = await referrals.due_advocates(connection, now, (), _MOST_DUE)
    if not advocates:
        return
    try:
        await due.refresh(pool, advocates, now, key)
    except Exception as error:
        if is_transient(error):
            raise
        _log.error("review_not_caught_up", **telemetry.trace(error))


async def find(
    pool: Pool, referral_id: UUID, now: datetime, key: EvidenceKey | None
) -> tuple[Reviewed, Described] | None:
    """A referral, its history, and the facts about both sides; None if it does not exist."""
    async with pool.acquire() as connection:
        stored = (await referrals.read(connection, [referral_id])).get(referral_id)
    if stored is None:
        return None
    await due.refresh(pool, [stored.advocate_id], now, key)
    async with pool.acquire() as connection:
        [reviewed] = await _read(connection, [referral_id])
        # Facts are found by the code's key.
        return reviewed, await _described(connection, replace(reviewed.referral, code=stored.code), now, key)


async def read(connection: Connection, referral_id: UUID) -> Reviewed:
    """A referral and its history, within the transaction that decided about it."""
    [reviewed] = await _read(connection, [referral_id])
    return reviewed


async def _read(connection: Connection, ids: Collection[UUID]) -> list[Reviewed]:
    stored = await referrals.read(connection, ids)
    history = await steps.load(connection, list(ids))
    spelled = await codes.spelled(connection, {referral.code for referral in stored.values()})
    return [
        Reviewed(replace(stored[id_], code=spelled[stored[id_].code]), history[id_]) for id_ in ids if id_ in stored
    ]


async def _described(connection: Connection, referral: Referral, now: datetime, key: EvidenceKey | None) -> Described:
    program = (await programs.load_published(connection)).version(referral.program_version)
    others = await queue.count_others(connection, referral.advocate_id, referral.referral_id)
    purchased = None
    if referral.order_id is not None:
        order_key = referral.friend_id, referral.order_id
        order = (await purchases.load_orders(connection, {order_key})).get(order_key)
        if order is not None:
            purchased = Purchased(order.purchase.total, order.purchase.currency, order.time)
    facts = await _facts(connection, referral, now, key)
    return describe(referral, facts, others, purchased, program)


async def _facts(connection: Connection, referral: Referral, now: datetime, key: EvidenceKey | None) -> Facts:
    """What is stored about both sides by now, by every signal of the program in force, also by those that are off."""
    program = await programs.load_program(connection, now)
    asked = Asked(referral.referral_id, referral.friend_id, referral.advocate_id, referral.code, referral.signed_up_at)
    [facts] = await evidence.load_facts(connection, [asked], _with_all_signals(program), now, key)
    return facts


def _with_all_signals(program: Program) -> Program:
    settings = {id_: Setting("score", 0, setting.threshold) for id_, setting in program.settings.items()}
    return replace(program, settings=settings)
