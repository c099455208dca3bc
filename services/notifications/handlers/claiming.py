"""Claims mails that are due: judges them by what is known now, under the locks of their customers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.notifications.handlers import settling
from services.notifications.handlers.desk import Journeys
from services.notifications.handlers.judging import Judge
from services.notifications.handlers.stopping import stopped
from services.notifications.rules.gate import Candidate, Hold, Send, Verdict
from services.notifications.rules.message import Channel, Reason, State
from services.notifications.store import customers, mails
from services.notifications.store.mails import Mail, Settled
from shared.postgres.pool import Connection

LEASE: Final = timedelta(minutes=10)
"""How long a worker owns a claimed batch; if it dies, others take the batch over after that."""


@dataclass(frozen=True, slots=True)
class Claimer:
    """What judges messages that are due: the gate, and the journeys that asked for them."""

    judge: Judge
    journeys: Journeys


async def claim(
    connection: Connection, claimer: Claimer, channel: Channel, now: datetime, limit: int
) -> list[tuple[Mail, str]] | None:
    """Claim up to `limit` due mails, oldest first, with the address of each; no other worker has them for the lease.

    Those that the gate does not let pass now are recorded as held or skipped. None: no mail is due; there may be
    others where the list is empty.
    """
    found = await mails.find_due(connection, channel, now, limit)
    if not found:
        return None
    profiles = await customers.lock(connection, {customer_id for _, customer_id in found})
    # Another worker may have claimed or settled them before the customers were locked.
    due = await mails.load_due(connection, [message_id for message_id, _ in found], profiles, now)
    if unwanted := await stopped(claimer.journeys, connection, due, now):
        await settling.settle(connection, [_skipped(mail) for mail in due if mail.id in unwanted])
        due = [mail for mail in due if mail.id not in unwanted]
    judged = await claimer.judge.judge(
        connection, profiles, [(mail.customer_id, _candidate(mail)) for mail in due], now
    )
    if staying := _stay(zip(due, (verdict for verdict, _ in judged), strict=True)):
        await settling.settle(connection, staying)
    going = [
        (mail.claimed(recipient), verdict.address)
        for mail, (verdict, recipient) in zip(due, judged, strict=True)
        if isinstance(verdict, Send)
    ]
    await mails.lease(connection, [mail.id for mail, _ in going], now, now + LEASE)
    return going


def _skipped(mail: Mail) -> Settled:
    state, reason = State.SKIPPED, Reason.JOURNEY_STOPPED
    return Settled(mail, state, mail.attempts, mail.locale, mail.template_version, reason, None)


def _candidate(mail: Mail) -> Candidate:
    return Candidate(mail.kind, mail.topic, mail.channel, mail.occurred_at, mail.created_at)


def _stay(judged: Iterable[tuple[Mail, Verdict]]) -> Sequence[Settled]:
    return [
        Settled(
            mail,
            State.HELD if isinstance(verdict, Hold) else State.SKIPPED,
            mail.attempts,
            mail.locale,
            mail.template_version,
            verdict.reason,
            verdict.until if isinstance(verdict, Hold) else None,
        )
        for mail, verdict in judged
        if not isinstance(verdict, Send)
    ]
