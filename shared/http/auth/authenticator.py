"""Authenticates a caller by the `Authorization` header."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from shared.http.auth.api_keys import PREFIX, ApiKeys
from shared.http.auth.principal import Principal
from shared.http.auth.tokens import JwtSettings, Tokens
from shared.http.problems import Problem

_SCHEME: Final = "bearer "


class Authenticator:
    """Authenticates callers by API key or JWT.

    Raises:
        ValueError: the kind or size of a JWT key is not accepted.
    """

    def __init__(
        self,
        api_keys_file: Path | None,
        jwt: JwtSettings | None = None,
        *,
        pepper: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = ApiKeys(api_keys_file, pepper) if api_keys_file is not None else None
        self._tokens = Tokens(jwt) if jwt is not None and jwt.is_configured else None
        self._clock = clock

    async def authenticate(self, authorization: str | None) -> Principal:
        """The caller who sent this `Authorization` header.

        Raises:
            Problem: 401, the credentials are missing or invalid.
        """
        if authorization is None:
            raise _unauthenticated("Send an API key or a token as Authorization: Bearer ….")
        scheme, credentials = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :].strip()
        principal: Principal | None = None
        if scheme.lower() == _SCHEME and credentials:
            principal = await self._find(credentials)
        if principal is None:
            raise _unauthenticated("The credentials are invalid or have expired.", ', error="invalid_token"')
        return principal

    async def _find(self, credentials: str) -> Principal | None:
        if credentials.startswith(PREFIX):
            return self._keys.find(credentials) if self._keys is not None else None
        return await self._tokens.find(credentials, self._clock()) if self._tokens is not None else None


def _unauthenticated(detail: str, error: str = "") -> Problem:
    problem = Problem(401, "unauthenticated", detail)
    return problem.with_headers({"WWW-Authenticate": f'Bearer realm="wafa"{error}'})
