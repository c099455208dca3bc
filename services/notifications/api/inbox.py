"""A customer's inbox."""

from datetime import UTC, datetime
from typing import Annotated, Final, Self
from uuid import UUID

from fastapi import Depends, FastAPI, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from services.notifications.handlers import reading
from services.notifications.handlers.library import Library
from services.notifications.handlers.reading import Shown
from services.notifications.store import messages
from shared.http.auth import CustomerId, Kind, Principal, Scope, customer_or, require
from shared.http.idempotency import concerns, documented, idempotent
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.problems import Problem
from shared.postgres.pool import Connection, Pool

_NEWEST: Final = 2**63 - 1
_MOST: Final = 1_000
MessageId = Annotated[str, Path(alias="id", min_length=1, max_length=128, description="Id of the message.")]


class InboxEntry(BaseModel):
    """A message in a customer's inbox."""

    model_config = ConfigDict(frozen=True)

    id: UUID = Field(description="Id of the message.")
    trigger: str = Field(examples=["points_earned"], description="Id of the journey that sent the message.")
    title: str = Field(description="Title, plain text.")
    body: str = Field(description="Body, plain text.")
    locale: str = Field(description="Language of title and body (BCP 47).")
    created_at: datetime = Field(description="When the message was created.")
    read_at: datetime | None = Field(
        default=None, exclude_if=lambda value: value is None, description="When it was read; absent until then."
    )

    @classmethod
    def of(cls, message: Shown) -> Self:
        """The view of a message."""
        return cls(
            id=message.id,
            trigger=message.trigger,
            title=message.title,
            body=message.body,
            locale=message.locale,
            created_at=message.created_at,
            read_at=message.read_at,
        )


class ReadView(BaseModel):
    """How many messages were marked."""

    model_config = ConfigDict(frozen=True)

    read: int = Field(description="Number of messages that were unread.")


def add(app: FastAPI, pool: Pool, library: Library) -> None:
    """Add the routes of the inbox."""
    _add_list(app, pool, library)
    _add_read(app, pool, library)
    _add_read_all(app, pool)


def _add_list(app: FastAPI, pool: Pool, library: Library) -> None:
    @app.get(
        "/v1/customers/{id}/messages",
        dependencies=[Depends(customer_or(Scope.READ))],
        tags=["notifications"],
        summary="List the messages of a customer",
    )
    async def inbox(
        customer_id: CustomerId,
        limit: Limit = DEFAULT_LIMIT,
        after: After = None,
        *,
        unread: Annotated[bool, Query(description="Only messages that were not read.")] = False,
    ) -> Page[InboxEntry]:
        """Returns the customer's inbox, newest first. The inbox of an unknown customer is empty."""
        cursor = decode_cursor(after, tuple[int])
        before = cursor[0] if cursor is not None else _NEWEST
        rows = await messages.inbox(pool, customer_id, before, limit + 1, unread=unread)
        current = page(rows, limit, lambda message: (message.number,))
        shown = await reading.show(pool, library, customer_id, current.data)
        return Page(data=[InboxEntry.of(message) for message in shown], next=current.next)


def _add_read(app: FastAPI, pool: Pool, library: Library) -> None:
    @app.post(
        "/v1/messages/{id}/read",
        response_model=InboxEntry,
        tags=["notifications"],
        summary="Mark a message as read",
        openapi_extra=documented(required=False),
    )
    async def mark_read(
        request: Request,
        message_id: MessageId,
        principal: Annotated[Principal, Depends(require(Scope.CUSTOMER, Scope.SUPPORT))],
    ) -> Response:
        """Marks a message of the inbox as read; a repeat changes nothing.

        A customer's token marks the customer's own messages, an API key with the scope `support` any message.
        """
        wanted = _uuid(message_id)
        owner = principal.id if principal.kind is Kind.CUSTOMER else None

        async def run(connection: Connection) -> tuple[int, InboxEntry]:
            message = await messages.mark_read(connection, wanted, owner, datetime.now(UTC))
            if message is None:
                raise _unknown()
            concerns(request, message.customer_id)
            for shown in await reading.render(connection, library, message.customer_id, [message]):
                return 200, InboxEntry.of(shown)
            raise _unknown()

        return await idempotent(request, pool, principal, required=False, run=run)


def _add_read_all(app: FastAPI, pool: Pool) -> None:
    @app.post(
        "/v1/customers/{id}/messages/read",
        response_model=ReadView,
        tags=["notifications"],
        summary="Mark all messages of a customer as read",
        openapi_extra=documented(required=False),
    )
    async def mark_all_read(
        request: Request,
        customer_id: CustomerId,
        principal: Annotated[Principal, Depends(customer_or(Scope.SUPPORT))],
    ) -> Response:
        """Marks the unread messages of the inbox as read, up to 1,000 of the oldest in a request."""

        async def run(connection: Connection) -> tuple[int, ReadView]:
            return 200, ReadView(read=await messages.mark_all_read(connection, customer_id, datetime.now(UTC), _MOST))

        return await idempotent(request, pool, principal, required=False, run=run)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise _unknown() from None


def _unknown() -> Problem:
    return Problem(404, "not_found", "There is no such message.")
