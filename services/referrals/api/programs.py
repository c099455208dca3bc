"""The referral program, as one versioned document."""

from typing import Final

from fastapi import APIRouter

from services.referrals.rules.program.kind import KIND
from shared.postgres.pool import Pool
from shared.programs.drafting import Program
from shared.programs.routes import Place, one_document

_PLACE: Final = Place("/v1/referral-programs", tag="referral programs", noun="referral program")


def routes(pool: Pool) -> APIRouter:
    """The routes of the referral program."""
    return one_document(pool, Program(KIND), _PLACE)
