"""The referral program, as one versioned document."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from fastapi import APIRouter

from services.referrals.rules.program.document import ProgramDocument
from services.referrals.rules.program.kind import KIND
from shared.postgres.orders import count_currencies
from shared.postgres.pool import Connection, Pool
from shared.programs.drafting import Program
from shared.programs.faults import Fault
from shared.programs.rates import unpriced
from shared.programs.routes import Place, one_document


async def _warn(connection: Connection, document: ProgramDocument, _moment: datetime) -> Sequence[Fault]:
    """Warnings about currencies that customers buy in and the document has no rate for."""
    orders = await count_currencies(connection)
    return unpriced({document.currency, *document.rates}, orders, "they qualify nothing")


_PLACE: Final = Place("/v1/referral-programs", tag="referral programs", noun="referral program")
_PROGRAM: Final = Program(KIND, warn=_warn)


def routes(pool: Pool) -> APIRouter:
    """The routes of the referral program."""
    return one_document(pool, _PROGRAM, _PLACE)
