"""Earning rules, as one versioned document."""

from typing import Final

from fastapi import APIRouter

from services.points.handlers import unlisted
from services.points.rules.program.earning_rules import EARNING_RULES
from shared.postgres.pool import Pool
from shared.programs.drafting import Program
from shared.programs.routes import Place, one_document

_PLACE: Final = Place("/v1/earning-rules", tag="earning rules", noun="earning rules")


def routes(pool: Pool) -> APIRouter:
    """The routes of earning rules."""
    return one_document(pool, Program(EARNING_RULES, warn=unlisted.warnings), _PLACE)
