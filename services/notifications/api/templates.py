"""Templates: drafts and versions."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter

from services.notifications.api import trying
from services.notifications.handlers.library import Library
from services.notifications.rules.journey.compiled import Journey
from services.notifications.rules.journey.document import Send
from services.notifications.rules.journey.kind import KIND as JOURNEYS
from services.notifications.rules.message import Channel
from services.notifications.rules.template.document import TemplateDocument
from services.notifications.settings import Settings
from shared.postgres.pool import Connection, Pool
from shared.programs import in_force
from shared.programs.drafting import Program, Published, RefusedError
from shared.programs.routes import Place, many_documents

_PLACE: Final = Place("/v1/templates", tag="templates", noun="template")


def routes(pool: Pool, library: Library, settings: Settings) -> APIRouter:
    """The routes of templates."""
    router = many_documents(pool, Program(library.templates.kind(), on_publish=_keep_channels), _PLACE)
    trying.add(router, pool, library, settings)
    return router


async def _keep_channels(connection: Connection, published: Published) -> None:
    """Refuse a version that lacks a channel on which a journey in force sends the template.

    Raises:
        RefusedError: it lacks one; the detail names the journeys.
    """
    document = TemplateDocument.model_validate(published.version.document)
    moment = published.version.effective_at or datetime.now(UTC)
    journeys = await in_force.each_at(connection, JOURNEYS, moment)
    missing = {
        id_: [channel for channel in _channels(journey, published.key.id) if not document.of(channel)]
        for id_, journey in sorted(journeys.items())
    }
    named = [f"{id_} ({', '.join(channels)})" for id_, channels in missing.items() if channels]
    if named:
        raise RefusedError("channel_in_use", f"Journeys send it on channels that it lacks: {'; '.join(named)}.")


def _channels(journey: Journey, template: str) -> Iterator[Channel]:
    """The channels on which a journey sends a template."""
    channels = [
        Channel(channel)
        for node in journey.nodes
        if isinstance(node.document, Send) and node.document.template == template
        for channel in node.document.channels
    ]
    yield from dict.fromkeys(channels)
