"""Takes pushes as a push service does (RFC 8030), decrypts them as the browser would, and shows nobody."""

import json
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import http_ece
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from deploy.local.bodies import TooLargeError, read_body
from services.notifications.channels.push.vapid import decode, encode

LARGEST_PUSH: Final = 4_096  # bytes: what every push service has to take, and few take more
KEPT: Final = 10_000
LONGEST_TOKEN: Final = 24 * 3600  # seconds (RFC 8292)


@dataclass(slots=True)
class Browser:
    """A subscription, with what only a browser knows of it."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    secret: bytes = field(default_factory=lambda: os.urandom(16))
    is_subscribed: bool = True


class Browsers:
    """A push service with the browsers that subscribed to it; `keep` gets each push, decrypted.

    `POST /push-subscriptions` subscribes a browser: the answer is what `PushSubscription.toJSON()` gives in one.
    `DELETE /push/{id}` ends a subscription: from then on pushes are answered 410.
    """

    def __init__(self, keep: Callable[[dict[str, Any]], None]) -> None:
        self._keep = keep
        self._browsers: OrderedDict[str, Browser] = OrderedDict()

    def routes(self) -> list[Route]:
        """The routes of a push service, and the one that subscribes."""
        return [
            Route("/push-subscriptions", self._subscribe, methods=["POST"]),
            Route("/push/{id}", self._push, methods=["POST"]),
            Route("/push/{id}", self._unsubscribe, methods=["DELETE"]),
        ]

    async def _subscribe(self, request: Request) -> Response:
        name, browser = secrets.token_urlsafe(24), Browser()
        self._browsers[name] = browser
        while len(self._browsers) > KEPT:
            self._browsers.popitem(last=False)
        point = browser.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        keys = {"p256dh": encode(point), "auth": encode(browser.secret)}
        endpoint = str(request.url.replace(path=f"/push/{name}", query=""))
        return JSONResponse({"endpoint": endpoint, "expirationTime": None, "keys": keys}, HTTPStatus.CREATED)

    async def _unsubscribe(self, request: Request) -> Response:
        browser = self._browsers.get(request.path_params["id"])
        if browser is None:
            return PlainTextResponse("no such subscription", HTTPStatus.NOT_FOUND)
        browser.is_subscribed = False
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _push(self, request: Request) -> Response:
        browser = self._browsers.get(request.path_params["id"])
        if browser is None:
            return PlainTextResponse("no such subscription", HTTPStatus.NOT_FOUND)
        if not browser.is_subscribed:
            return PlainTextResponse("unsubscribed", HTTPStatus.GONE)
        problem = _check(request)
        if problem is not None:
            return problem
        try:
            body = await read_body(request, LARGEST_PUSH)
        except TooLargeError:
            return PlainTextResponse("too large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return self._take(request, browser, body)

    def _take(self, request: Request, browser: Browser, body: bytes) -> Response:
        try:
            content = http_ece.decrypt(body, private_key=browser.key, auth_secret=browser.secret, version="aes128gcm")
            said = dict(json.loads(content))
        except (http_ece.ECEException, InvalidTag, ValueError, TypeError, IndexError):
            # A push service cannot know that; the one of this catcher says so, since it is also the browser.
            return PlainTextResponse("the browser cannot decrypt this", HTTPStatus.BAD_REQUEST)
        headers = {name: request.headers.get(name, "") for name in ("ttl", "urgency", "topic")}
        self._keep(
            {
                "channel": "push",
                "to": str(request.url),
                "subject": said.get("title", ""),
                "text": said.get("body", ""),
                "html": "",
                "headers": headers,
                "content": said,
            }
        )
        location = str(request.url.replace(path=f"/push-messages/{secrets.token_urlsafe(12)}"))
        return Response(status_code=HTTPStatus.CREATED, headers={"Location": location, "TTL": headers["ttl"]})


def _check(request: Request) -> Response | None:
    """The refusal of a request whose headers are not those of a push; None if they are."""
    if not request.headers.get("ttl", "").isdigit():
        return PlainTextResponse("TTL is missing", HTTPStatus.BAD_REQUEST)
    if request.headers.get("content-encoding") != "aes128gcm":
        return PlainTextResponse("not aes128gcm", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "vapid":
        return PlainTextResponse("VAPID is missing", HTTPStatus.UNAUTHORIZED)
    parts = {name: value for name, _, value in (part.strip().partition("=") for part in rest.split(","))}
    if not _is_signed(parts.get("t", ""), parts.get("k", ""), f"{request.url.scheme}://{request.url.netloc}"):
        return PlainTextResponse("VAPID does not hold", HTTPStatus.FORBIDDEN)
    return None


def _is_signed(token: str, key: str, origin: str) -> bool:
    """Whether the token is signed with the key, for this push service, and for at most a day."""
    try:
        point = decode(key)
        jwk: dict[str, str | list[str]] = {
            "kty": "EC",
            "crv": "P-256",
            "x": encode(point[1:33]),
            "y": encode(point[33:]),
        }
        claims = jwt.decode(token, ECKey.import_key(jwk), algorithms=["ES256"]).claims
    except (JoseError, ValueError):
        return False
    ends = claims.get("exp")
    is_current = isinstance(ends, int) and 0 < ends - time.time() <= LONGEST_TOKEN
    return is_current and claims.get("aud") == origin and str(claims.get("sub", "")).startswith(("mailto:", "https:"))
