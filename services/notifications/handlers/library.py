"""The templates in force, as a process knows them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Self
from zoneinfo import ZoneInfo

from services.notifications.rendering.compiled import Template
from services.notifications.rendering.kind import Templates
from services.notifications.rendering.renderer import Reader, Renderer
from services.notifications.rules.gate import Recipient
from services.notifications.settings import Settings
from shared.postgres.pool import Connection
from shared.programs.shelf import Entry, Shelf

_NONE: Final[Sequence[Entry[Template]]] = ()


class Shown:
    """The published templates, as one transaction sees them."""

    def __init__(self, documents: Mapping[str, Sequence[Entry[Template]]]) -> None:
        self._documents = documents

    def in_force(self, id_: str, moment: datetime) -> Template | None:
        """The version of a template in force at an instant; None if there is none."""
        for entry in reversed(self._documents.get(id_, _NONE)):
            if entry.effective_at <= moment:
                return entry.version
        return None

    def version(self, id_: str, number: int) -> Template | None:
        """A published version by its number."""
        for entry in self._documents.get(id_, _NONE):
            if entry.version.version == number:
                return entry.version
        return None


def reader_of(recipient: Recipient) -> Reader:
    """The customer as the reader of a message."""
    profile = recipient.profile
    return Reader(profile.customer_id, profile.name, recipient.locale, recipient.time_zone)


class Library:
    """The published templates of one database, read again only after a publication, and what renders them."""

    def __init__(self, renderer: Renderer) -> None:
        self.templates = Templates(renderer)
        self._shelf = Shelf(self.templates.kind())

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The templates of a program, as the settings name it."""
        return cls(Renderer(settings.program, ZoneInfo(settings.time_zone), settings.locale, settings.currency))

    @property
    def renderer(self) -> Renderer:
        """Renders the templates."""
        return self.templates.renderer

    @property
    def locale(self) -> str:
        """The program's default locale."""
        return self.renderer.locale

    async def open(self, connection: Connection) -> Shown:
        """The published templates, as the transaction sees them."""
        return Shown(await self._shelf.load(connection))
