"""What a process needs to move the runs of journeys, besides the database."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from services.notifications.handlers.moving import Arms, first_arms
from services.notifications.rules.journey.compiled import Journey
from services.notifications.rules.journey.kind import KIND
from services.notifications.rules.journey.live import InForce, Inside, Published, in_force
from services.notifications.rules.profile import Profile
from services.notifications.rules.trigger import Request
from services.notifications.store import publications
from shared.contracts.envelope import Publication
from shared.postgres.pool import Connection
from shared.programs.shelf import Entry, Shelf


class Journeys:
    """The journeys of one database: read again only after a publication, sorted again when a version takes effect."""

    def __init__(self) -> None:
        self._shelf = Shelf(KIND)
        self._entries: Mapping[str, Sequence[Entry[Journey]]] | None = None
        self._documents: Mapping[str, Sequence[Published]] = {}
        self._in_force: tuple[datetime, InForce] | None = None

    async def at(self, connection: Connection, now: datetime) -> InForce:
        """The journeys in force at an instant, as the transaction sees them."""
        entries = await self._shelf.load(connection)
        if entries is not self._entries:
            inside = await publications.load(connection)
            self._documents = {
                id_: [
                    Published(each.effective_at, each.version, Inside(inside.get((id_, each.version.version), "go_on")))
                    for each in versions
                ]
                for id_, versions in entries.items()
            }
            self._entries, self._in_force = entries, None
        if self._in_force is not None:
            since, known = self._in_force
            if since <= now and (known.until is None or now < known.until):
                return known
        known = in_force(self._documents, now)
        self._in_force = self._since(now), known
        return known

    def _since(self, now: datetime) -> datetime:
        """When the last version that is in force at an instant took effect."""
        begun = (each.effective_at for versions in self._documents.values() for each in versions)
        return max((each for each in begun if each <= now), default=datetime.min.replace(tzinfo=UTC))


Make = Callable[[Connection, Sequence[Request], Mapping[str, Profile], datetime], Awaitable[Sequence[Publication]]]
"""Makes the messages that runs ask for, to locked customers by their profiles; returns what to announce."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What moving runs needs besides the database.

    `zone` is that of customers whose profile has none; `arms` answers which arms of experiments customers are in.
    """

    zone: ZoneInfo
    make: Make
    arms: Arms = first_arms
    journeys: Journeys = field(default_factory=Journeys)
