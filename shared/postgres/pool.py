"""Connection pools, with the codecs and settings that every statement relies on."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, cast

import asyncpg
import msgspec

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
Pool = asyncpg.Pool

STATEMENT_TIMEOUT: Final = timedelta(seconds=30)
IDLE_TIMEOUT: Final = timedelta(seconds=30)
"""Time that a transaction may be idle before the server ends its session and releases its locks."""

_JSON_ENCODER: Final = msgspec.json.Encoder()
_JSON_DECODER: Final = msgspec.json.Decoder()
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)


async def open_pool(url: str, *, application: str, min_size: int = 1, max_size: int = 8) -> Pool:
    """A pool on the database at `url`; `application` names it in `pg_stat_activity`.

    Timestamps are read in UTC; `json` columns take and give Python values.

    Raises:
        OSError, asyncpg.PostgresError: the database does not answer, or refuses.
    """
    return await asyncpg.create_pool(
        url,
        min_size=min_size,
        max_size=max_size,
        init=prepare,
        server_settings=server_settings(application),
    )


def server_settings(application: str) -> dict[str, str]:
    """Settings of a session: UTC, timeouts, and no JIT, which would cost more than the statements themselves."""
    return {
        "application_name": application,
        "timezone": "UTC",
        "jit": "off",
        "statement_timeout": str(int(STATEMENT_TIMEOUT.total_seconds() * 1000)),
        "idle_in_transaction_session_timeout": str(int(IDLE_TIMEOUT.total_seconds() * 1000)),
    }


async def prepare(connection: Connection) -> None:
    """Set the codecs of a new connection."""
    # Binary, since COPY takes no other; a jsonb value begins with the number of its format.
    await connection.set_type_codec(
        "json", schema="pg_catalog", format="binary", encoder=_JSON_ENCODER.encode, decoder=_JSON_DECODER.decode
    )
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", format="binary", encoder=_encode_jsonb, decoder=_decode_jsonb
    )
    # asyncpg's own codec for timestamps costs twice as much.
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", format="tuple", encoder=_encode_instant, decoder=_decode_instant
    )


def _encode_jsonb(value: object) -> bytes:
    return b"\x01" + _JSON_ENCODER.encode(value)


def _decode_jsonb(value: bytes) -> object:
    return _JSON_DECODER.decode(value[1:])


@lru_cache(maxsize=4096)  # an event's time goes into several tables, a batch's into hundreds of rows
def _encode_instant(moment: datetime) -> tuple[int]:
    since = moment - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds,)


def _decode_instant(value: tuple[int]) -> datetime:
    return _EPOCH + timedelta(microseconds=value[0])


def is_transient(error: BaseException) -> bool:
    """Whether a retry can succeed: after a lost connection, a deadlock, a timeout or a full disk."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_transient, cast("BaseExceptionGroup[BaseException]", error).exceptions))
    if isinstance(error, asyncpg.PostgresError):
        state = cast("str | None", cast("Any", error).sqlstate) or ""
        # Classes: 08 connection, 40 rollback, 53 resources, 57 operator, 58 system. Codes: 25006 read-only (after a
        # failover), 25P03 and 25P04 timeouts of transactions, 55P03 lock not available.
        return state[:2] in {"08", "40", "53", "57", "58"} or state in {"25006", "25P03", "25P04", "55P03"}
    if isinstance(error, asyncpg.InterfaceError):
        # The message of a lost connection has "closed" or "released back"; a wrong argument is a bug.
        return not isinstance(error, ValueError) and any(word in str(error) for word in ("clos", "released back"))
    if isinstance(error, asyncpg.InternalClientError):
        # A race in the pool: the connection was lost between its last answer and its release.
        return "free connection holder" in str(error)
    return isinstance(error, (OSError, TimeoutError))
