"""What a customer wants to get, and the ledger of consent."""

from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Annotated, Final, Self

from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.notifications.handlers import choosing
from services.notifications.handlers.choosing import Choice, Chosen, ErasedCustomerError
from services.notifications.rules.message import Channel, Topic
from services.notifications.rules.preferences import SWITCHED, Preferences, switched_off
from services.notifications.rules.quiet import QuietHours
from services.notifications.rules.tokens import Keys
from services.notifications.store import consents
from services.notifications.store.consents import Row
from shared.contracts.values import Flag, Locale, TimeZone
from shared.http.auth import CustomerId, Principal, Scope, customer_or
from shared.http.bodies import BOUNDED
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.problems import Problem
from shared.postgres.pool import Pool

_PATH: Final = "/v1/customers/{id}/preferences"
_NEWEST: Final = 2**63 - 1
_WHERE_SET: Final = Field(exclude_if=lambda value: value is None)
_Clock = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QuietHoursDocument(_Document):
    """Hours of local time without text messages, pushes and marketing mails."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    # `from` is a keyword of Python.
    from_: _Clock = Field(alias="from", description="When they begin, as `HH:MM`.", examples=["21:00"])
    to: _Clock = Field(
        description="When they end, as `HH:MM`: on the next day if it is not after `from`. Equal times mean none.",
        examples=["08:00"],
    )

    @classmethod
    def of(cls, hours: QuietHours) -> Self:
        """The view of quiet hours."""
        start, end = (clock.isoformat("minutes") for clock in (hours.start, hours.end))
        return cls.model_validate({"from": start, "to": end})


class ChannelSwitches(_Document):
    """Channels that are on or off as a whole."""

    email: Flag = Field(default=True, description="E-mail.")
    sms: Flag = Field(default=True, description="Text messages.")
    push: Flag = Field(default=True, description="Pushed messages.")


class TopicSwitches(_Document):
    """The channels on which a topic is on or off."""

    in_app: Flag = Field(default=True, description="The inbox.")
    email: Flag = Field(default=True, description="E-mail.")
    sms: Flag = Field(default=True, description="Text messages.")
    push: Flag = Field(default=True, description="Pushed messages.")


class ConsentSwitches(_Document):
    """Consent to marketing by channel; a channel that is absent keeps its consent."""

    email: Flag | None = Field(default=None, description="By e-mail.")
    sms: Flag | None = Field(default=None, description="By text message.")
    push: Flag | None = Field(default=None, description="By pushed messages.")


class PreferencesDocument(_Document):
    """A customer's preferences; what is absent has its default."""

    locale: Annotated[Locale | None, _WHERE_SET] = Field(
        default=None, description="Language of messages (BCP 47), instead of the profile's."
    )
    time_zone: Annotated[TimeZone | None, _WHERE_SET] = Field(
        default=None, description="Time zone (IANA), instead of the profile's."
    )
    quiet_hours: Annotated[QuietHoursDocument | None, _WHERE_SET] = Field(
        default=None, description="Quiet hours, instead of those of the program."
    )
    channels: ChannelSwitches = Field(
        default=ChannelSwitches(),
        description="Channels: what is about the account comes all the same.",
    )
    topics: Mapping[Topic, TopicSwitches] = Field(
        default={},
        description="Topics by channel; a topic that is absent is on.",
        examples=[{"offers": {"email": False}}],
    )
    marketing_consent: ConsentSwitches = Field(
        default=ConsentSwitches(), description="Consent to marketing: each change is an entry of the ledger."
    )

    def to_rules(self) -> Preferences:
        """The preferences without the consents."""
        hours = self.quiet_hours
        return Preferences(
            locale=self.locale,
            time_zone=self.time_zone,
            quiet_hours=hours and QuietHours(time.fromisoformat(hours.from_), time.fromisoformat(hours.to)),
            off=frozenset(channel for channel in SWITCHED if not getattr(self.channels, channel)),
            topics_off=switched_off(
                {topic: {channel: getattr(row, channel) for channel in Channel} for topic, row in self.topics.items()}
            ),
        )

    def granted(self) -> dict[Channel, bool]:
        """The consents that are named."""
        said = {channel: getattr(self.marketing_consent, channel) for channel in SWITCHED}
        return {channel: value for channel, value in said.items() if value is not None}

    @classmethod
    def of(cls, chosen: Chosen) -> Self:
        """The view of what a customer chose, with every default."""
        wanted = chosen.preferences
        hours = wanted.quiet_hours
        return cls(
            locale=wanted.locale,
            time_zone=wanted.time_zone,
            quiet_hours=hours and QuietHoursDocument.of(hours),
            channels=ChannelSwitches(**{str(channel): wanted.wants(channel) for channel in SWITCHED}),
            topics={
                topic: TopicSwitches(**{str(channel): wanted.wants_topic(topic, channel) for channel in Channel})
                for topic in Topic
            },
            marketing_consent=ConsentSwitches(
                **{str(channel): chosen.consents.granted(channel) for channel in SWITCHED}
            ),
        )


class ConsentView(BaseModel):
    """An entry of the ledger of consent."""

    model_config = ConfigDict(frozen=True)

    channel: Channel = Field(description="Channel of the marketing messages.")
    action: str = Field(description="`granted` or `withdrawn`.")
    how: str = Field(description="`event` (of the shop or of a provider), `api`, `one_click` or `page`.")
    at: datetime = Field(description="From when it counts: of several, the newest is in force.")
    recorded_at: datetime = Field(description="When it was recorded.")
    actor: str = Field(description="Who: the caller of the API, the source and id of the event, or the message.")
    locale: Annotated[str | None, _WHERE_SET] = Field(
        default=None, description="Language in which the customer was asked, if it is known."
    )

    @classmethod
    def of(cls, row: Row) -> Self:
        """The view of an entry."""
        return cls(
            channel=Channel(row.channel),
            action=row.action,
            how=row.how,
            at=row.at,
            recorded_at=row.recorded_at,
            actor=row.actor,
            locale=row.locale,
        )


def add(app: FastAPI, keys: Keys, pool: Pool) -> None:
    """Add the routes of preferences and consents."""
    _add_get(app, pool)
    _add_put(app, keys, pool)
    _add_consents(app, pool)


def erased() -> Problem:
    """The problem of who wants to store something about an erased customer."""
    return Problem(409, "erased", "The customer was erased: nothing is stored before the next registration.")


def _add_get(app: FastAPI, pool: Pool) -> None:
    @app.get(
        _PATH,
        dependencies=[Depends(customer_or(Scope.READ, Scope.SUPPORT))],
        tags=["notifications"],
        summary="Get a customer's preferences",
    )
    async def get_preferences(customer_id: CustomerId) -> PreferencesDocument:
        """Returns what the customer wants to get, with every default, and the consents in force."""
        async with pool.acquire() as connection:
            return PreferencesDocument.of(await choosing.load(connection, customer_id))


def _add_put(app: FastAPI, keys: Keys, pool: Pool) -> None:
    @app.put(_PATH, tags=["notifications"], summary="Replace a customer's preferences")
    async def put_preferences(
        customer_id: CustomerId,
        document: Annotated[PreferencesDocument, BOUNDED],
        principal: Annotated[Principal, Depends(customer_or(Scope.SUPPORT))],
    ) -> PreferencesDocument:
        """Replaces the preferences: what is absent gets its default, except consents, which stay.

        Messages that are sent from then on obey. Where a customer's own token turns a channel on, an address that
        bounced is tried again. 409 `erased`: the customer was erased and has not registered again.
        """
        own = principal.is_customer(customer_id)
        choice = Choice(document.to_rules(), document.granted(), principal.name, own)
        async with pool.acquire() as connection, connection.transaction():
            try:
                chosen = await choosing.choose(connection, keys, customer_id, choice, datetime.now(UTC))
            except ErasedCustomerError:
                raise erased() from None
        return PreferencesDocument.of(chosen)


def _add_consents(app: FastAPI, pool: Pool) -> None:
    @app.get(
        "/v1/customers/{id}/consents",
        dependencies=[Depends(customer_or(Scope.READ, Scope.SUPPORT))],
        tags=["notifications"],
        summary="List a customer's consents",
    )
    async def list_consents(
        customer_id: CustomerId, limit: Limit = DEFAULT_LIMIT, after: After = None
    ) -> Page[ConsentView]:
        """Returns the ledger of consent to marketing, newest entry first: who granted or withdrew it, when and how."""
        cursor = decode_cursor(after, tuple[int])
        before = cursor[0] if cursor is not None else _NEWEST
        rows = await consents.listed(pool, customer_id, before, limit + 1)
        current = page(rows, limit, lambda row: (row.number,))
        return Page(data=[ConsentView.of(row) for row in current.data], next=current.next)
