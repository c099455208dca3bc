"""The summary: how many messages there are by state, channel and reason."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from fastapi import Depends, FastAPI
from pydantic import BaseModel, Field

from services.notifications.rules.message import Channel, State
from services.notifications.store import totals
from services.notifications.store.totals import Total
from shared.http.auth import Scope, require
from shared.http.fields import OMITTED_IF_NONE
from shared.postgres.pool import Pool

_DAYS: Final = 30


class MessageCount(BaseModel):
    """The messages of a channel in a state."""

    channel: Channel = Field(description="The channel.")
    state: State = Field(description="The state that they are in now.")
    reason: Annotated[str | None, OMITTED_IF_NONE] = Field(
        default=None, description="Why they are in it, where it has one."
    )
    count: int = Field(description="Number of messages.")


class PeriodView(BaseModel):
    """The messages that were made in a period."""

    since: datetime = Field(description="The begin of the period.")
    messages: Sequence[MessageCount] = Field(description="By channel, state and reason; what is missing is 0.")


class SummaryView(BaseModel):
    """The messages of today and of the last 30 days."""

    as_of: datetime = Field(description="When it was counted.")
    today: PeriodView = Field(description="The messages that were made today.")
    last_30_days: PeriodView = Field(description="Those that were made today or on the 29 days before.")


def add(app: FastAPI, pool: Pool, zone: ZoneInfo) -> None:
    """Add the route; days begin in `zone`."""

    @app.get(
        "/v1/notifications/summary",
        dependencies=[Depends(require(Scope.READ))],
        tags=["notifications"],
        summary="Count the messages by state",
    )
    async def summary() -> SummaryView:
        """Returns the numbers of messages by channel, state and reason, as of now.

        Days are those of the program's time zone, from the full hour (UTC) in which they begin. Messages of customers
        who were erased stay counted, unless they were not sent yet.
        """
        now = datetime.now(UTC)
        today, first = day_of(now, zone), day_of(now, zone, _DAYS - 1)
        found = await totals.summary(pool, first, today)
        return SummaryView(
            as_of=now,
            today=PeriodView(since=today, messages=_counts(found, lambda total: total.today)),
            last_30_days=PeriodView(since=first, messages=_counts(found, lambda total: total.all)),
        )


def day_of(now: datetime, zone: ZoneInfo, before: int = 0) -> datetime:
    """The full hour in which the local day of an instant, or a day before it, begins."""
    day = now.astimezone(zone).date() - timedelta(days=before)
    return datetime.combine(day, time(), zone).astimezone(UTC).replace(minute=0)


def _counts(found: Iterable[Total], count: Callable[[Total], int]) -> list[MessageCount]:
    return [
        MessageCount(
            channel=Channel(total.channel), state=State(total.state), reason=total.reason or None, count=count(total)
        )
        for total in found
        if count(total) > 0
    ]
