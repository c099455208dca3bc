"""Which messages that wait are not wanted any more: their journey is disabled, or what they warn of is over."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from services.notifications.handlers.desk import Journeys
from services.notifications.rules.journey.machine import left_of
from services.notifications.store import standings
from services.notifications.store.mails import Mail
from services.notifications.store.standings import Row
from shared.postgres.pool import Connection

_NOBODY = Row()


async def stopped(journeys: Journeys, connection: Connection, mails: Sequence[Mail], now: datetime) -> set[UUID]:
    """The ids of those messages to locked customers."""
    in_force = await journeys.at(connection, now)
    found = {mail.id for mail in mails if mail.trigger in in_force.stopped}
    warnings = [mail for mail in mails if mail.trigger in in_force.of_points and mail.id not in found]
    rows = await standings.load(connection, {mail.customer_id for mail in warnings})
    for mail in warnings:
        row = rows.get(mail.customer_id, _NOBODY)
        if left_of(mail.facts, row.available, row.spent) <= 0:
            found.add(mail.id)
    return found
