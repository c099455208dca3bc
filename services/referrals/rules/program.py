"""The referral program: the orders that qualify a referral, and the rewards."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.values import Currency, Money

Points = Annotated[int, Field(strict=True, ge=0)]


class ProgramDocument(BaseModel):
    """The content of a version. `minimum` is the least total of a qualifying order, in `currency`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    currency: Currency
    minimum: Money
    within_hours: Annotated[int, Field(strict=True, ge=1)]
    advocate_points: Points
    friend_points: Points


@dataclass(frozen=True, slots=True)
class Program:
    """A published version of the program."""

    version: int
    effective_at: datetime
    document: ProgramDocument

    @property
    def minimum(self) -> Decimal:
        """The money of an order that has to be spent, and kept, in the program's currency."""
        return Decimal(self.document.minimum)

    def deadline(self, signed_up_at: datetime) -> datetime:
        """The last instant at which an order can still qualify."""
        return signed_up_at + timedelta(hours=self.document.within_hours)


def program_at(programs: Sequence[Program], time: datetime) -> Program:
    """The version in force at an instant: the newest of those that are effective by then."""
    return max(
        (program for program in programs if program.effective_at <= time),
        key=lambda program: (program.effective_at, program.version),
    )
