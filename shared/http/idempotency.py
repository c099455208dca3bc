"""Idempotency keys: a write that is sent again gets the first response again and has no second effect.

A response belongs to the customer that the write is about, and is erased with the customer. The key stays, so that
the write is not done twice.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from shared.http.auth.principal import Principal
from shared.http.problems import FieldError, Problem
from shared.postgres import answers
from shared.postgres.answers import KEPT_FOR, Answer, StoredMeanwhileError, claim_of
from shared.postgres.pool import Connection, Pool

LONGEST_KEY: Final = 255

_HEADER: Final = "Idempotency-Key"
_OF_CUSTOMER: Final = "/v1/customers/"
_ERASED: Final = 410

Run = Callable[[Connection], Awaitable[tuple[int, object]]]
"""The effect, within the given transaction; returns the status (2xx) and the JSON body of the response."""

RunAtOnce = Callable[[Connection], Awaitable[object]]
"""The effect, by one statement or transaction of its own, which also stores the response that `answer_of` gives."""


@dataclass(slots=True)
class _Attempt:
    principal: str
    key: str
    fingerprint: bytes
    answer: Answer | None = None
    """The response, once it is known."""
    is_again: bool = False
    """Whether the key has an expired response, which the new one replaces."""

    @property
    def id(self) -> tuple[str, str]:
        """The principal and the key."""
        return self.principal, self.key


@dataclass(slots=True, weakref_slot=True)
class _Turn:
    """The turn of writes about one customer, and the attempts that have it or wait for it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    attempts: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])


class _AtOnce(NamedTuple):
    """What is tried first, and the turn that it needs."""

    turn: asyncio.Lock
    run: RunAtOnce


_TURNS: Final = WeakValueDictionary[str, _Turn]()
"""By customer; a turn exists while writes use it."""


async def idempotent(request: Request, pool: Pool, principal: Principal, required: bool, run: Run) -> Response:  # noqa: FBT001 (of five, one is a flag)
    """Run a write in a transaction, once per `Idempotency-Key` of the principal, and return the response.

    The response is stored with the effect for `KEPT_FOR`. An exception rolls both back: refusals are not stored.

    Raises:
        Problem: 400, the key is `required` and missing, or malformed; 409, the same request is running; 410, the
            request was done and its response was erased with its customer; 422, the key was used for another request.
    """
    key = key_of(request, required=required)
    if key is None:
        async with pool.acquire() as conn, conn.transaction():
            status, body = await run(conn)
        return _answer(status, to_json(body))
    return await _carry_out(request, pool, await _begin(request, principal, key), run)


async def idempotent_at_once(
    request: Request, pool: Pool, principal: Principal, run: Run, run_at_once: RunAtOnce
) -> Response:
    """Like `idempotent` with a required key, but `run_at_once` is tried first, without the transaction and the claim.

    It must have no effect where the key has a response or is claimed, and store the response (`answer_of`) with the
    effect. Where it stores none, it had no effect, and `run` follows. Such writes about one customer take turns in this
    process, since they would disturb each other.
    """
    key = key_of(request, required=True)
    assert key is not None, "it is required"
    attempt = await _begin(request, principal, key)
    turn = _TURNS.setdefault(_customer(request) or "", _Turn())
    if attempt.id in turn.attempts:  # the same request is running, and is not waited for
        return await _carry_out(request, pool, attempt, run)
    turn.attempts.add(attempt.id)
    try:
        return await _carry_out(request, pool, attempt, run, _AtOnce(turn.lock, run_at_once))
    finally:
        turn.attempts.discard(attempt.id)


async def _carry_out(
    request: Request, pool: Pool, attempt: _Attempt, run: Run, at_once: _AtOnce | None = None
) -> Response:
    try:
        async with pool.acquire() as conn:
            if at_once is None:
                stored = await _transact(request, conn, attempt, run)
            else:
                async with at_once.turn:
                    is_done = await _is_done_at_once(conn, attempt, at_once.run)
                    stored = None if is_done else await _transact(request, conn, attempt, run)
    except (Problem, StoredMeanwhileError):
        # The same request may have ended just when this one claimed the key.
        stored = await _find(pool, attempt)
        if stored is None:
            raise
    if stored is not None:
        return stored
    answer = attempt.answer
    assert answer is not None, "the write is done"
    return _answer(answer.status, answer.body.encode())


async def _is_done_at_once(conn: Connection, attempt: _Attempt, run_at_once: RunAtOnce) -> bool:
    try:
        await run_at_once(conn)
    except StoredMeanwhileError:
        return False
    return attempt.answer is not None and attempt.answer.is_stored


async def _transact(request: Request, conn: Connection, attempt: _Attempt, run: Run) -> Response | None:
    """Run the write in a transaction; returns the stored response if it has been carried out before."""
    async with conn.transaction():
        stored = await _claim(conn, attempt)
        if stored is not None:
            return stored
        status, body = await run(conn)
        if attempt.answer is None or not attempt.answer.is_stored:
            attempt.answer = _answered(request, attempt, status, body)
            await answers.store(conn, attempt.answer)
    return None


async def _begin(request: Request, principal: Principal, key: str) -> _Attempt:
    attempt = _Attempt(principal.name, key, _fingerprint(request, await request.body()))
    request.state.attempt = attempt
    return attempt


def answer_of(request: Request, status: int, body: object) -> Answer | None:
    """The response of a running write, for a statement that stores it together with the effect.

    None: there is no key, or it has an expired response. If no statement stores it, `idempotent` stores what the write
    returns.
    """
    attempt: _Attempt | None = request.scope["state"].get("attempt")
    if attempt is None or attempt.is_again:
        return None
    attempt.answer = _answered(request, attempt, status, body)
    return attempt.answer


def _answered(request: Request, attempt: _Attempt, status: int, body: object) -> Answer:
    content = to_json(body).decode()
    return Answer(attempt.principal, attempt.key, attempt.fingerprint, _customer(request), status, content)


def concerns(request: Request, customer_id: str) -> None:
    """Record the customer that a write is about, if the path does not name the customer."""
    request.state.customer_id = customer_id


def _customer(request: Request) -> str | None:
    noted: str | None = request.scope["state"].get("customer_id")
    if noted is None and request.scope["path"].startswith(_OF_CUSTOMER):
        noted = request.path_params.get("id")
    return noted


def documented(*, required: bool) -> dict[str, Any]:
    """The header, as `openapi_extra` of a route that accepts it."""
    schema = {"type": "string", "maxLength": LONGEST_KEY}
    description = (
        "The same key again returns the first response with `Idempotency-Replayed: true` and has no effect; "
        "410 `erased` once the response was erased with its customer."
    )
    header = {"name": _HEADER, "in": "header", "required": required, "schema": schema, "description": description}
    return {"parameters": [header]}


FORGET_SQL = """
DELETE FROM idempotency_key WHERE created_at < $1
"""


async def forget(pool: Pool, now: datetime) -> None:
    """Delete the keys that are older than `KEPT_FOR`; a job of every service's worker."""
    await pool.execute(FORGET_SQL, now - KEPT_FOR)


CLAIM_SQL = """
SELECT pg_try_advisory_xact_lock($1) AS locked, fingerprint, status, body::text AS body,
       created_at < now() - $4::interval AS is_expired
FROM (VALUES (true)) AS always (present) LEFT JOIN idempotency_key ON principal = $2 AND key = $3
"""


async def _claim(conn: Connection, attempt: _Attempt) -> Response | None:
    """Lock the key and look for its response, in one statement.

    What the previous holder commits at that moment is seen later, by `answers.store` or `_find`.
    """
    number = claim_of(attempt.principal, attempt.key)
    row = await conn.fetchrow(CLAIM_SQL, number, attempt.principal, attempt.key, KEPT_FOR)
    assert row is not None, "an outer join has a row"
    if not row["locked"]:
        problem = Problem(409, "request_in_progress", "A request with this Idempotency-Key is still running.")
        raise problem.with_headers({"Retry-After": "1"})
    attempt.is_again = bool(row["is_expired"])
    return None if row["fingerprint"] is None or attempt.is_again else _stored(row, attempt)


FIND_SQL = """
SELECT fingerprint, status, body::text AS body
FROM idempotency_key
WHERE principal = $1 AND key = $2 AND created_at >= now() - $3::interval
"""


async def _find(pool: Pool, attempt: _Attempt) -> Response | None:
    row = await pool.fetchrow(FIND_SQL, attempt.principal, attempt.key, KEPT_FOR)
    return None if row is None else _stored(row, attempt)


def _stored(row: Any, attempt: _Attempt) -> Response:  # noqa: ANN401 asyncpg's Record has no types
    """The stored response, for the same request again."""
    if row["fingerprint"] != attempt.fingerprint:
        detail = "This Idempotency-Key was used for another request: method, path or body differ."
        raise Problem(422, "idempotency_key_reused", detail)
    if row["status"] == _ERASED:
        detail = "The request was carried out; its response was erased with its customer."
        raise Problem(_ERASED, "erased", detail)
    answer = _answer(row["status"], row["body"].encode())
    answer.headers["Idempotency-Replayed"] = "true"
    return answer


def key_of(request: Request, *, required: bool) -> str | None:
    """The `Idempotency-Key` of a request, if it has one.

    Raises:
        Problem: 400, it is `required` and missing, or malformed.
    """
    sent = request.headers.getlist(_HEADER)
    if not any(sent):
        if not required:
            return None
        raise Problem(400, "idempotency_key_required", f"This request moves points: send the header {_HEADER}.")
    key = _decode(sent[0])
    if len(sent) > 1 or len(key) > LONGEST_KEY or not key.isprintable():
        message = f"Send one key of 1 to {LONGEST_KEY} printable characters."
        error = FieldError(pointer="/header/idempotency-key", message=message)
        raise Problem(400, "idempotency_key_invalid", f"{_HEADER}: {message}", (error,))
    return key


def _decode(header: str) -> str:
    """The text of a header: ASGI decodes it as Latin-1, but it may be UTF-8."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeDecodeError:
        return header


def _fingerprint(request: Request, body: bytes) -> bytes:
    path: str = request.scope["path"]
    return hashlib.sha256(b"\x00".join((request.method.encode(), path.encode(), body))).digest()


def _answer(status: int, content: bytes) -> Response:
    return Response(content, status, media_type="application/json")
