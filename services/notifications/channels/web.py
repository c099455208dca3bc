"""HTTP requests to providers: bounded in time and size, without redirects."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import httpx

from shared.http.guard import RefusedTarget

LARGEST_ANSWER: Final = 65_536
"""Bytes of an answer that are read; the rest is cut off."""

_LONGEST_PAUSE: Final = timedelta(days=1)


class NotSentError(Exception):
    """No connection: the provider did not get the request."""


class NoAnswerError(Exception):
    """The request was sent, but its answer did not come in time or cannot be read."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS} or (
            self.status >= 500
        )

    @property
    def retry_after(self) -> timedelta | None:
        """How long to wait at least (RFC 9110, section 10.2.3), at most a day; None if the answer does not say."""
        said = self.headers.get("retry-after", "").strip()
        if said.isascii() and said.isdigit():
            pause = timedelta(seconds=int(said[:9]))
        else:
            try:
                at = parsedate_to_datetime(said)
            except ValueError:
                return None
            pause = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)
        return min(max(pause, timedelta(0)), _LONGEST_PAUSE)


def timeouts(seconds: float) -> httpx.Timeout:
    """The timeouts of a client whose requests take at most `seconds`: a connection fails first."""
    return httpx.Timeout(seconds, connect=seconds / 2, pool=seconds / 2)


async def post(client: httpx.AsyncClient, request: httpx.Request, seconds: float) -> Reply:
    """Send a request; the whole exchange takes at most `seconds`.

    Raises:
        RefusedTarget: the guard of the client's transport refused the address.
        NotSentError: there is no connection.
        NoAnswerError: the answer did not come in time or cannot be read.
    """
    try:
        async with asyncio.timeout(seconds):
            answer = await client.send(request, stream=True, follow_redirects=False)
            try:
                body = await _read(answer)
            finally:
                await answer.aclose()
    except RefusedTarget:
        raise
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
        raise NotSentError(_describe(error)) from error
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        raise NoAnswerError(_describe(error)) from error
    return Reply(answer.status_code, answer.headers, body)


async def _read(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in answer.aiter_raw():  # as it was sent: a small body cannot unfold into a large one
        body += chunk
        if len(body) >= LARGEST_ANSWER:
            break
    return bytes(body[:LARGEST_ANSWER])


def _describe(error: Exception) -> str:
    # The messages of OSErrors name addresses of servers only, but those of protocol errors may quote an answer.
    return type(error).__name__
