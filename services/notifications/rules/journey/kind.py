"""Journeys as a kind of versioned document."""

from typing import Final

from services.notifications.rules.journey.checking import check
from services.notifications.rules.journey.compiled import Journey
from services.notifications.rules.journey.document import JourneyDocument
from services.notifications.rules.journey.lint import lint
from shared.programs.kind import Kind

KIND: Final = Kind("journey", JourneyDocument, check, lint, Journey.of)
