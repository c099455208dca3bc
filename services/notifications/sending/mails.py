"""The job that sends the mails that are due, several at a time."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from services.notifications.channels import port
from services.notifications.channels.port import PutOff, Refused, Taken, UnreachableError
from services.notifications.handlers import claiming, settling
from services.notifications.handlers.claiming import LEASE, Claimer
from services.notifications.handlers.library import Library, Shown, reader_of
from services.notifications.rendering.renderer import MailText, TemplateFailedError
from services.notifications.rules import gate
from services.notifications.rules.message import Channel, Reason, State
from services.notifications.rules.notice import complete
from services.notifications.store.mails import Mail, Settled
from shared import telemetry
from shared.postgres.pool import Pool

_PAUSE: Final = timedelta(seconds=30)
"""About how long mails wait that were claimed and not tried."""

_LOOKS: Final = 5
"""How often a run looks for mails where others have claimed, or the gate has stopped, all that it found."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends due mails, at most `batch` in a run; each mail is tried `most_attempts` times.

    `random` (0 to 1) spreads the retries, `elapsed` is a clock in seconds.
    """

    library: Library
    claimer: Claimer
    channel: port.Port[port.Mail]
    batch: int
    most_attempts: int
    random: Callable[[], float] = random.random
    elapsed: Callable[[], float] = time.monotonic

    async def run(self, pool: Pool, now: datetime) -> None:
        """Claim the mails that are due, and send, skip or defer each.

        No transaction is open during SMTP. The outcome of each mail is recorded as soon as it is sent, so a crash
        repeats at most one mail per connection, with the same Message-ID. On cancellation the mails at hand are still
        sent and recorded, and the others are released.

        Raises:
            OSError, asyncpg.PostgresError: the database failed; claimed mails are due again after the lease.
        """
        await self.channel.rest()
        going = await self._claim(pool, now)
        if not going:
            return
        try:
            async with pool.acquire() as connection:
                shown = await self.library.open(connection)
            await self._send_all(pool, shown, going, now)
        except UnreachableError as error:
            _log.warning("mail_server_unreachable", error=str(error), waiting=len(going))
        finally:
            later = now + _PAUSE * (0.5 + self.random())
            await _record(pool, [_again(mail, later, attempts=mail.attempts - 1) for mail, _ in going])

    async def _claim(self, pool: Pool, now: datetime) -> deque[tuple[Mail, str]]:
        for _ in range(_LOOKS):
            async with pool.acquire() as connection, connection.transaction():
                claimed = await claiming.claim(connection, self.claimer, Channel.EMAIL, now, self.batch)
            if claimed or claimed is None:
                return deque(claimed or ())
        return deque()

    async def _send_all(self, pool: Pool, shown: Shown, going: deque[tuple[Mail, str]], now: datetime) -> None:
        """Send the mails, each of which leaves `going` when it is tried; what is not tried stays.

        Raises:
            UnreachableError: the server cannot be reached.
        """
        started = self.elapsed()

        async def work() -> None:
            while going:
                moment = now + timedelta(seconds=self.elapsed() - started)
                if moment - now > LEASE / 2:
                    return  # a slow server must not keep the rest from other workers
                await _unbroken(self._send_next(pool, shown, going, moment))

        workers = [asyncio.create_task(work()) for _ in range(min(self.channel.connections, len(going)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)  # each finishes its mail at hand

    async def _send_next(self, pool: Pool, shown: Shown, going: deque[tuple[Mail, str]], now: datetime) -> None:
        mail, address = going.popleft()
        try:
            outcome = await self._send(shown, mail, address, now)
        except UnreachableError:
            going.appendleft((mail, address))
            raise
        await _record(pool, [outcome])

    async def _send(self, shown: Shown, mail: Mail, address: str, now: datetime) -> Settled:
        try:
            text = _text(self.library, shown, mail)
            rendered = replace(mail, locale=text.locale)
            answer = await self.channel.send(_letter(mail, address, text, now))
        except UnreachableError:
            raise
        except Exception as error:  # noqa: BLE001 a mail that cannot be rendered must not stop the others
            _log.error("mail_not_made", message_id=str(mail.id), trigger=mail.trigger, **telemetry.trace(error))
            return _final(mail, State.FAILED, Reason.TEMPLATE_ERROR)
        match answer:
            case Taken():
                return _final(rendered, State.SENT)
            case Refused(error=error):
                _log.warning("mail_refused", message_id=str(mail.id), error=error)
                return _final(rendered, State.FAILED, Reason.REJECTED)
            case PutOff(error=error):
                _log.warning("mail_put_off", message_id=str(mail.id), attempts=mail.attempts, error=error)
                if mail.attempts >= self.most_attempts:
                    return _final(rendered, State.FAILED, Reason.GIVEN_UP)
                return _again(mail, gate.next_attempt(mail.attempts, now, self.random()), attempts=mail.attempts)


def _text(library: Library, shown: Shown, mail: Mail) -> MailText:
    """The text of a mail, in the customer's locale of now.

    Raises:
        TemplateFailedError: the template is gone or cannot be rendered with the mail's facts.
    """
    template = shown.version(mail.template, mail.template_version)
    locale = None if template is None else template.locale(Channel.EMAIL, mail.recipient.locale, library.locale)
    if template is None or locale is None:
        raise TemplateFailedError("email", "the version of the template has no such text")
    return library.renderer.email(template, locale, complete(mail.trigger, mail.facts), reader_of(mail.recipient))


def _letter(mail: Mail, address: str, text: MailText, now: datetime) -> port.Mail:
    return port.Mail(
        id=mail.id,
        address=address,
        topic=mail.topic,
        subject=text.subject,
        html=text.html,
        text=text.text,
        language=text.locale,
        unsubscribe=None,
        at=now,
    )


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
            await settling.settle(connection, outcomes)


def _again(mail: Mail, due_at: datetime, *, attempts: int) -> Settled:
    return Settled(mail, State.QUEUED, attempts, mail.locale, mail.template_version, None, due_at)


def _final(mail: Mail, state: State, reason: Reason | None = None) -> Settled:
    return Settled(mail, state, mail.attempts, mail.locale, mail.template_version, reason)
