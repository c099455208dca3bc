"""E-mail: composed, signed where a key is set, and sent over connections that are used again."""

from aiosmtplib import SMTPException, SMTPNotSupported, SMTPResponseException, SMTPServerDisconnected

from services.notifications.channels.email.answers import SERVICE_CLOSES, describe, judge
from services.notifications.channels.email.compose import Sender, compose
from services.notifications.channels.email.connection import Connection
from services.notifications.channels.email.pool import Pool
from services.notifications.channels.email.signing import Signer
from services.notifications.channels.port import Answer, Mail, PutOff, Refused, Taken, UnsendableError


class Email:
    """The channel `email`."""

    def __init__(self, sender: Sender, pool: Pool, signer: Signer | None = None) -> None:
        self._sender = sender
        self._pool = pool
        self._signer = signer

    @property
    def connections(self) -> int:
        """How many mails can be sent at a time."""
        return self._pool.limits.connections

    async def send(self, message: Mail) -> Answer:
        """Send a mail; see `Port`."""
        content = compose(self._sender, message)
        if self._signer is not None:
            content = await self._signer.sign(content)
        async with self._pool.turn():
            connection = await self._pool.take()
            try:
                return await self._send(connection, message.address, content)
            except _ClosedBeforeError as error:
                if not connection.is_used:
                    return PutOff(str(error))
            # The server closed a connection that was idle, or of enough mails: that says nothing about this mail.
            connection = await self._pool.take(new=True)
            try:
                return await self._send(connection, message.address, content)
            except _ClosedBeforeError as error:
                return PutOff(str(error))

    async def rest(self) -> None:
        """Close the connections that were not used for a while."""
        await self._pool.rest()

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def _send(self, connection: Connection, address: str, content: bytes) -> Answer:
        """Send over a connection, and give it back or close it.

        Raises:
            _ClosedBeforeError: the server closed the connection before it got the mail.
            UnreachableError: the server rejects the login or the sender.
        """
        try:
            await connection.send(self._sender.address, address, content)
        except SMTPNotSupported as error:
            await self._pool.give_back(connection)
            return Refused(describe(error, address))
        except ValueError as error:
            await self._keep(connection)
            raise UnsendableError(describe(error, address)) from error
        except SMTPResponseException as error:
            if error.code == SERVICE_CLOSES or error.code < 0:  # below 0: what came was no SMTP
                connection.close()
                if not connection.has_begun:
                    raise _ClosedBeforeError(describe(error, address)) from error
                return PutOff(describe(error, address))
            await self._keep(connection)
            return judge(error, address)
        except SMTPServerDisconnected as error:
            connection.close()
            if not connection.has_begun:
                raise _ClosedBeforeError(describe(error, address)) from error
            return PutOff(describe(error, address))
        except (SMTPException, OSError) as error:
            # No answer in time: the server may have the mail, so the same mail is sent again.
            connection.close()
            return PutOff(describe(error, address))
        except BaseException:
            connection.close()  # in the middle of a conversation
            raise
        await self._pool.give_back(connection)
        return Taken()

    async def _keep(self, connection: Connection) -> None:
        """Keep a connection whose mail was not taken."""
        await connection.reset()
        await self._pool.give_back(connection)


class _ClosedBeforeError(Exception):
    """The server closed the connection before it got the mail."""
