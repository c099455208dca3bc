"""The links of messages: opened, followed, unsubscribe."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import HTTP
from typing import Annotated, Final
from urllib.parse import parse_qsl

from fastapi import FastAPI, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from services.notifications.api import page
from services.notifications.api.visits import is_person
from services.notifications.handlers import leaving, marking
from services.notifications.handlers.leaving import Held, What
from services.notifications.rules.mark import Mark
from services.notifications.rules.message import Channel, Topic
from services.notifications.rules.preferences import SWITCHED
from services.notifications.rules.tokens import Keys, Purpose, Token
from shared.http.problems import Problem
from shared.postgres.pool import Connection, Pool

OPEN_PATH: Final = "/u/"

_GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_NO_STORE: Final = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
_ONE_CLICK: Final = ("List-Unsubscribe", "One-Click")
_MOST_FIELDS: Final = 100
_TokenText = Annotated[str, Path(max_length=4096, description="The token of a link in a message.")]
_Fields = Sequence[tuple[str, str]]


def add(app: FastAPI, keys: Keys | None, pool: Pool) -> None:
    """Add the routes of links in messages. Without keys there are no such links, so none is valid."""
    _add_open(app, keys, pool)
    _add_click(app, keys, pool)
    _add_page(app, keys, pool)
    _add_unsubscribe(app, keys, pool)


def _add_open(app: FastAPI, keys: Keys | None, pool: Pool) -> None:
    async def see(request: Request, token: str) -> Response:
        read = _read(keys, token, Purpose.OPEN)
        if read is not None:
            await _visit(pool, read, Mark.OPENED, request)
        return Response(_GIF, media_type="image/gif", headers=_NO_STORE)

    @app.get("/o/{token}.gif", tags=["notifications"], response_class=Response, summary="Count that a mail was opened")
    async def opened(request: Request, token: _TokenText) -> Response:
        """Returns an image of one pixel, for any token; a valid one marks its message as opened."""
        return await see(request, token)

    @app.head("/o/{token}.gif", include_in_schema=False)
    async def looked_at(request: Request, token: _TokenText) -> Response:
        """Answers as GET does; machines only ask so."""
        return await see(request, token)


def _add_click(app: FastAPI, keys: Keys | None, pool: Pool) -> None:
    async def lead(request: Request, token: str) -> RedirectResponse:
        read = _read(keys, token, Purpose.CLICK)
        if read is None:
            raise _unknown()
        await _visit(pool, read, Mark.CLICKED, request)
        return RedirectResponse(read.url, 302, headers=_NO_STORE)

    @app.get(
        "/c/{token}",
        tags=["notifications"],
        status_code=302,
        response_class=RedirectResponse,
        summary="Follow a link of a mail",
    )
    async def followed(request: Request, token: _TokenText) -> RedirectResponse:
        """Redirects to where the link in the mail led, and marks its message as clicked."""
        return await lead(request, token)

    @app.head("/c/{token}", status_code=302, response_class=RedirectResponse, include_in_schema=False)
    async def looked_at(request: Request, token: _TokenText) -> RedirectResponse:
        """Redirects as GET does; machines only ask so."""
        return await lead(request, token)


def _add_page(app: FastAPI, keys: Keys | None, pool: Pool) -> None:
    async def show(token: str) -> HTMLResponse:
        read = _read(keys, token, Purpose.UNSUBSCRIBE, Purpose.NOTHING)
        if read is None:
            raise _unknown()
        async with pool.acquire() as connection:
            return _html(page.show(await leaving.load(connection, read.message_id)))

    @app.get("/u/{token}", tags=["notifications"], response_class=HTMLResponse, summary="Show how to unsubscribe")
    async def show_page(token: _TokenText) -> HTMLResponse:
        """Returns a page on which the recipient unsubscribes or chooses what to get; it changes nothing itself."""
        return await show(token)

    @app.head("/u/{token}", response_class=HTMLResponse, include_in_schema=False)
    async def look_at_page(token: _TokenText) -> HTMLResponse:
        """Answers as GET does."""
        return await show(token)


def _add_unsubscribe(app: FastAPI, keys: Keys | None, pool: Pool) -> None:
    content = {kind: {"schema": {"type": "object"}} for kind in ("application/x-www-form-urlencoded", _MULTIPART)}

    @app.post(
        "/u/{token}",
        tags=["notifications"],
        response_class=HTMLResponse,
        summary="Unsubscribe",
        openapi_extra={"requestBody": {"content": content}},
    )
    async def unsubscribe(request: Request, token: _TokenText) -> HTMLResponse:
        """Unsubscribes by one click, as mail programs do it (RFC 8058: `List-Unsubscribe=One-Click`), or by the page.

        One click on a marketing mail withdraws consent to marketing by mail, on another mail it turns the topic off. A
        repeat changes nothing. Any other form is refused with 422.
        """
        read = _read(keys, token, Purpose.UNSUBSCRIBE, Purpose.NOTHING)
        if read is None:
            raise _unknown()
        fields = _fields(request.headers.get("content-type", ""), await request.body())
        async with pool.acquire() as connection, connection.transaction():
            held = await _apply(connection, read, fields)
        return _html(page.show(held, is_done=True))


async def _apply(connection: Connection, token: Token, fields: _Fields) -> Held | None:
    now = datetime.now(UTC)
    if list(fields) == [_ONE_CLICK]:
        return await leaving.click(connection, token.message_id, now)
    actions = [value for name, value in fields if name == page.ACTION]
    if len(actions) != 1:
        raise _unfit()
    if actions[0] == page.SAVE:
        chosen = {value for name, value in fields if name == page.ON}
        on = [channel for channel in SWITCHED if channel in chosen]
        off = frozenset(
            (topic, channel) for topic in Topic for channel in Channel if f"{topic}/{channel}" not in chosen
        )
        return await leaving.save(connection, token.message_id, on, off, now)
    if actions[0] not in list(What):
        raise _unfit()
    return await leaving.leave(connection, token.message_id, What(actions[0]), now)


async def _visit(pool: Pool, token: Token, mark: Mark, request: Request) -> None:
    by_person = is_person(request.method, request.headers)
    async with pool.acquire() as connection, connection.transaction():
        await marking.visit(connection, token.message_id, mark, by_person=by_person, now=datetime.now(UTC))


def _read(keys: Keys | None, token: str, *purposes: Purpose) -> Token | None:
    return None if keys is None else keys.read(token, *purposes)


_MULTIPART: Final = "multipart/form-data"


def _fields(content_type: str, body: bytes) -> _Fields:
    """The fields of a form.

    Raises:
        Problem: 422, it is none.
    """
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == _MULTIPART:
            return _parts(content_type, body)
        if kind == "application/x-www-form-urlencoded":
            return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise _unfit() from None
    raise _unfit()


def _parts(content_type: str, body: bytes) -> _Fields:
    head = b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n"
    message = message_from_bytes(head + body, policy=HTTP)
    fields: list[tuple[str, str]] = []
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(content, bytes) or len(fields) >= _MOST_FIELDS:
            raise ValueError("not a form")
        fields.append((name, content.decode().strip("\r\n")))
    return fields


def _html(content: str) -> HTMLResponse:
    return HTMLResponse(content, headers={**_NO_STORE, **page.HEADERS})


def _unknown() -> Problem:
    return Problem(404, "not_found", "There is nothing at this link.")


def _unfit() -> Problem:
    return Problem(422, "invalid_request", "Send List-Unsubscribe=One-Click (RFC 8058), or the form of the page.")
