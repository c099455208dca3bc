"""Stored responses of requests that have an idempotency key: each is stored in the transaction of its effect."""

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from shared.postgres.pool import Connection

KEPT_FOR: Final = timedelta(days=7)
"""How long a key and its response are kept."""

PRIMARY_KEY: Final = "idempotency_key_pkey"
"""The constraint that is violated where a key that has a response is inserted."""


class StoredMeanwhileError(Exception):
    """Another request stored a response under the key; the effect must be rolled back."""


@dataclass(slots=True)
class Answer:
    """A response to store, and whether it is stored already."""

    principal: str
    key: str
    fingerprint: bytes
    customer_id: str | None
    status: int
    body: str
    is_stored: bool = field(default=False, init=False)

    @property
    def row(self) -> tuple[object, ...]:
        """The values of the columns principal, key, fingerprint, customer_id, status and body (as text)."""
        return self.principal, self.key, self.fingerprint, self.customer_id, self.status, self.body

    @property
    def claim(self) -> int:
        """The number of the advisory lock that claims the key."""
        return claim_of(self.principal, self.key)


def claim_of(principal: str, key: str) -> int:
    """The number of the advisory lock that the transaction of a request with this key holds."""
    name = f"idempotency_key\x00{principal}\x00{key}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)


STORE_SQL = """
INSERT INTO idempotency_key (principal, key, fingerprint, customer_id, status, body)
VALUES ($1, $2, $3, $4, $5, $6::text::json)
ON CONFLICT (principal, key) DO UPDATE SET
    fingerprint = excluded.fingerprint,
    customer_id = excluded.customer_id,
    status = excluded.status,
    body = excluded.body,
    created_at = excluded.created_at
WHERE idempotency_key.created_at < now() - $7::interval
RETURNING true
"""


async def store(connection: Connection, answer: Answer) -> None:
    """Store a response; it replaces an expired one only.

    Raises:
        StoredMeanwhileError: a response is stored already; the effect must be rolled back.
    """
    if not await connection.fetchval(STORE_SQL, *answer.row, KEPT_FOR):
        raise StoredMeanwhileError
    answer.is_stored = True
