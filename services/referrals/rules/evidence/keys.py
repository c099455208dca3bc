"""The key of evidence: values are stored as its HMACs, and local parts of e-mail addresses encrypted with it."""

import hmac
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.referrals.rules.evidence.kinds import Kind

HASH_BYTES: Final = 16
_HASHING: Final = b"wafa referrals: hashes of evidence"
_SEALING: Final = b"wafa referrals: local parts of e-mail addresses"


class LocalPart(NamedTuple):
    """The local part of an e-mail address, and the hash of its domain."""

    domain: bytes
    text: str


class EvidenceKey:
    """Two keys derived from one secret: one hashes, one encrypts. Equal values have equal hashes."""

    def __init__(self, secret: str) -> None:
        self._hashing = _derived(secret, _HASHING, 32)
        self._sealing = AESSIV(_derived(secret, _SEALING, 64))

    def hash(self, kind: Kind, text: str) -> bytes:
        """The first 16 bytes of the HMAC-SHA256 of a value in its normal form; kinds have hashes of their own."""
        return hmac.digest(self._hashing, bytes((kind,)) + text.encode(), "sha256")[:HASH_BYTES]

    def seal(self, customer_id: str, local: LocalPart) -> bytes:
        """Encrypt a customer's local part, so that it opens for that customer only."""
        return self._sealing.encrypt(local.domain + local.text.encode(), [customer_id.encode()])

    def open(self, customer_id: str, sealed: bytes) -> LocalPart | None:
        """Decrypt what `seal` gave; None where it was sealed with another key, or for another customer."""
        try:
            content = self._sealing.decrypt(sealed, [customer_id.encode()])
        except InvalidTag:
            return None
        return LocalPart(content[:HASH_BYTES], content[HASH_BYTES:].decode())


def _derived(secret: str, purpose: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=purpose).derive(secret.encode())


@lru_cache(maxsize=4)
def key_of(secret: str) -> EvidenceKey:
    """The key that a secret of the settings gives."""
    return EvidenceKey(secret)
