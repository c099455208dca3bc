"""API keys: `wafa_<id>_<secret>`, of which only a keyed hash is stored."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from shared.http.auth.principal import KEY_SCOPES, Kind, Principal, Scope
from shared.http.auth.watched import WatchedFile

PREFIX: Final = "wafa_"

_log = structlog.stdlib.get_logger(__name__)

_KEY: Final = re.compile(r"wafa_([0-9a-z]{1,32})_([0-9A-Za-z]{32,128})")
_Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class KeyEntry(BaseModel):
    """A key in the file: `hash` = HMAC-SHA256(salt + pepper, secret), in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-z]{1,32}$")]
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    salt: _Hex
    hash: _Hex
    created_at: AwareDatetime


class KeysFile(BaseModel):
    """The file of all keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[int, Field(ge=1, le=1)] = 1
    keys: tuple[KeyEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class _StoredKey:
    mac: hmac.HMAC
    """Keyed, without the secret: copying it costs a tenth of making a new one."""
    digest: bytes
    principal: Principal


class ApiKeys:
    """The keys of a file, which is read again when it changes."""

    def __init__(self, path: Path, pepper: str = "") -> None:
        self._pepper = pepper
        self._file = WatchedFile[Mapping[str, _StoredKey]](path, self._parse, {})

    def find(self, key: str) -> Principal | None:
        """The owner of a key; None if it is malformed, unknown or revoked, or its secret is wrong."""
        parts = _KEY.fullmatch(key)
        if parts is None:
            return None
        stored = self._file.content().get(parts[1])
        if stored is None:
            return None
        mac = stored.mac.copy()
        mac.update(parts[2].encode())
        return stored.principal if hmac.compare_digest(mac.digest(), stored.digest) else None

    def _parse(self, content: bytes) -> Mapping[str, _StoredKey]:
        keys: dict[str, _StoredKey] = {}
        for entry in KeysFile.model_validate_json(content).keys:
            if not KEY_SCOPES.issuperset(entry.scopes):
                # Only this key: the others are valid.
                _log.error("api_key_refused", key_id=entry.id, scopes=entry.scopes)
                continue
            principal = Principal(Kind.KEY, entry.id, frozenset(entry.scopes))
            mac = hmac.new(_hmac_key(entry.salt, self._pepper), digestmod="sha256")
            keys[entry.id] = _StoredKey(mac, bytes.fromhex(entry.hash), principal)
        return keys


def issue(name: str, scopes: Sequence[Scope], now: datetime, pepper: str = "") -> tuple[str, KeyEntry]:
    """A new key, which is not stored anywhere, and its entry in the file.

    Raises:
        ValueError: a key cannot have one of the scopes.
    """
    if not KEY_SCOPES.issuperset(scopes):
        raise ValueError(f"a key belongs to no customer: its scopes must be among {', '.join(sorted(KEY_SCOPES))}")
    id_, secret, salt = secrets.token_hex(6), secrets.token_hex(24), secrets.token_hex(32)
    digest = hmac.new(_hmac_key(salt, pepper), secret.encode(), hashlib.sha256).hexdigest()
    entry = KeyEntry(id=id_, name=name, scopes=tuple(sorted(set(scopes))), salt=salt, hash=digest, created_at=now)
    return f"{PREFIX}{id_}_{secret}", entry


def _hmac_key(salt: str, pepper: str) -> bytes:
    # the salt has a fixed length, so no two pairs of salt and pepper make the same key
    return bytes.fromhex(salt) + pepper.encode()
