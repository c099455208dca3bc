"""The tier program, as one versioned document."""

from typing import Final

from fastapi import APIRouter

from services.tiers.handlers import publishing
from services.tiers.rules.program.kind import KIND
from shared.postgres.pool import Pool
from shared.programs.drafting import Program
from shared.programs.routes import Place, one_document

_PLACE: Final = Place("/v1/tier-programs", tag="tier programs", noun="tier program")
_PROGRAM: Final = Program(
    KIND, on_publish=publishing.admit, request=publishing.PublishTierProgram, warn=publishing.warn
)


def routes(pool: Pool) -> APIRouter:
    """The routes of the tier program."""
    return one_document(pool, _PROGRAM, _PLACE)
