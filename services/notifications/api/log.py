"""The log of messages."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import Depends, FastAPI, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from services.notifications.rules.message import Channel, Reason, State
from services.notifications.store import log
from services.notifications.store.log import Filter, Logged, Place
from shared.contracts.values import Id
from shared.http.auth import Scope, require
from shared.http.fields import OMITTED_IF_NONE
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.problems import Problem
from shared.postgres.pool import Pool

_READERS = [Depends(require(Scope.READ, Scope.SUPPORT))]


class StepView(BaseModel):
    """A step of a message: the state that it took."""

    model_config = ConfigDict(frozen=True)

    at: datetime = Field(description="When it took the state.")
    state: State = Field(description="The state.")
    reason: Annotated[Reason | None, OMITTED_IF_NONE] = Field(default=None, description="Why.")
    channel: Annotated[Channel | None, OMITTED_IF_NONE] = Field(
        default=None, description="A channel that was tried in vain instead; absent: that of the message."
    )


class MessageView(BaseModel):
    """A message on its channel, with what became of it."""

    model_config = ConfigDict(frozen=True)

    id: UUID = Field(description="Id of the message.")
    customer_id: str = Field(description="Id of the customer.")
    journey: str = Field(examples=["points_earned"], description="Id of the journey that asked for it.")
    run_id: Annotated[UUID | None, OMITTED_IF_NONE] = Field(
        default=None, description="Id of the run; absent if the journey does not store its runs."
    )
    trigger: str = Field(examples=["points_earned"], description="The same as `journey`.")
    template: str = Field(description="Id of the template.")
    template_version: int = Field(description="Version of the template.")
    channel: Channel = Field(description="Channel.")
    locale: str = Field(description="Locale of its text (BCP 47).")
    state: State = Field(description="Its state now.")
    reason: Annotated[Reason | None, OMITTED_IF_NONE] = Field(
        default=None, description="Why it is held, or was skipped, or failed."
    )
    created_at: datetime = Field(description="When it was made.")
    steps: tuple[StepView, ...] = Field(description="What became of it, in order.")

    @classmethod
    def of(cls, message: Logged) -> Self:
        """The view of a message."""
        return cls(
            id=message.id,
            customer_id=message.customer_id,
            journey=message.trigger,
            run_id=message.run_id,
            trigger=message.trigger,
            template=message.template,
            template_version=message.template_version,
            channel=Channel(message.channel),
            locale=message.locale,
            state=message.state,
            reason=message.reason,
            created_at=message.created_at,
            steps=tuple(_steps(message)),
        )


def _steps(message: Logged) -> Iterator[StepView]:
    made_at = message.created_at
    for channel, reason in (message.unsent or {}).items():
        yield StepView(at=made_at, state=State.SKIPPED, reason=Reason(reason), channel=Channel(channel))
    if message.log is None:
        yield StepView(at=made_at, state=message.state, reason=message.reason)
    else:
        yield from map(StepView.model_validate, message.log)


def add(app: FastAPI, pool: Pool) -> None:
    """Add the routes of the log."""

    @app.get("/v1/messages", dependencies=_READERS, tags=["notifications"], summary="List the log of messages")
    async def list_messages(  # noqa: PLR0913, PLR0917 each is a filter
        customer_id: Annotated[Id | None, Query(description="Only those to a customer.")] = None,
        state: Annotated[State | None, Query(description="Only those in a state.")] = None,
        reason: Annotated[
            Reason | None, Query(description="Only those with a reason, of another channel of their step too.")
        ] = None,
        trigger: Annotated[
            str | None, Query(min_length=1, max_length=64, description="Only those of a journey, by its id.")
        ] = None,
        limit: Limit = DEFAULT_LIMIT,
        after: After = None,
    ) -> Page[MessageView]:
        """Every message on every channel, newest first, and why it was sent, held, skipped or failed.

        Nothing is left of the messages to erased customers.
        """
        cursor = decode_cursor(after, tuple[int, UUID])
        before = Place() if cursor is None else Place(min(max(cursor[0], 0), log.LATEST), cursor[1])
        rows = await log.page(pool, Filter(customer_id, trigger, state, reason), before, limit + 1)
        shown: Page[Logged] = page(rows, limit, lambda message: (message.number, message.id))
        return Page(data=[MessageView.of(message) for message in shown.data], next=shown.next)

    @app.get("/v1/messages/{id}", dependencies=_READERS, tags=["notifications"], summary="Read a message of the log")
    async def read_message(
        message_id: Annotated[str, Path(alias="id", min_length=1, max_length=128, description="Id of the message.")],
    ) -> MessageView:
        """The message with each of its steps."""
        ids: list[UUID] = []
        with suppress(ValueError):  # no id of a message has another form
            ids.append(UUID(message_id))
        for message in await log.load(pool, ids):
            return MessageView.of(message)
        raise Problem(404, "not_found", "There is no such message.")
