"""Keys from the secret of the settings: signed tokens in links of messages, hashes of addresses, arms.

A token says which message it belongs to and what it is for, and cannot be made without the secret. It is no login: it
lets its holder unsubscribe, and nothing else.
"""

import base64
import binascii
import hmac
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.notifications.rules.message import Channel

LONGEST_URL: Final = 1_500
"""Bytes of a link that a token can carry; longer links are left as they are."""

_HASH_BYTES: Final = 16
_SIGNATURE_BYTES: Final = 16
_ID_BYTES: Final = 16
_HEAD_BYTES: Final = 1 + _ID_BYTES
_LONGEST: Final = 4 * (_HEAD_BYTES + LONGEST_URL + _SIGNATURE_BYTES) // 3 + 4
_SIGNING: Final = b"wafa notifications: tokens in messages"
_HASHING: Final = b"wafa notifications: hashes of addresses"
_SHARING: Final = b"wafa notifications: arms of experiments"


class Purpose(IntEnum):
    """What a token is for."""

    UNSUBSCRIBE = 1
    OPEN = 2
    CLICK = 3
    NOTHING = 4
    """It looks like a token to unsubscribe, and does nothing: for messages that are sent as a test."""


@dataclass(frozen=True, slots=True)
class Token:
    """The content of a token; `url` is where a link leads."""

    purpose: Purpose
    message_id: UUID
    url: str = ""


class Keys:
    """The keys of a secret."""

    def __init__(self, secret: str) -> None:
        self._signing = _derived(secret, _SIGNING)
        self._hashing = _derived(secret, _HASHING)
        self.sharing = _derived(secret, _SHARING)
        """The key that decides which arm of an experiment a customer is in."""

    def sign(self, token: Token) -> str:
        """The token as text for a URL."""
        content = bytes((token.purpose,)) + token.message_id.bytes + token.url.encode()
        return base64.urlsafe_b64encode(content + self._signature(content)).rstrip(b"=").decode()

    def read(self, text: str, *purposes: Purpose) -> Token | None:
        """The token that `sign` made for one of these purposes; None for any other text."""
        if len(text) > _LONGEST:
            return None
        try:
            signed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        content, signature = signed[:-_SIGNATURE_BYTES], signed[-_SIGNATURE_BYTES:]
        if len(content) < _HEAD_BYTES or not hmac.compare_digest(signature, self._signature(content)):
            return None
        if content[0] not in purposes:
            return None
        return Token(Purpose(content[0]), UUID(bytes=content[1:_HEAD_BYTES]), content[_HEAD_BYTES:].decode())

    def hash_address(self, channel: Channel, address: str) -> bytes:
        """The hash of an address, in upper or lower case; channels have hashes of their own."""
        return hmac.digest(self._hashing, f"{channel}:{address.lower()}".encode(), "sha256")[:_HASH_BYTES]

    def _signature(self, content: bytes) -> bytes:
        return hmac.digest(self._signing, content, "sha256")[:_SIGNATURE_BYTES]


def _derived(secret: str, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret.encode())


@lru_cache(maxsize=4)
def keys_of(secret: str) -> Keys:
    """The keys that a secret of the settings gives."""
    return Keys(secret)
