"""Identifies Wafa to push services (VAPID, RFC 8292)."""

import base64
import binascii
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from joserfc import jwt
from joserfc.jwk import ECKey

_TOKEN_SECONDS: Final = 12 * 3600  # the RFC allows 24 hours
_RENEWED: Final = 3600  # seconds before it ends
_ORIGINS: Final = 256  # endpoints are what customers say: tokens of the origins used last are kept


def encode(content: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def decode(text: str) -> bytes:
    """The bytes of base64url, with or without padding.

    Raises:
        ValueError: it is not base64url.
    """
    plain = text.rstrip("=")
    if not plain.isascii():
        raise ValueError("is not base64url")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), altchars="-_", validate=True)
    except binascii.Error:
        raise ValueError("is not base64url") from None


class Vapid:
    """The key that identifies Wafa, and who answers for it (`mailto:` or `https:`).

    The key is of P-256: its 32 bytes in base64url, as tools for Web Push make it, or a PEM.

    Raises:
        ValueError: the key cannot be read.
    """

    def __init__(self, private_key: str, subject: str, clock: Callable[[], float] = time.time) -> None:
        key = _read(private_key)
        self._subject = subject
        self._clock = clock
        self._jwk = ECKey.import_key(_jwk(key))
        public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public_key = encode(public)
        """What a browser needs to subscribe: `applicationServerKey`."""
        self._tokens: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def authorization(self, endpoint: str) -> str:
        """The header `Authorization` for a push service."""
        return f"vapid t={self._token(_origin(endpoint))}, k={self.public_key}"

    def _token(self, origin: str) -> str:
        now = self._clock()
        token, until = self._tokens.get(origin, ("", 0.0))
        if until - now < _RENEWED:
            until = now + _TOKEN_SECONDS
            claims = {"aud": origin, "exp": int(until), "sub": self._subject}
            token = jwt.encode({"typ": "JWT", "alg": "ES256"}, claims, self._jwk, algorithms=["ES256"])
        self._tokens[origin] = (token, until)
        self._tokens.move_to_end(origin)
        while len(self._tokens) > _ORIGINS:
            self._tokens.popitem(last=False)
        return token


def _origin(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc}"


def _read(text: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(text.encode(), None) if "-----BEGIN" in text else _derive(decode(text))
    except (ValueError, TypeError) as error:
        raise ValueError(f"the VAPID key cannot be read: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the VAPID key has to be of the curve P-256")  # noqa: TRY004 it is the value of a setting
    return key


def _derive(content: bytes) -> ec.EllipticCurvePrivateKey:
    if len(content) != 32:
        raise ValueError("it has to have 32 bytes")
    return ec.derive_private_key(int.from_bytes(content), ec.SECP256R1())


def _jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, str | list[str]]:
    numbers = key.private_numbers()
    public = numbers.public_numbers
    values = {"x": public.x, "y": public.y, "d": numbers.private_value}
    return {"kty": "EC", "crv": "P-256", **{name: encode(value.to_bytes(32)) for name, value in values.items()}}
