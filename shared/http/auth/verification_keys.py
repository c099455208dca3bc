"""The public keys and secrets that verify tokens, and their sources."""

import asyncio
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast

import structlog
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import JWKRegistry, Key, OctKey, OKPKey, RSAKey

from shared.http.auth.watched import WatchedFile

SMALLEST_SECRET: Final = 32
"""Minimum bytes of an HS256 secret (RFC 7518, section 3.2)."""

SMALLEST_RSA: Final = 2048
"""Minimum bits of an RSA key (RFC 7518, section 3.3)."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_MAX_KEYS: Final = 32
_LARGEST_SET: Final = 1_048_576
_FETCH_SECONDS: Final = 5.0
_FRESH_SECONDS: Final = 300.0
_PAUSE_SECONDS: Final = 30.0

_HS256: Final = ("HS256",)
_RS256: Final = ("RS256",)
_ED25519: Final = ("EdDSA", "Ed25519")
"""The name that issuers use, and the name that replaces it in RFC 9864."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key, with the names of the one algorithm that it verifies."""

    algorithms: tuple[str, ...]
    key: Key

    @property
    def id(self) -> str | None:
        """The key's `kid`, if it has one."""
        return self.key.kid


class KeySource(Protocol):
    """A source of verification keys."""

    async def keys(self, kid: str | None) -> Sequence[VerificationKey]:
        """The current keys; a source may reload for an unknown `kid`."""
        ...


class FixedKeys:
    """Keys that never change."""

    def __init__(self, keys: Sequence[VerificationKey]) -> None:
        self._keys = keys

    async def keys(self, kid: str | None) -> Sequence[VerificationKey]:  # noqa: ARG002 (the protocol's)
        """The same keys each time."""
        return self._keys


class FileKeys:
    """The keys of a JWKS file, which is read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._file = WatchedFile[Sequence[VerificationKey]](path, parse_set, ())

    async def keys(self, kid: str | None) -> Sequence[VerificationKey]:  # noqa: ARG002 (the protocol's)
        """The current keys of the file."""
        return self._file.content()


class UrlKeys:
    """The keys of a JWKS at a URL, cached for five minutes.

    An unknown `kid` fetches again, at most every 30 seconds, so that tokens with made-up ids cannot flood the issuer
    with requests. While the issuer is unreachable, the last keys stay valid.

    Raises:
        ValueError: the URL is not secure, so that others could substitute the keys.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = checked_url(url)
        self._clock = clock
        self._keys: Sequence[VerificationKey] = ()
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching = asyncio.Lock()

    async def keys(self, kid: str | None) -> Sequence[VerificationKey]:
        """The issuer's keys."""
        # while one caller fetches, the others use the keys known so far
        if self._is_due(kid) and (self._lacks(kid) or not self._fetching.locked()):
            async with self._fetching:
                if self._is_due(kid):
                    await self._fetch()
        return self._keys

    def _lacks(self, kid: str | None) -> bool:
        return not self._keys or (kid is not None and all(key.id != kid for key in self._keys))

    def _is_due(self, kid: str | None) -> bool:
        now = self._clock()
        if self._tried_at is not None and now - self._tried_at < _PAUSE_SECONDS:
            return False
        is_old = self._fetched_at is None or now - self._fetched_at >= _FRESH_SECONDS
        return is_old or self._lacks(kid)

    async def _fetch(self) -> None:
        try:
            content = await asyncio.wait_for(asyncio.to_thread(_download, self._url), 2 * _FETCH_SECONDS)
            self._keys = parse_set(content)
        except (OSError, ValueError) as error:
            _log.warning("jwks_not_fetched", url=self._url, error=str(error))
        else:
            self._fetched_at = self._clock()
        finally:
            self._tried_at = self._clock()


def checked_url(url: str) -> str:
    """The URL of a JWKS, if its content cannot be changed on the way: https, or http on this machine.

    Raises:
        ValueError: it is any other URL.
    """
    parts = urllib.parse.urlsplit(url)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not is_safe or not parts.hostname:
        raise ValueError(f"the key set's URL must begin with https:// (http:// only on this machine): {url[:200]}")
    return url


def parse_key(text: str) -> VerificationKey:
    """The key in a setting: a public key in PEM, otherwise an HS256 secret.

    Raises:
        ValueError: the kind or size of the key is not accepted.
    """
    if "-----BEGIN" in text:
        return _accept_pem(text.replace("\\n", "\n").strip().encode())
    secret = text.encode()
    if len(secret) < SMALLEST_SECRET:
        raise ValueError(f"an HS256 secret has at least {SMALLEST_SECRET} bytes")
    return VerificationKey(_HS256, OctKey.import_key(secret))


def parse_set(content: bytes | str) -> Sequence[VerificationKey]:
    """The usable signature keys of a JWKS, without keys of other kinds (RFC 7517, section 5).

    Raises:
        ValueError: it is not a JWKS, or has no usable key.
    """
    document: object = json.loads(content)
    listed = cast("dict[str, Any]", document).get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("not a JSON Web Key Set")  # noqa: TRY004 (content, not a caller's mistake)
    found: list[VerificationKey] = []
    for item in cast("list[Any]", listed)[:_MAX_KEYS]:
        key = _parse_member(item)
        if key is not None:
            found.append(key)
    if not found:
        raise ValueError("no usable key in the set: HS256, RS256 and EdDSA (Ed25519) are accepted")
    return tuple(found)


def _parse_member(item: object) -> VerificationKey | None:
    if not isinstance(item, dict):
        return None
    member = cast("dict[str, Any]", item)
    if member.get("use", "sig") != "sig":
        return None
    try:
        with _without_warnings():
            accepted = _accept(JWKRegistry.import_key(member))
    except (JoseError, ValueError, TypeError) as error:
        _log.info("jwk_left_out", kid=str(member.get("kid")), error=str(error))
        return None
    return accepted if member.get("alg", accepted.algorithms[0]) in accepted.algorithms else None


def _accept_pem(pem: bytes) -> VerificationKey:
    for kind in (RSAKey, OKPKey):
        try:
            with _without_warnings():
                key = kind.import_key(pem)
        except (JoseError, ValueError, TypeError):
            continue
        return _accept(key)
    raise ValueError("the PEM contains neither an RSA nor an Ed25519 key")


def _accept(key: Key) -> VerificationKey:
    """The key with its algorithm, which the type of the key decides, never the token."""
    if isinstance(key, OctKey):
        if len(key.raw_value) < SMALLEST_SECRET:
            raise ValueError(f"an HS256 secret has at least {SMALLEST_SECRET} bytes")
        return VerificationKey(_HS256, key)
    if isinstance(key, RSAKey):
        if key.public_key.key_size < SMALLEST_RSA:
            raise ValueError(f"an RSA key has at least {SMALLEST_RSA} bits")
        return VerificationKey(_RS256, key)
    if isinstance(key, OKPKey) and key.curve_name == "Ed25519":
        return VerificationKey(_ED25519, key)
    raise ValueError("not a key for HS256, RS256 or EdDSA (Ed25519)")


@contextmanager
def _without_warnings() -> Generator[None]:
    """Suppress the library's warnings of weak keys: they are refused here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        yield


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to URLs that `checked_url` accepts."""

    def redirect_request(self, req: Any, fp: Any, *about: Any) -> Any:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride]
        *_, url = about
        try:
            checked_url(url)
        except ValueError:
            fp.close()
            raise
        return super().redirect_request(req, fp, *about)


def _download(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 (see JwtSettings)
    try:
        with urllib.request.build_opener(_SafeRedirects).open(request, timeout=_FETCH_SECONDS) as answer:
            content: bytes = answer.read(_LARGEST_SET + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise
    if len(content) > _LARGEST_SET:
        raise ValueError(f"the key set is larger than {_LARGEST_SET} bytes")
    return content
