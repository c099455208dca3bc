"""Warnings about a valid referral program, which marketing sees before it publishes it."""

from datetime import datetime

from services.referrals.rules.program.document import ProgramDocument
from shared.programs.faults import Fault


def lint(_document: ProgramDocument, _moment: datetime) -> list[Fault]:
    """Warnings about a valid document, in words."""
    return []
