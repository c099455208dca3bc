"""Loads what judging asks for: all of it at once, whatever the number of referrals."""

from dataclasses import replace
from datetime import datetime

from services.referrals.rules.judging import Known, Wanted
from services.referrals.rules.signals import NOTHING
from services.referrals.store import programs, purchases, rewards
from shared.postgres.orders import with_refunds
from shared.postgres.pool import Connection


async def begin(connection: Connection, now: datetime) -> Known:
    """What is known before anything is asked for: the published programs."""
    return Known(await programs.load_published(connection), now)


async def learn(connection: Connection, known: Known, wanted: Wanted) -> Known:
    """What is known, with what was wanted."""
    orders = await purchases.load_orders(connection, wanted.orders)
    return replace(
        known,
        facts={**known.facts, **dict.fromkeys(wanted.facts, NOTHING)},
        accounts={**known.accounts, **await rewards.load_accounts(connection, wanted.accounts)},
        paid={**known.paid, **await rewards.load_paid(connection, wanted.spans)},
        orders={**known.orders, **await with_refunds(connection, orders)},
    )
