"""JSON Web Tokens: HS256, RS256 and EdDSA, each pinned by the type of the key."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from joserfc import jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jws import JWSRegistry
from joserfc.jwt import ClaimsOption, JWTClaimsRegistry
from pydantic import TypeAdapter, ValidationError

from shared.contracts.values import Id
from shared.http.auth.principal import Kind, Principal, Scope
from shared.http.auth.verification_keys import FileKeys, FixedKeys, KeySource, UrlKeys, parse_key, parse_set

_LONGEST_TOKEN: Final = 8192
_ID: Final = TypeAdapter[str](Id)
_SCOPES: Final = {scope.value: scope for scope in Scope}


@dataclass(frozen=True, slots=True)
class JwtSettings:
    """How tokens are verified; without `key` and `jwks` no token is accepted.

    `key` is an HS256 secret of 32 bytes or more, or a public key in PEM (RSA: RS256, Ed25519:
    EdDSA). `jwks` is a JWKS as inline JSON, a file's path or an https URL (http on this machine only). A
    token must have `sub` and `exp`, and `issuer` and `audience` if they are set. `leeway` is the
    accepted difference of clocks in seconds.
    """

    key: str | None = None
    jwks: str | None = None
    issuer: str | None = None
    audience: str | None = None
    leeway: int = 0

    @property
    def is_configured(self) -> bool:
        """Whether any token can be verified."""
        return bool(self.key or self.jwks)


class Tokens:
    """Authenticates callers by their tokens.

    Raises:
        ValueError: the kind or size of the key is not accepted.
    """

    def __init__(self, settings: JwtSettings) -> None:
        self._settings = settings
        self._sources = _sources(settings)
        self._required: dict[str, ClaimsOption] = {"sub": {"essential": True}, "exp": {"essential": True}}
        if settings.issuer:
            self._required["iss"] = {"essential": True, "value": settings.issuer}
        if settings.audience:
            self._required["aud"] = {"essential": True, "value": settings.audience}

    async def find(self, token: str, now: float) -> Principal | None:
        """The owner of a token that is valid at `now` (seconds since 1970); None if it is not valid."""
        header = _header(token)
        if header is None:
            return None
        kid = header.get("kid")
        for source in self._sources:
            for candidate in await source.keys(kid if isinstance(kid, str) else None):
                # the key decides the algorithm, not the token: no "none", no HS256 with a public key
                if header.get("alg") not in candidate.algorithms or (candidate.id and kid and candidate.id != kid):
                    continue
                try:
                    decoded = jwt.decode(token, candidate.key, registry=_Pinned(candidate.algorithms))
                    return self._judge(decoded.claims, int(now))
                except (JoseError, ValueError, TypeError, RecursionError):
                    continue
        return None

    def _judge(self, claims: dict[str, Any], now: int) -> Principal | None:
        # the time of issue does not matter, and issuers' clocks run ahead
        judged = {name: value for name, value in claims.items() if name != "iat"}
        JWTClaimsRegistry(now=now, leeway=self._settings.leeway, **self._required).validate(judged)
        try:
            subject = _ID.validate_python(claims["sub"])
        except ValidationError:
            return None
        scopes = _scopes(claims)
        kind = Kind.CUSTOMER if Scope.CUSTOMER in scopes else Kind.TOKEN
        return Principal(kind, subject, scopes)


class _Pinned(JWSRegistry):
    """Accepts only the algorithms of one key.

    Unknown headers are ignored unless they are marked critical (RFC 7515). Without this, the library would warn with
    every token that `EdDSA` has a new name.
    """

    def __init__(self, algorithms: Sequence[str]) -> None:
        super().__init__(algorithms=algorithms, strict_check_header=False)

    def get_alg(self, name: str) -> Any:  # noqa: ANN401 (its type is not public)
        if self.allowed is None or name not in self.allowed:
            raise UnsupportedAlgorithmError(f"{name} is not an algorithm of this key")
        return self.algorithms[name]


def _sources(settings: JwtSettings) -> Sequence[KeySource]:
    sources: list[KeySource] = []
    if settings.key:
        sources.append(FixedKeys((parse_key(settings.key),)))
    if settings.jwks:
        sources.append(_key_set(settings.jwks.strip()))
    return tuple(sources)


def _key_set(jwks: str) -> KeySource:
    if jwks.startswith("{"):
        return FixedKeys(parse_set(jwks))
    if "://" in jwks:
        return UrlKeys(jwks)
    return FileKeys(Path(jwks))


def _header(token: str) -> dict[str, Any] | None:
    """The unverified header of a compact token; None if it is not a token."""
    encoded, *others = token[:_LONGEST_TOKEN].split(".")
    if len(others) != 2 or len(token) > _LONGEST_TOKEN:
        return None
    try:
        header: object = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", header) if isinstance(header, dict) else None


def _scopes(claims: dict[str, Any]) -> frozenset[Scope]:
    """The known scopes in `scope` (RFC 8693: separated by spaces) or `scopes`, each a string or a list."""
    named: list[object] = []
    for claim in (claims.get("scope"), claims.get("scopes")):
        if isinstance(claim, str):
            named += claim.split(" ")
        elif isinstance(claim, list):
            named += cast("list[object]", claim)
    return frozenset(_SCOPES[name] for name in named if isinstance(name, str) and name in _SCOPES)
