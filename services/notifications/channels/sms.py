"""Text messages over Twilio's Messages API, which other providers offer too."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httpx

from services.notifications.channels import web
from services.notifications.channels.port import Answer, PutOff, Refused, Sms, Taken, UnreachableError

# https://www.twilio.com/docs/api/errors
_NO_SUCH_NUMBER: Final = frozenset({21211, 21214, 21217, 21219, 21614})
_OPTED_OUT: Final = frozenset({21610})
# Credentials, account and sender are the same for all messages: a message is not the cause.
_SETTINGS: Final = frozenset({20003, 20005, 20006, 20404, 21212, 21603, 21606, 21611, 21659, 21660, 21703, 30002})
_LATER: Final = frozenset({20429, 14107, 30001})

_NUMBER: Final = re.compile(r"\+?\d[\d ().-]{5,}\d")
_LONGEST_TEXT: Final = 300


@dataclass(frozen=True, slots=True)
class Account:
    """An account at the provider. `sender` is a phone number, a name, or a messaging service (`MG…`)."""

    url: str
    sid: str
    token: str
    sender: str


class TextMessages:
    """The channel `sms`; `seconds` is how long a request may take."""

    def __init__(
        self,
        account: Account,
        connections: int = 8,
        seconds: float = 15.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._account = account
        self._connections = connections
        self._seconds = seconds
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=30)
        self._client = httpx.AsyncClient(
            transport=transport,
            auth=(account.sid, account.token),
            limits=limits,
            timeout=web.timeouts(seconds),
            follow_redirects=False,
        )
        self._url = f"{account.url.rstrip('/')}/2010-04-01/Accounts/{account.sid}/Messages.json"

    @property
    def connections(self) -> int:
        """How many messages can be sent at a time."""
        return self._connections

    async def send(self, message: Sms) -> Answer:
        """Send a text message; see `Port`."""
        sender = self._account.sender
        source = {"MessagingServiceSid": sender} if _is_service(sender) else {"From": sender}
        form = {"To": message.address, **source, "Body": message.text}
        request = self._client.build_request("POST", self._url, data=form)
        try:
            reply = await web.post(self._client, request, self._seconds)
        except web.NotSentError as error:
            raise UnreachableError(str(error)) from error
        except web.NoAnswerError as error:
            return PutOff(str(error))
        return _judge(reply)

    async def rest(self) -> None:
        """Nothing: the client closes connections that were idle for half a minute when it sends again."""

    async def close(self) -> None:
        """Close all connections, for good."""
        await self._client.aclose()


def _judge(reply: web.Reply) -> Answer:
    said = _parse(reply.body)
    if reply.is_success:
        sid = said.get("sid")
        return Taken(sid[:100] if isinstance(sid, str) and sid.isprintable() else None)
    code = said.get("code")
    text = _describe(reply.status, code, said.get("message"))
    if reply.is_transient or code in _LATER:
        return PutOff(text, reply.retry_after)
    unauthorized = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.PAYMENT_REQUIRED}
    if code in _SETTINGS or reply.status < 400 or (reply.status in unauthorized and not _is_of_message(code)):
        raise UnreachableError(text)
    return Refused(text, bounced=code in _NO_SUCH_NUMBER, opted_out=code in _OPTED_OUT)


def _is_of_message(code: object) -> bool:
    """Whether an error code is one of those that a message can cause (212xx to 217xx: of messages and numbers)."""
    return isinstance(code, int) and 21200 <= code < 21800


def _parse(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _describe(status: int, code: object, message: object) -> str:
    """The provider's answer on one line, with phone numbers masked."""
    said = f"{message}" if isinstance(message, str) else ""
    line = " ".join("".join(character if character.isprintable() else " " for character in said).split())
    shown = f" {code}" if isinstance(code, int) else ""
    return f"{status}{shown} {_NUMBER.sub('[number]', line)}".strip()[:_LONGEST_TEXT]


def _is_service(sender: str) -> bool:
    return re.fullmatch(r"MG[0-9a-fA-F]{32}", sender) is not None
