"""Web Push to the browsers of a customer (RFC 8030)."""

import asyncio
import base64
from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Final

import httpx

from services.notifications.channels import web
from services.notifications.channels.port import Answer, Push, PutOff, Refused, Subscription, Taken
from services.notifications.channels.push.encryption import BadKeysError, content, encrypt
from services.notifications.channels.push.vapid import Vapid
from shared.http.guard import RefusedTarget

_GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_LONGEST_TTL: Final = timedelta(days=28)  # what push services keep at most


class WebPush:
    """The channel `push`; `seconds` is how long a request may take.

    The endpoints are what customers say: `transport` has to refuse addresses that are not public.
    """

    def __init__(
        self, vapid: Vapid, transport: httpx.AsyncBaseTransport, connections: int = 16, seconds: float = 10.0
    ) -> None:
        self._vapid = vapid
        self._connections = connections
        self._seconds = seconds
        # A proxy of the environment would connect to what the transport refuses.
        self._client = httpx.AsyncClient(
            transport=transport, timeout=web.timeouts(seconds), follow_redirects=False, trust_env=False
        )

    @property
    def connections(self) -> int:
        """How many messages can be sent at a time."""
        return self._connections

    async def send(self, message: Push) -> Answer:
        """Send a message to all browsers; it is sent if one push service takes it. See `Port`.

        A push service that does not answer puts the message off, since it is the customer who chose it.
        """
        what = content(message)
        answers = await asyncio.gather(*(self._push(message, what, one) for one in message.subscriptions))
        return _join(message.subscriptions, answers)

    async def rest(self) -> None:
        """Nothing: the client closes connections that were idle when it sends again."""

    async def close(self) -> None:
        """Close all connections, for good."""
        await self._client.aclose()

    async def _push(self, message: Push, what: bytes, subscription: Subscription) -> Answer:
        try:
            request = self._request(message, encrypt(what, subscription), subscription.endpoint)
        except (BadKeysError, httpx.InvalidURL):
            return Refused("not a subscription", gone=(subscription.id,))
        try:
            reply = await web.post(self._client, request, self._seconds)
        except RefusedTarget:
            return Refused("not a public address")
        except (web.NotSentError, web.NoAnswerError) as error:
            return PutOff(str(error))
        return _judge(reply, subscription)

    def _request(self, message: Push, body: bytes, endpoint: str) -> httpx.Request:
        headers = {
            "Authorization": self._vapid.authorization(endpoint),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(int(min(max(message.ttl, timedelta(0)), _LONGEST_TTL).total_seconds())),
            "Urgency": "normal" if message.is_urgent else "low",
            # The same message sent again replaces what the push service still keeps.
            "Topic": base64.urlsafe_b64encode(message.id.bytes).decode().rstrip("="),
        }
        return self._client.build_request("POST", endpoint, content=body, headers=headers)


def _judge(reply: web.Reply, subscription: Subscription) -> Answer:
    # The text of the answer is left out: whoever registered the endpoint chose it.
    if reply.is_success:
        return Taken()
    if reply.status in _GONE:
        return Refused(f"{reply.status}", gone=(subscription.id,))
    if reply.is_transient:
        return PutOff(f"{reply.status}", reply.retry_after)
    return Refused(f"{reply.status}")


def _join(subscriptions: Sequence[Subscription], answers: Sequence[Answer]) -> Answer:
    """The best of the answers: one that was taken, else one to try again, else a refusal."""
    gone = tuple(
        subscription.id
        for subscription, answer in zip(subscriptions, answers, strict=True)
        if isinstance(answer, Refused) and answer.gone
    )
    if any(isinstance(answer, Taken) for answer in answers):
        return Taken(gone=gone)
    put_off = [answer for answer in answers if isinstance(answer, PutOff)]
    if put_off:
        pauses = [answer.retry_after for answer in put_off if answer.retry_after is not None]
        return PutOff(put_off[0].error, min(pauses, default=None), gone)
    errors = sorted({answer.error for answer in answers if isinstance(answer, Refused)})
    return Refused(", ".join(errors) or "no subscription", gone=gone)
