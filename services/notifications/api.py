"""The HTTP routes: a customer's inbox."""

from datetime import UTC, datetime
from typing import Annotated, Final, Self
from uuid import UUID

from fastapi import Depends, FastAPI, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from services.notifications.rules.notice import Trigger
from services.notifications.settings import Settings
from services.notifications.store import messages
from services.notifications.store.messages import InboxMessage
from shared.http.app import new_app
from shared.http.auth import CustomerId, Kind, Principal, Scope, customer_or, require
from shared.http.idempotency import concerns, documented, idempotent
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.problems import Problem
from shared.postgres.pool import Connection, Pool

_NEWEST: Final = 2**63 - 1
MessageId = Annotated[str, Path(alias="id", min_length=1, max_length=128, description="The message's id.")]


class InboxEntry(BaseModel):
    """A message of a customer's inbox; title and body are plain text in the language `locale`."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    trigger: Trigger
    title: str
    body: str
    locale: str
    created_at: datetime
    read_at: datetime | None = Field(
        default=None, exclude_if=lambda value: value is None, description="Absent until it is read."
    )

    @classmethod
    def of(cls, message: InboxMessage) -> Self:
        """The view of a message."""
        return cls(
            id=message.id,
            trigger=Trigger(message.trigger),
            title=message.title,
            body=message.body,
            locale=message.locale,
            created_at=message.created_at,
            read_at=message.read_at,
        )


def build(settings: Settings, pool: Pool) -> FastAPI:
    """The API of notifications.

    Raises:
        ValueError: the key for tokens is none that Wafa accepts.
    """
    app = new_app("notifications", "Wafa notifications", pool=pool, authenticator=settings.authenticator())
    _add_list(app, pool)
    _add_read(app, pool)
    return app


def _add_list(app: FastAPI, pool: Pool) -> None:
    @app.get(
        "/v1/customers/{id}/messages",
        dependencies=[Depends(customer_or(Scope.READ))],
        tags=["notifications"],
    )
    async def inbox(customer_id: CustomerId, limit: Limit = DEFAULT_LIMIT, after: After = None) -> Page[InboxEntry]:
        """A customer's inbox, newest first; that of an unknown customer is empty."""
        cursor = decode_cursor(after, tuple[int])
        before = cursor[0] if cursor is not None else _NEWEST
        found = page(await messages.inbox(pool, customer_id, before, limit + 1), limit, lambda one: (one.number,))
        return Page(data=[InboxEntry.of(one) for one in found.data], next=found.next)


def _add_read(app: FastAPI, pool: Pool) -> None:
    @app.post(
        "/v1/messages/{id}/read",
        response_model=InboxEntry,
        tags=["notifications"],
        openapi_extra=documented(required=False),
    )
    async def mark_read(
        request: Request,
        message_id: MessageId,
        principal: Annotated[Principal, Depends(require(Scope.CUSTOMER, Scope.SUPPORT))],
    ) -> Response:
        """Mark a message of the inbox as read; again: nothing changes. A customer's own, or any by scope `support`."""
        wanted = _uuid(message_id)
        owner = principal.id if principal.kind is Kind.CUSTOMER else None

        async def run(connection: Connection) -> tuple[int, InboxEntry]:
            found = await messages.mark_read(connection, wanted, owner, datetime.now(UTC))
            if found is None:
                raise _unknown()
            concerns(request, found.customer_id)
            return 200, InboxEntry.of(found)

        return await idempotent(request, pool, principal, required=False, run=run)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise _unknown() from None


def _unknown() -> Problem:
    return Problem(404, "not_found", "There is no such message.")
