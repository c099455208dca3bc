"""Webhooks to endpoints: signed as Standard Webhooks 1.0 says, and sent once."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import httpx
from standardwebhooks.webhooks import Webhook

from services.notifications.channels import web
from services.notifications.rules.webhook import Outcome, excerpt
from shared.http.guard import RefusedTarget

SECONDS: Final = 15.0
"""How long an attempt may take, with the connection and the answer."""

_USER_AGENT: Final = "Wafa-Webhooks/1"


@dataclass(frozen=True, slots=True)
class Message:
    """A webhook to send to a URL; each of the secrets signs it."""

    url: str
    webhook_id: str
    payload: str
    secrets: Sequence[bytes]


def headers_of(message: Message, at: datetime) -> dict[str, str]:
    """The headers that name and sign a webhook at an instant, in whole seconds."""
    signatures = (Webhook(secret).sign(message.webhook_id, at, message.payload) for secret in message.secrets)
    return {
        "webhook-id": message.webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


class Webhooks:
    """Sends webhooks. The transport has to refuse addresses that are not public."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        seconds: float = SECONDS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        # A proxy of the environment would connect to what the transport refuses.
        self._client = httpx.AsyncClient(
            transport=transport,
            timeout=web.timeouts(seconds),
            follow_redirects=False,
            trust_env=False,
            headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"},
        )

    async def send(self, message: Message) -> Outcome:
        """Make one attempt; whatever happens is an outcome."""
        at, started = self._clock().astimezone(UTC), time.monotonic()
        status = error = shown = retry_after = None
        try:
            self._client.cookies.clear()  # what one endpoint sets is none of another's business
            headers = headers_of(message, at) | {"Content-Type": "application/json"}
            request = self._client.build_request("POST", message.url, content=message.payload.encode(), headers=headers)
            reply = await web.post(self._client, request, self._seconds)
            status, shown, retry_after = reply.status, excerpt(reply.body), reply.retry_after
        except RefusedTarget as refused:
            error = str(refused)
        except web.NotSentError:
            error = "no connection"
        except (web.NoAnswerError, TimeoutError):
            error = "no answer in time, or none that is HTTP"
        except (httpx.InvalidURL, ValueError):
            error = "the URL cannot be called"
        return Outcome(at, round(time.monotonic() - started, 3), status, error, shown, retry_after)

    async def close(self) -> None:
        """Close all connections, for good."""
        await self._client.aclose()
