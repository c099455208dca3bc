"""The job of a channel that sends what is due, several messages at a time."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from services.notifications.channels.port import Answer, PutOff, Refused, Taken, UnreachableError
from services.notifications.handlers import claiming, reporting, settling
from services.notifications.handlers.claiming import LEASE, Claimer
from services.notifications.handlers.reporting import Report
from services.notifications.rules import gate
from services.notifications.rules.mark import Mark
from services.notifications.rules.message import Channel, Reason, State
from services.notifications.sending.recording import Recorder
from services.notifications.sending.ways import Send, Way
from services.notifications.store import subscriptions
from services.notifications.store.mails import Mail, Settled
from shared import telemetry
from shared.postgres.pool import Pool

_PAUSE: Final = timedelta(seconds=30)
"""About how long messages wait that were claimed and not tried."""

_LOOKS: Final = 5
"""How often a run looks for messages where others have claimed, or the gate has stopped, all that it found."""

_Claimed = tuple[Mail, str]
"""A message, and the address that it goes to."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a message: `gone` are browsers that ended, `report` what its provider says of the address."""

    settled: Settled
    gone: tuple[UUID, ...] = ()
    report: Report | None = None


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends what is due on a channel, `batch` at a time; each message is tried `most_attempts` times.

    While more is due, a run goes on for `longest`, by default for one batch. `random` (0 to 1) spreads the retries,
    `elapsed` is a clock in seconds.
    """

    claimer: Claimer
    way: Way
    batch: int
    most_attempts: int
    longest: timedelta = timedelta(0)
    random: Callable[[], float] = random.random
    elapsed: Callable[[], float] = time.monotonic

    @property
    def channel(self) -> Channel:
        """The channel whose messages it sends."""
        return self.way.channel

    async def run(self, pool: Pool, now: datetime) -> None:
        """Claim the messages that are due, a batch at a time, and send, skip or defer each.

        No transaction is open meanwhile. The outcome of each is recorded as soon as it is sent, so a crash repeats at
        most one message per connection, a mail with the same Message-ID. On cancellation the messages at hand are
        still sent and recorded, and the others are released.

        Raises:
            OSError, asyncpg.PostgresError: the database failed; what was claimed is due again after the lease.
        """
        await self.way.rest()
        if not self.longest:
            await self._run_batch(pool, now)
            return
        started, passed = self.elapsed(), timedelta(0)
        while passed <= self.longest and await self._run_batch(pool, now + passed):
            passed = timedelta(seconds=self.elapsed() - started)

    async def _run_batch(self, pool: Pool, now: datetime) -> bool:
        """Whether more may be due: messages were claimed, and the provider could be reached."""
        going = await self._claim(pool, now)
        if not going:
            return False
        try:
            async with pool.acquire() as connection:
                send = await self.way.open(connection, [mail for mail, _ in going])
            await self._send_all(Recorder(partial(self._record, pool, now)), send, going, now)
        except UnreachableError as error:
            _log.warning("provider_unreachable", channel=self.channel, error=str(error), waiting=len(going))
            return False
        finally:
            later = now + _PAUSE * (0.5 + self.random())
            await self._record(pool, now, [_again(mail, later, attempts=mail.attempts - 1) for mail, _ in going])
        return True

    async def _claim(self, pool: Pool, now: datetime) -> deque[_Claimed]:
        for _ in range(_LOOKS):
            async with pool.acquire() as connection, connection.transaction():
                claimed = await claiming.claim(connection, self.claimer, self.channel, now, self.batch)
            if claimed or claimed is None:
                return deque(claimed or ())
        return deque()

    async def _send_all(self, recorder: Recorder[_Outcome], send: Send, going: deque[_Claimed], now: datetime) -> None:
        """Send the messages, each of which leaves `going` when it is tried; what is not tried stays.

        Raises:
            UnreachableError: the provider cannot be reached.
        """
        started = self.elapsed()

        async def work() -> None:
            while going:
                moment = now + timedelta(seconds=self.elapsed() - started)
                if moment - now > LEASE / 2:
                    return  # a slow provider must not keep the rest from other workers
                # Taken here, and not in the task: until it starts, another worker could take the same.
                await _unbroken(self._send_next(recorder, send, going, going.popleft(), moment))

        workers = [asyncio.create_task(work()) for _ in range(min(self.way.connections, len(going)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)  # each finishes its message at hand

    async def _send_next(
        self, recorder: Recorder[_Outcome], send: Send, going: deque[_Claimed], claimed: _Claimed, now: datetime
    ) -> None:
        try:
            outcome = await self._send(send, *claimed, now)
        except UnreachableError:
            going.appendleft(claimed)
            raise
        await recorder.record(outcome)

    async def _send(self, send: Send, mail: Mail, address: str, now: datetime) -> _Outcome:
        try:
            answer, locale = await send(mail, address, now)
        except UnreachableError:
            raise
        except Exception as error:  # noqa: BLE001 a message that cannot be rendered must not stop the others
            trace = telemetry.trace(error)
            _log.error("message_not_rendered", message_id=str(mail.id), channel=self.channel, **trace)
            return _Outcome(_final(mail, State.FAILED, Reason.TEMPLATE_ERROR))
        return self._judge(replace(mail, locale=locale), address, answer, now)

    def _judge(self, mail: Mail, address: str, answer: Answer, now: datetime) -> _Outcome:
        match answer:
            case Taken(gone=gone):
                return _Outcome(_final(mail, State.SENT), gone)
            case Refused(error=error, gone=gone):
                _log.warning("message_refused", message_id=str(mail.id), channel=self.channel, error=error)
                mark = Mark.BOUNCED if answer.bounced else Mark.UNSUBSCRIBED if answer.opted_out else None
                report = None if mark is None else Report(mark, address, mail.id, now)
                return _Outcome(_final(mail, State.FAILED, Reason.REJECTED), gone, report)
            case PutOff(error=error, gone=gone):
                said = {"channel": self.channel, "attempts": mail.attempts, "error": error}
                _log.warning("message_put_off", message_id=str(mail.id), **said)
                if mail.attempts >= self.most_attempts:
                    return _Outcome(_final(mail, State.FAILED, Reason.GIVEN_UP), gone)
                again = gate.next_attempt(mail.attempts, now, self.random())
                if answer.retry_after is not None:
                    again = max(again, now + answer.retry_after)
                return replace(_again(mail, again, attempts=mail.attempts), gone=gone)

    async def _record(self, pool: Pool, now: datetime, outcomes: Sequence[_Outcome]) -> None:
        if not outcomes:
            return
        reports = [each.report for each in outcomes if each.report is not None]
        async with pool.acquire() as connection, connection.transaction():
            await settling.settle(connection, [outcome.settled for outcome in outcomes])
            await subscriptions.remove_gone(connection, [each for outcome in outcomes for each in outcome.gone])
        if reports:  # in a transaction of its own, since it locks all to whom something was sent at these addresses
            async with pool.acquire() as connection, connection.transaction():
                await reporting.handle(connection, self.claimer.judge.keys, self.channel, reports, now)


async def _unbroken(work: Coroutine[None, None, None]) -> None:
    """Finish the work before a cancellation takes effect, so that a stopping worker repeats no message."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _again(mail: Mail, due_at: datetime, *, attempts: int) -> _Outcome:
    return _Outcome(Settled(mail, State.QUEUED, attempts, mail.locale, mail.template_version, None, due_at))


def _final(mail: Mail, state: State, reason: Reason | None = None) -> Settled:
    return Settled(mail, state, mail.attempts, mail.locale, mail.template_version, reason)
