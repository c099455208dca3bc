"""The job that sends the mails that are due, a batch over one connection."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from services.notifications import handlers
from services.notifications.mail import PutOff, Refused, Server, Session, Taken, UnreachableError, compose, converse
from services.notifications.rendering import TEMPLATE_VERSION, Reader, Templates
from services.notifications.rules import gate
from services.notifications.rules.gate import Hold, Reason, Send, Skip
from services.notifications.store import mails
from services.notifications.store.mails import Mail, Settled
from services.notifications.store.messages import State
from shared import telemetry
from shared.postgres.pool import Pool

LEASE: Final = timedelta(minutes=10)
"""How long a worker owns a claimed batch; if it dies, others take the batch over after that."""

_PAUSE: Final = timedelta(seconds=30)
"""About how long mails wait that were claimed and not tried."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends due mails, at most `batch` in a run; each mail is tried `most_attempts` times.

    `random` (0 to 1) spreads the retries, `elapsed` is a clock in seconds.
    """

    templates: Templates
    server: Server
    address: str
    batch: int
    most_attempts: int
    random: Callable[[], float] = random.random
    elapsed: Callable[[], float] = time.monotonic

    async def run(self, pool: Pool, now: datetime) -> None:
        """Claim the mails that are due, and send, skip or defer each.

        No transaction is open during SMTP. The outcome of each mail is recorded as soon as it is sent, so a crash
        repeats at most one mail, with the same Message-ID. On cancellation the mail at hand is still sent and
        recorded, and the others are released.

        Raises:
            OSError, asyncpg.PostgresError: the database failed; claimed mails are due again after the lease.
        """
        claimed = await mails.claim(pool, now, LEASE, self.batch)
        judged = [
            (mail, gate.judge(mail.kind, mail.occurred_at, mail.created_at, mail.profile, now)) for mail in claimed
        ]
        await _record(pool, [_stay(mail, verdict) for mail, verdict in judged if not isinstance(verdict, Send)])
        going = deque((mail, verdict.address) for mail, verdict in judged if isinstance(verdict, Send))
        if not going:
            return
        try:
            await self._send_all(pool, going, now)
        except UnreachableError as error:
            _log.warning("mail_server_unreachable", error=str(error), waiting=len(going))
        finally:
            later = now + _PAUSE * (0.5 + self.random())
            await _record(pool, [_again(mail, later, attempts=mail.attempts - 1) for mail, _ in going])

    async def _send_all(self, pool: Pool, going: deque[tuple[Mail, str]], now: datetime) -> None:
        """Send the mails, and remove each from `going` when its outcome is recorded."""
        started = self.elapsed()
        async with converse(self.server) as session:
            while going:
                moment = now + timedelta(seconds=self.elapsed() - started)
                if moment - now > LEASE / 2:
                    break  # a slow server must not keep the rest from other workers
                await _unbroken(self._send_first(pool, session, going, moment))

    async def _send_first(self, pool: Pool, session: Session, going: deque[tuple[Mail, str]], now: datetime) -> None:
        mail, address = going[0]
        await _record(pool, [await self._send(session, mail, address, now)])
        going.popleft()

    async def _send(self, session: Session, mail: Mail, address: str, now: datetime) -> Settled:
        reader = Reader(mail.profile.name, mail.profile.locale, mail.profile.time_zone)
        try:
            text = self.templates.mail(mail.trigger, mail.facts, reader)
            message = compose(mail.id, self.address, address, text, now)
        except Exception as error:  # noqa: BLE001 a mail that cannot be rendered must not stop the others
            _log.error("mail_not_made", message_id=str(mail.id), trigger=mail.trigger, **telemetry.trace(error))
            return _final(mail, State.FAILED, Reason.TEMPLATE_FAILED)
        rendered = replace(mail, locale=text.language, template_version=TEMPLATE_VERSION)
        match await session.send(message):
            case Taken():
                return _final(rendered, State.SENT)
            case Refused(error):
                _log.warning("mail_refused", message_id=str(mail.id), error=error)
                return _final(rendered, State.FAILED, Reason.REJECTED)
            case PutOff(error):
                _log.warning("mail_put_off", message_id=str(mail.id), attempts=mail.attempts, error=error)
                if mail.attempts >= self.most_attempts:
                    return _final(rendered, State.FAILED, Reason.GIVEN_UP)
                return _again(mail, gate.next_attempt(mail.attempts, now, self.random()), attempts=mail.attempts)


async def _unbroken(work: Coroutine[None, None, None]) -> None:
    """Finish the work before a cancellation takes effect, so that a stopping worker repeats no mail."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _record(pool: Pool, outcomes: Sequence[Settled]) -> None:
    if outcomes:
        async with pool.acquire() as connection, connection.transaction():
            await handlers.settle(connection, outcomes)


def _stay(mail: Mail, verdict: Hold | Skip) -> Settled:
    if isinstance(verdict, Skip):
        return _final(mail, State.SKIPPED, verdict.reason)
    attempts = mail.attempts - 1
    return Settled(mail, State.HELD, attempts, mail.locale, mail.template_version, verdict.reason, verdict.until)


def _again(mail: Mail, due_at: datetime, *, attempts: int) -> Settled:
    return Settled(mail, State.QUEUED, attempts, mail.locale, mail.template_version, None, due_at)


def _final(mail: Mail, state: State, reason: Reason | None = None) -> Settled:
    return Settled(mail, state, mail.attempts, mail.locale, mail.template_version, reason)
