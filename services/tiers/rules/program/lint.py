"""Warnings about a valid tier program, which marketing sees before it publishes it."""

from collections.abc import Sequence
from datetime import datetime

from services.tiers.rules.program.document import ProgramDocument
from shared.programs.faults import Fault


def lint(_document: ProgramDocument, _moment: datetime) -> Sequence[Fault]:
    """Warnings about a valid document, each of which names its tier by id."""
    return []
