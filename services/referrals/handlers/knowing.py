"""Loads what judging asks for: all of it at once, whatever the number of referrals."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from services.referrals.handlers import evidence
from services.referrals.rules.evidence.keys import EvidenceKey
from services.referrals.rules.judging import Ask, Known, Wanted
from services.referrals.rules.signals import Facts
from services.referrals.store import programs, purchases, rewards
from services.referrals.store.sign_ups import Asked
from shared.postgres.orders import with_refunds
from shared.postgres.pool import Connection


async def begin(connection: Connection, now: datetime) -> Known:
    """What is known before anything is asked for: the published programs."""
    return Known(await programs.load_published(connection), now)


async def learn(connection: Connection, known: Known, wanted: Wanted, key: EvidenceKey | None) -> Known:
    """What is known, with what was wanted."""
    orders = await purchases.load_orders(connection, wanted.orders)
    return replace(
        known,
        facts={**known.facts, **await _facts(connection, known, list(wanted.facts), key)},
        accounts={**known.accounts, **await rewards.load_accounts(connection, wanted.accounts)},
        paid={**known.paid, **await rewards.load_paid(connection, wanted.spans)},
        orders={**known.orders, **await with_refunds(connection, orders)},
    )


async def _facts(
    connection: Connection, known: Known, asked: Sequence[Ask], key: EvidenceKey | None
) -> dict[Ask, Facts]:
    program = known.programs.in_force(known.now)
    facts = await evidence.load_facts(connection, [Asked(*ask) for ask in asked], program, known.now, key)
    return dict(zip(asked, facts, strict=True))
