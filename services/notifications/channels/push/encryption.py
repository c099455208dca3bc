"""Encrypts what is pushed, so that only the customer's browser can read it (RFC 8291)."""

import json
import os
from typing import Final

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec

from services.notifications.channels.port import Push, Subscription, UnsendableError
from services.notifications.channels.push.vapid import decode

LARGEST_CONTENT: Final = 3_993
"""Bytes of content that every push service takes: 4,096, less the header, the end mark and the tag (RFC 8291)."""

_RECORD: Final = 4_096
_SECRET: Final = 16
_POINT: Final = 65
_MORE: Final = "…"


class BadKeysError(ValueError):
    """The keys of a subscription are not those of a browser."""


def check_keys(p256dh: str, auth: str) -> tuple[bytes, bytes]:
    """The public key and the secret of a subscription, decoded.

    Raises:
        BadKeysError: they are not a point of P-256 and 16 bytes, in base64url.
    """
    try:
        key, secret = decode(p256dh), decode(auth)
        if len(key) != _POINT or len(secret) != _SECRET:
            raise BadKeysError("the keys of a subscription have 65 and 16 bytes")
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key)
    except ValueError as error:
        raise BadKeysError(str(error)) from None
    return key, secret


def content(push: Push) -> bytes:
    """What the page's service worker gets: JSON with `id`, `title`, `body`, `lang` and, if there is one, `url`.

    A body that is too long is cut; screens show less of it anyway.

    Raises:
        UnsendableError: there is too much even without a body, or it is not Unicode.
    """
    fixed = {"id": str(push.id), "title": push.title, "lang": push.language} | ({"url": push.url} if push.url else {})
    try:
        room = LARGEST_CONTENT - len(_dump({**fixed, "body": ""}))
        if room < 0:
            raise UnsendableError("the title and the link of a push are too long")
        whole = _dump({**fixed, "body": push.body})
        return whole if len(whole) <= LARGEST_CONTENT else _dump({**fixed, "body": _cut(push.body, room)})
    except UnicodeEncodeError:
        raise UnsendableError("the text of a push is not Unicode") from None


def encrypt(content: bytes, subscription: Subscription) -> bytes:
    """The body of the request, in `aes128gcm`: a new key and salt for each.

    Raises:
        BadKeysError: the keys of the subscription are not those of a browser.
    """
    key, secret = check_keys(subscription.p256dh, subscription.auth)
    return http_ece.encrypt(
        content,
        salt=os.urandom(16),
        private_key=ec.generate_private_key(ec.SECP256R1()),
        dh=key,
        auth_secret=secret,
        rs=_RECORD,
        version="aes128gcm",
    )


def _dump(value: dict[str, str]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _cut(body: str, room: int) -> str:
    """The longest beginning that takes at most `room` bytes as JSON, with an ellipsis."""
    low, high = 0, min(len(body), room)
    while low < high:
        middle = (low + high + 1) // 2
        fits = len(_dump({"": body[:middle] + _MORE})) - len(_dump({"": ""})) <= room
        low, high = (middle, high) if fits else (low, middle - 1)
    return body[:low] + _MORE if low else ""
